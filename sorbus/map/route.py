"""Direct rows of a mapping sheet, from one system to another, routed through the canonical field between them.

A row with both systems becomes two: into the canonical field and out of it. The data type is that of the source field's
resource and of the flow to the target; `route_field` chooses the field. The rule goes to the target's side, since the
canonical field is shared by all targets; to the source's side only if the row alone fills the field, and the rule
converts the source's value to it or reads the source's other columns. Later stages see only canonical rows, each with
the file and line of its original.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sorbus.errors import Finding, SchemaError
from sorbus.map.loaded import LoadedMap, Route
from sorbus.map.resources import source_resources, target_resources
from sorbus.map.route_field import Chosen, Direct, Group, choose
from sorbus.mapfile.model import FieldMapping
from sorbus.mapping.assign import Lookups
from sorbus.mapping.convert import can_convert
from sorbus.mapping.field_refs import CANONICAL, RECORD, FieldRef, column_refs
from sorbus.mapping.rule import Rule, RuleError, compile_rule
from sorbus.mapping.types import TEXT
from sorbus.schema import Kind
from sorbus.spelling import closest


class _Unclear(Exception):
    """A row that can't be routed, with its finding's message and fix."""

    def __init__(self, message: str, fix: str) -> None:
        self.message, self.fix = message, fix
        super().__init__(message)


def with_rows(loaded: LoadedMap, rows: Sequence[FieldMapping]) -> LoadedMap:
    """The same map with these rows added to its sheets."""
    return routed(replace(loaded, written=(*loaded.written, *rows)))


def routed(loaded: LoadedMap) -> LoadedMap:
    """The map with its sheets' rows in canonical form; rows that can't be routed are in `unrouted` only."""
    if not any(is_direct(loaded, row) for row in loaded.written):
        return replace(loaded, mappings=loaded.written, routes=(), unrouted=())
    lookups = loaded.map.lookups
    found: dict[FieldMapping, Direct] = {}
    unrouted: list[Finding] = []
    for row in loaded.written:
        if is_direct(loaded, row) and not _is_constant(row, lookups):
            try:
                found[row] = _placed(loaded, row)
            except _Unclear as unclear:
                unrouted.append(_finding(row, unclear))
    chosen = choose(loaded, list(found.values()))
    at_source = _source_rules(list(found.values()), chosen, lookups)
    routes: dict[FieldMapping, Route] = {}
    emitted: set[str] = set()
    for row in loaded.written:
        if is_direct(loaded, row):
            if _is_constant(row, lookups):
                routes[row] = Route(row, "", "its rule takes nothing", (_target_row(row, "", row.rule),))
            elif row in found:
                try:
                    routes[row] = _route(found[row], chosen[found[row].group], at_source, emitted, lookups)
                except _Unclear as unclear:
                    unrouted.append(_finding(row, unclear))
    mappings = tuple(_canonical(loaded, routes))
    return replace(loaded, mappings=mappings, routes=tuple(routes.values()), unrouted=tuple(unrouted))


def is_direct(loaded: LoadedMap, row: FieldMapping) -> bool:
    """Whether both sides of a row are systems of the map."""
    return row.source_system in loaded.map.systems and row.target_system in loaded.map.systems


def _canonical(loaded: LoadedMap, routes: Mapping[FieldMapping, Route]) -> Iterator[FieldMapping]:
    for row in loaded.written:
        if row in routes:
            yield from routes[row].made
        elif not is_direct(loaded, row):
            yield row


def _finding(row: FieldMapping, unclear: _Unclear) -> Finding:
    way = f"{row.source_system}.{row.source_field or '(rule)'} -> {row.target_system}.{row.target_field}"
    return Finding(row.file, row.line, f"{way} can't be routed: {unclear.message}", unclear.fix, "no-route")


def _placed(loaded: LoadedMap, row: FieldMapping) -> Direct:
    """The data type of a row, and the part of its record."""
    source, target = row.source_system, row.target_system
    if not row.target_field:
        raise _Unclear("it has no Target Field", "write RESOURCE.COLUMN")
    owned = [name for name, each in loaded.map.data_types.items() if each.system_of_record == source]
    if not owned:
        raise _Unclear(
            f"{source} owns no data type", f"make {source} a system_of_record, or write another Source System"
        )
    sources = {name: source_resources(loaded.map, name) for name in owned}
    holding = [name for name in owned if not row.source_field or column_refs(row.source_field, sources[name])]
    if not holding:
        known = [resource for name in owned for resource in sources[name].values()]
        message = f"no data type of {source} is stored where {row.source_field} is"
        raise _Unclear(message, f"{closest(row.source_field.rpartition('.')[0], known)} Or name it in a `source:`")
    flows = [flow for flow in loaded.map.flows if flow.to == target and flow.data_type in holding and flow.runs]
    if not flows:
        what = " or ".join(holding)
        raise _Unclear(f"no flow brings {what} to {target}", f"add a flow (data_type: {holding[0]}, to: {target})")
    found: dict[str, Direct] = {}
    held: list[str] = []
    for flow in flows:
        resources = target_resources(loaded.map, flow)
        held += resources.values()
        into = column_refs(row.target_field, resources)
        outof = column_refs(row.source_field, sources[flow.data_type]) if row.source_field else ()
        pairs = [(a, b) for b in into for a in outof or (FieldRef(b.part, ""),) if a.part == b.part]
        if pairs:
            best = next((pair for pair in pairs if pair[0].part == RECORD), pairs[0])
            try:
                schema = loaded.schema(flow.data_type)
            except SchemaError:
                continue  # reported by the check
            found[flow.data_type] = Direct(
                row, flow.data_type, schema, *best, sources[flow.data_type].get(best[0].part, ""),
                resources[best[1].part],
            )  # fmt: skip
        elif into and outof:
            raise _Unclear("one side is the record itself, the other an item of its list", "pair fields of one kind")
    if not found:
        message = f"no flow of {' or '.join(holding)} to {target} writes where {row.target_field} is"
        raise _Unclear(
            message, f"{closest(row.target_field.rpartition('.')[0], held)} Or name it in a flow's `target:`"
        )
    if len(found) > 1:
        raise _Unclear(
            f"it could be of {' or '.join(found)}",
            f"make it two rows, the first: {source},{row.source_field},{CANONICAL},{next(iter(found))}.FIELD",
        )
    return next(iter(found.values()))


def _is_constant(row: FieldMapping, lookups: Lookups) -> bool:
    rule = _compiled(row.rule, lookups)
    return not row.source_field and rule is not None and not rule.uses and not rule.uses_value


def _route(
    direct: Direct, chosen: Chosen, at_source: Mapping[str, list[str]], emitted: set[str], lookups: Lookups
) -> Route:
    """A row's two sides. `emitted` holds the canonical fields that earlier direct rows fill."""
    row, canonical = direct.row, chosen.canonical
    if not canonical:
        raise _Unclear(chosen.why, chosen.fix)
    if chosen.filled:
        if (rule := _compiled(row.rule, lookups)) is not None and rule.uses:
            raise _Unclear(
                f"its rule reads columns of {row.source_system}, and {canonical} is filled by another row",
                f"read canonical fields: {CANONICAL},{canonical},{row.target_system},{row.target_field}",
            )
        return Route(row, canonical, chosen.why, (_target_row(row, canonical, row.rule),))
    rules = at_source[canonical]
    is_moved = bool(row.rule) and row.rule in rules
    if is_moved and row.rule != rules[0]:
        message = f"{canonical} would be filled by two rules: {rules[0]}, and {row.rule}"
        raise _Unclear(message, "give all rows of the field the same rule, or write its canonical rows yourself")
    target = _target_row(row, canonical, "" if is_moved else row.rule)
    if canonical in emitted:
        return Route(row, canonical, chosen.why, (target,))
    emitted.add(canonical)
    source_rule = rules[0] if rules else ""
    source = row.model_copy(
        update={"target_system": CANONICAL, "target_field": canonical, "rule": source_rule, "notes": ""}
    )
    return Route(row, canonical, chosen.why, (source, target))


def _source_rules(found: Sequence[Direct], chosen: Mapping[Group, Chosen], lookups: Lookups) -> dict[str, list[str]]:
    """Canonical field -> the rules of its direct rows that belong to the source's side."""
    rules: dict[str, list[str]] = {}
    for direct in found:
        each, text = chosen[direct.group], direct.row.rule
        known = rules.setdefault(each.canonical, [])
        if not each.filled and text not in known and belongs_to_source(text, each.given, each.to, lookups):
            known.append(text)
    return rules


def _target_row(row: FieldMapping, canonical: str, rule: str) -> FieldMapping:
    return row.model_copy(update={"source_system": CANONICAL, "source_field": canonical, "rule": rule})


def belongs_to_source(text: str, given: Kind | None, to: Kind | None, lookups: Lookups) -> bool:
    """Whether a rule converts a source's value to the canonical type `to`, or reads the source's columns.

    `given` is the source's type, None if unknown: then the rule must convert text to another type.
    """
    rule = _compiled(text, lookups)
    if rule is None:
        return False
    if rule.uses:
        return True
    if to is None or (given is not None and can_convert(given, to)):
        return False
    typed = _compiled(text, lookups, given or "string")
    if typed is None or typed.result is None or (given is None and typed.result in TEXT):
        return False
    return can_convert(typed.result, to)


def _compiled(text: str, lookups: Lookups, value_type: Kind | None = None) -> Rule | None:
    """The rule; None if there is none, or the check will reject it."""
    if not text:
        return None
    try:
        return compile_rule(text, lookups=lookups, value_type=value_type)
    except RuleError:
        return None
