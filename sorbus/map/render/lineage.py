"""Lineage: every field's path from its source to its target, with its transformations.

Both halves of the mapping (owner -> canonical, canonical -> target) are joined through the canonical field.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from sorbus.connector import consumer_connector
from sorbus.errors import SorbusError
from sorbus.map.known_fields import catalog_of
from sorbus.map.render.captured import captured_rows, default_of
from sorbus.map.render.diagram import Arrow, Way
from sorbus.mapfile.model import FieldMapping, Flow
from sorbus.mapping.field_refs import CANONICAL, ID, FieldRef, canonical_fields, canonical_reference, column_reference

if TYPE_CHECKING:
    from sorbus.map.loaded import LoadedMap

KEY = "(the record's key)"
EVERY = "every other field"
"""Where neither side's fields are written down: same names."""


class FieldPath(NamedTuple):
    """One field's whole path. `steps` are the owner's rule, the canonical field, the target's rule; "" does nothing."""

    source_system: str
    source_field: str
    target_system: str
    target_field: str
    steps: tuple[str, str, str]
    notes: str
    default: str = ""
    """What the canonical field holds if nothing fills it."""

    @property
    def rule(self) -> str:
        """The steps in a line."""
        return " → ".join(filter(None, self.steps))

    @property
    def cells(self) -> tuple[str, ...]:
        """The path under the mapping sheet's own columns."""
        return (*self[:4], self.rule, self.notes)


def paths_of(loaded: LoadedMap, flow: Flow, arrow: Arrow) -> tuple[FieldPath, ...]:
    """The paths of one flow's fields; a field that nothing fills is included, with a note."""
    captured = captured_rows(loaded, arrow.source, flow.data_type)
    rows = _delivered(loaded.target_rows(flow.to, flow.data_type))
    others: list[FieldPath] = []
    if not rows and arrow.way is Way.LIVE:
        if not loaded.source_rows(arrow.source, flow.data_type) and catalog_of(loaded, arrow.source) is None:
            captured = ()  # what its owner has of the fields, and nobody has written down which
            others = [FieldPath(arrow.source, EVERY, arrow.target, EVERY, ("", flow.data_type, ""), "")]
        rows = _as_it_is(loaded, flow, captured)
    found = (*(path for row in rows for path in _joined(row, captured, arrow, flow.data_type)), *others)
    return tuple(one if one.source_field else one._replace(default=default_of(loaded, one.steps[1])) for one in found)


def paths_back(loaded: LoadedMap, flow: Flow, arrow: Arrow) -> tuple[FieldPath, ...]:
    """The paths of the fields that a two-way flow brings back to the system of record."""
    if not arrow.two_way:
        return ()
    proposed = loaded.source_rows(flow.to, flow.data_type)
    written = loaded.target_rows(arrow.source, flow.data_type)
    found = []
    for before in proposed:
        into = [row for row in written if row.source_field == before.target_field]
        same = FieldMapping(
            source_system=CANONICAL,
            source_field=before.target_field,
            target_system=arrow.source,
            target_field=before.target_field.rpartition(".")[2],
        )
        for row in into or [same]:
            steps = (before.rule, before.target_field, row.rule)
            notes = "; ".join(filter(None, (before.notes, row.notes)))
            found.append(FieldPath(flow.to, reads(before, proposed), arrow.source, row.target_field, steps, notes))
    return tuple(found)


def _delivered(rows: Sequence[FieldMapping]) -> list[FieldMapping]:
    """The sheet's rows of one flow; a row that reads no field belongs to the flow that fills the same resource."""
    resources = {_resource(m.target_field) for m in rows if m.source_field}
    return [m for m in rows if m.source_field or _resource(m.target_field) in resources]


def _as_it_is(loaded: LoadedMap, flow: Flow, captured: Sequence[FieldMapping]) -> list[FieldMapping]:
    """The rows of a target without a mapping sheet: each canonical field that the owner fills, under its own name."""
    filled = {m.target_field for m in captured}
    resources = _resources(loaded, flow)
    rows = []
    for part, fields in canonical_fields(loaded.schema(flow.data_type)).items():
        for field in [*([] if part else [ID]), *fields]:
            name = canonical_reference(FieldRef(part, field), flow.data_type)
            target = column_reference(FieldRef(part, field), resources) if part in resources else name
            if name in filled or (field, part) == (ID, ""):
                rows.append(
                    FieldMapping(source_system=CANONICAL, source_field=name, target_system=flow.to, target_field=target)
                )
    return rows


def _resources(loaded: LoadedMap, flow: Flow) -> dict[str, str]:
    """Which of the target's resources receive which part of the record; empty if its connector is unavailable."""
    system = loaded.map.systems.get(flow.to)
    try:
        connector = consumer_connector(system.kind if system else "")
        return connector.resources_of(connector.Target.model_validate(flow.target))
    except (SorbusError, ValidationError, ImportError):
        return {}


def _joined(row: FieldMapping, captured: Sequence[FieldMapping], arrow: Arrow, data_type: str) -> Iterator[FieldPath]:
    """One row of the target's sheet joined with the owner's rows: one path per canonical field it names."""
    names = [row.source_field] if row.source_field else []
    base = _resource(row.source_field) or data_type
    names += [name for used in _uses(row.rule) if (name := f"{base}.{used}") not in names]
    if not names:
        yield FieldPath(arrow.source, "", arrow.target, row.target_field, ("", "", row.rule), row.notes)
    for name in names:
        found = [m for m in captured if m.target_field == name]
        for before in found:
            steps = (before.rule, name, row.rule)
            notes = "; ".join(filter(None, (before.notes, row.notes)))
            yield FieldPath(arrow.source, reads(before, captured), arrow.target, row.target_field, steps, notes)
        if not found:
            steps = ("", name, row.rule)
            source = KEY if name == f"{data_type}.id" else ""
            notes = row.notes if source else "; ".join(filter(None, (f"nothing fills {name}", row.notes)))
            yield FieldPath(arrow.source, source, arrow.target, row.target_field, steps, notes)


def reads(row: FieldMapping, captured: Sequence[FieldMapping]) -> str:
    """What a row of the owner's sheet reads: its field, and those that its rule takes from the record."""
    part = _resource(row.target_field)
    siblings = (_resource(m.source_field) for m in captured if m.source_field and _resource(m.target_field) == part)
    base = _resource(row.source_field) or next(siblings, "")
    used = [f"{base}.{name}" if base else name for name in _uses(row.rule)]
    return ", ".join(dict.fromkeys(filter(None, [row.source_field, *used])))


def _uses(rule: str) -> list[str]:
    """The fields that a rule reads through `record.`; none for an invalid rule, which `map check` reports."""
    if "record" not in rule:
        return []
    from jinja2 import Environment, TemplateSyntaxError, nodes

    try:
        parsed = Environment(autoescape=True).parse("{{" + rule + "}}")
    except TemplateSyntaxError:
        return []
    read = parsed.find_all(nodes.Getattr)
    return list(dict.fromkeys(n.attr for n in read if isinstance(n.node, nodes.Name) and n.node.name == "record"))


def _resource(path: str) -> str:
    return path.rpartition(".")[0]
