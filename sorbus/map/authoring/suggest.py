"""`sorbus map suggest`: proposes rows that connect two systems' fields, each with its confidence and reason.

Names are compared with the canonical fields (words, synonyms), types with types, and values, if they may be read, with
the field's expected format. A rule is proposed where types differ; what values leave open is reported, not guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from sorbus.abilities import CatalogField
from sorbus.connector import consumer_connector, producer_connector
from sorbus.discovery import SupportsSampling, SupportsTargetSchema
from sorbus.errors import Finding, MapError, SorbusError
from sorbus.map.authoring.discovery import discover
from sorbus.map.authoring.field_names import means_field, noun, words
from sorbus.map.authoring.profiling import TELLING, Looks, looks_of, wanted_look
from sorbus.map.catalog import Catalog
from sorbus.map.checks.check import check
from sorbus.map.known_fields import catalog_of
from sorbus.map.resources import source_resources, target_resources
from sorbus.map.route import with_rows
from sorbus.mapfile.model import FieldMapping, Flow
from sorbus.mapping.assign import read_source, read_target
from sorbus.mapping.convert import can_convert, rule_for
from sorbus.mapping.errors import shown
from sorbus.mapping.field_refs import (
    CANONICAL,
    ID,
    RECORD,
    FieldRef,
    canonical_fields,
    canonical_reference,
    column_reference,
)
from sorbus.schema import FieldType, RecordSchema
from sorbus.spelling import closest

if TYPE_CHECKING:
    from sorbus.map.loaded import LoadedMap

MOST_SAMPLES = 50
_LEAST = 0.5
_BY_VALUES = 0.55
Values = Callable[[str], Mapping[str, Sequence[object]]]
"""A resource's sampled values by field."""


class Suggestion(NamedTuple):
    """A row for a person to accept. `example` is one of its values, "" if none may be shown."""

    row: FieldMapping
    confidence: float
    why: str
    doubt: str = ""
    example: str = ""


class _Pair(NamedTuple):
    score: float
    column: str
    field: str
    why: str
    rule: str
    doubt: str


def suggest(
    loaded: LoadedMap,
    system: str,
    target: str,
    *,
    data_type: str = "",
    samples: bool = False,
    show_personal: bool = False,
) -> list[Suggestion]:
    """Rows from `system`'s fields and to `target`'s that the sheets don't have; MapError, TransientError, AuthError.

    `samples` reads up to fifty records of each of the owner's resources; values are shown only for fields that
    aren't tagged `personal`, unless `show_personal`.
    """
    flows = [
        flow for flow in loaded.map.flows
        if flow.to == target and flow.runs and flow.data_type in loaded.map.owned_by(system)
        and data_type in ("", flow.data_type)
    ]  # fmt: skip
    if not flows:
        what = data_type or "a data type"
        message = f"no flow brings {what} of {system} to {target}"
        fix = f"{closest(target, [flow.to for flow in loaded.map.flows])}; or add a flow"
        raise MapError([loaded.finding(("flows",), "no-flow", message, fix)])
    known = {name: _catalog(loaded, name) for name in (system, target)}
    values = _sampler(loaded, system) if samples else _nothing
    found: list[Suggestion] = []
    for flow in flows:
        schema = loaded.schema(flow.data_type)
        if flow.data_type not in {each.data_type for each in flows[: flows.index(flow)]}:
            found += _from_source(loaded, system, flow.data_type, schema, known[system], values, show_personal)
        found += _to_target(loaded, flow, schema, known[target], [each.row for each in found])
    return found


def marked(loaded: LoadedMap, rows: Sequence[FieldMapping]) -> list[FieldMapping]:
    """The rows to write; findings of the check are put into their notes."""
    placed = [row.model_copy(update={"file": Path("suggested"), "line": n}) for n, row in enumerate(rows, 1)]
    found: dict[int, Finding] = {}
    for finding in check(with_rows(loaded, placed)):
        if finding.file == Path("suggested"):
            found.setdefault(finding.line, finding)
    return [
        row.model_copy(update={"notes": f"TO DO: {found[row.line].message} ({found[row.line].fix})"})
        if row.line in found
        else row
        for row in placed
    ]


def _from_source(
    loaded: LoadedMap, system: str, data_type: str, schema: RecordSchema, catalog: Catalog, values: Values, open_: bool
) -> Iterator[Suggestion]:
    resources = source_resources(loaded.map, data_type)
    reading = read_source(loaded.mappings, system, data_type, schema, resources, loaded.map.lookups)
    has_rows = {row.target_field for row in reading.rows}
    for part, fields in canonical_fields(schema).items():
        resource = catalog.find(resources.get(part, "")) if part in resources else None
        if resource is None:
            continue
        items = [item for item in reading.parts.get(part, ()) if item.row is not None]
        taken = {item.source for item in items} | (set(resource.key) if part == RECORD else set())
        taken |= {name for _, columns in resource.parents for name in columns} if part != RECORD else set()
        free = {name: to for name, to in fields.items() if name not in canonical_fields(schema)}
        free = {
            name: to
            for name, to in free.items()
            if canonical_reference(FieldRef(part, name), data_type) not in has_rows
        }
        columns = [each for each in resource.fields if each.name not in taken]
        held = values(resources[part])
        looks = {name: looks_of(each) for name, each in held.items()}
        pairs = [
            pair for column in columns for name, to in free.items()
            if (pair := _source_pair(column, name, to, data_type, resource.name, looks.get(column.name)))
        ]  # fmt: skip
        personal = {name for name, each in _tagged(schema, part) if "personal" in each}
        for pair in _best(pairs):
            row = FieldMapping(
                source_system=system,
                source_field=column_reference(FieldRef(part, pair.column), resources),
                target_system=CANONICAL,
                target_field=canonical_reference(FieldRef(part, pair.field), data_type),
                rule=pair.rule,
                notes=pair.doubt,
            )
            example = next((shown(value) for value in held.get(pair.column, ()) if value not in (None, "")), "")
            is_open = open_ or pair.field not in personal
            yield Suggestion(row, round(pair.score, 2), pair.why, pair.doubt, example if is_open else "")


def _tagged(schema: RecordSchema, part: str) -> Iterator[tuple[str, frozenset[str]]]:
    prefix = f"{part}[]." if part else ""
    for path, field in schema.leaves():
        if path.startswith(prefix) and ("[]" in path) == bool(part):
            yield field.name, field.tags


def _source_pair(
    column: CatalogField, field: str, to: FieldType, data_type: str, resource: str, looks: Looks | None
) -> _Pair | None:
    score = means_field(words(column.name), data_type, field, noun(resource))
    why = _named(score)
    wanted = wanted_look(field, to.kind)
    rule, doubt = "", ""
    if looks and wanted and looks.what == wanted:
        why = "; ".join(filter(None, (why, f"its values look like {_many(wanted)}")))
        score = min(1.0, score + 0.15) if score else _BY_VALUES
    elif looks and (wanted or looks.what in TELLING):
        score -= 0.4
        why += f"; but its values look like {looks.what}"
    if wanted == "a country" and (looks is None or looks.rule):
        rule = "value | country"
    if not can_convert(column.kind, to.kind):
        rule = rule_for(column.kind, to.kind)
        if not rule:
            return None
        if looks is not None and looks.doubt:
            rule, doubt = "", looks.doubt
        elif looks is not None and looks.rule and _gives(looks, to.kind):
            rule = looks.rule
        elif '"' in rule:
            doubt = f"the rule {rule} is a guess: the values' format is unknown"
            rule = ""
        if to.kind == "timestamp" and column.kind in ("string", "date"):
            doubt = "; ".join(filter(None, (doubt, "a point in time needs its time zone: datetime(..., tz=...)")))
            rule = ""
        if doubt:
            score -= 0.2
        why += f"; kinds differ: {column.kind} to {to.kind}"
    return _Pair(score, column.name, field, why.strip("; "), rule, doubt) if score >= _LEAST else None


def _gives(looks: Looks, kind: str) -> bool:
    return {"a date": "date", "yes or no": "boolean", "a number": "decimal"}.get(looks.what) == kind


def _to_target(
    loaded: LoadedMap, flow: Flow, schema: RecordSchema, catalog: Catalog, new: Sequence[FieldMapping]
) -> Iterator[Suggestion]:
    connector = consumer_connector(loaded.map.systems[flow.to].kind)
    try:
        options = connector.Target.model_validate(flow.target)
    except ValidationError:
        return
    if not isinstance(connector, SupportsTargetSchema) or connector.makes_tables(options):
        return
    resources = target_resources(loaded.map, flow)
    reading = read_target(loaded.mappings, flow.to, flow.data_type, schema, resources, loaded.map.lookups)
    owner = loaded.map.owner_of(flow.data_type)
    there = {row.target_field for row in (*loaded.source_rows(owner, flow.data_type), *new)}
    for part, fields in canonical_fields(schema).items():
        resource = catalog.find(resources.get(part, "")) if part in resources else None
        if resource is None:
            continue
        items = [item for item in reading.parts.get(part, ()) if item.row is not None]
        taken = {item.into for item in items} | connector.fills(options).get(part, frozenset())
        free = {
            name: to for name, to in fields.items()
            if not there or canonical_reference(FieldRef(part, name), flow.data_type) in there
        }  # fmt: skip
        pairs = [
            pair for column in resource.fields if column.name not in taken and not column.read_only
            for name, to in free.items() if (pair := _target_pair(column, name, to, flow.data_type, resource.name))
        ]  # fmt: skip
        for pair in _best(pairs):
            row = FieldMapping(
                source_system=CANONICAL,
                source_field=canonical_reference(FieldRef(part, pair.field), flow.data_type),
                target_system=flow.to,
                target_field=column_reference(FieldRef(part, pair.column), resources),
                rule=pair.rule,
                notes=pair.doubt,
            )
            yield Suggestion(row, round(pair.score, 2), pair.why, pair.doubt)


def _target_pair(column: CatalogField, field: str, to: FieldType, data_type: str, resource: str) -> _Pair | None:
    if field == ID:
        return None
    score = means_field(words(column.name), data_type, field, noun(resource))
    why, rule, doubt = _named(score), "", ""
    if not can_convert(to.kind, column.kind):
        rule = rule_for(to.kind, column.kind)
        if not rule:
            return None
        if '"' in rule:
            rule, doubt = "", f"a rule such as {rule} is needed"
            score -= 0.2
        why += f"; kinds differ: {to.kind} to {column.kind}"
    return _Pair(score, column.name, field, why, rule, doubt) if score >= _LEAST else None


def _best(pairs: Iterable[_Pair]) -> list[_Pair]:
    """Each column and each field once, best pairs first."""
    columns, fields = set[str](), set[str]()
    found = []
    for pair in sorted(pairs, key=lambda pair: (-pair.score, len(pair.field), pair.column, pair.field)):
        if pair.column not in columns and pair.field not in fields:
            columns.add(pair.column)
            fields.add(pair.field)
            found.append(pair)
    return found


def _named(score: float) -> str:
    return "same name" if score >= 0.95 else "synonym" if score else ""


def _many(what: str) -> str:
    noun_ = what.partition(" ")[2]
    return f"{noun_[:-1]}ies" if noun_.endswith("y") else f"{noun_}es" if noun_.endswith("s") else f"{noun_}s"


def _catalog(loaded: LoadedMap, system: str) -> Catalog:
    """A system's fields from its catalog or description, else from discovery."""
    if (known := catalog_of(loaded, system)) is not None:
        return known
    return Catalog(None, {resource.name: resource for resource in discover(loaded, system)})


def _nothing(_: str) -> Mapping[str, Sequence[object]]:
    return {}


def _sampler(loaded: LoadedMap, system: str) -> Values:
    """Reads a few records; SorbusError if the system's connector can't."""
    kind = loaded.map.systems[system].kind
    connector: object = producer_connector(kind)
    if not isinstance(connector, SupportsSampling):
        raise SorbusError(f"{system}: records of kind {kind} can't be sampled; leave --samples out")
    bound = loaded.system(system, "producer")

    def values(resource: str) -> Mapping[str, Sequence[object]]:
        records = connector.sample(bound, resource, MOST_SAMPLES)
        return {name: [record[name] for record in records] for name in (records[0] if records else ())}

    return values
