"""Traces a record's mapping field by field: from which fields, through which rule, step by step.

Each half separately: an owner's row to the canonical record, and a canonical record to one target. Uses only the map's
folder, so a value is the rule's result; the target's own types are applied after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from sorbus.avro.decode import Undecodable, read_record
from sorbus.connector import BoundFlow, BoundSource, Delivery
from sorbus.errors import PermanentError
from sorbus.http_api.path import read_path
from sorbus.map.checks.bound import Bound
from sorbus.map.loaded import LoadedMap
from sorbus.mapping.assign import Assignment, Parts, assign_source, assign_target
from sorbus.mapping.convert import convert
from sorbus.mapping.default import Defaults
from sorbus.mapping.errors import shown
from sorbus.mapping.field_refs import (
    ID,
    RECORD,
    FieldRef,
    canonical_fields,
    canonical_reference,
    column_reference,
)
from sorbus.mapping.trace import RuleStep, trace
from sorbus.privacy.mask import PERSONAL, masked
from sorbus.privacy.words import without
from sorbus.schema import FieldType, RecordSchema

Row = Mapping[str, object]
One = Callable[[str, int, Assignment, Row], "FieldTrace"]
"""Explains one assignment: part, item, assignment, the values it reads."""


class FieldTrace(NamedTuple):
    """How one field was computed: `sources` are the fields read, by name, `steps` the rule's steps.

    `item` counts a list's records from 1, 0 outside of lists. `where` is FILE:LINE of the sheet's row.
    """

    place: FieldRef
    item: int
    into: str
    sources: tuple[tuple[str, object], ...]
    rule: str
    steps: tuple[RuleStep, ...]
    value: object
    error: str
    where: str
    personal: frozenset[str]
    """Which of `sources` and `into` are personal."""

    def masked(self) -> FieldTrace:
        """A copy with personal values masked; a rule's steps too, if it reads any."""
        if not self.personal:
            return self
        values = [value for _, value in self.sources] + [step.value for step in self.steps]
        result = masked(self.value) if self.into in self.personal else self.value
        steps = [
            RuleStep(each.name, masked(each.value), without(each.error, values, quotes=True), each.notice and "cut")
            for each in self.steps
        ]
        if steps and not self.error:
            steps[-1] = steps[-1]._replace(value=result)
        return self._replace(
            sources=tuple((name, masked(value) if name in self.personal else value) for name, value in self.sources),
            steps=tuple(steps),
            value=result,
            error=without(self.error, values, quotes=True),
        )

    def __str__(self) -> str:
        item = f" (item {self.item})" if self.item else ""
        taken = ", ".join(f"{name} {shown(value)}" for name, value in self.sources) or "no field"
        if self.rule:
            way = " -> ".join(map(str, self.steps))
            told = f"{taken}\n    rule {self.rule}\n    {way}"
        else:
            told = f"{taken}, unchanged"
        end = f"\n    refused: {self.error}" if self.error and not (self.steps and self.steps[-1].error) else ""
        result = "refused" if self.error else shown(self.value)
        return f"{self.into}{item} = {result}\n    from {told}{end}" + (f"\n    {self.where}" if self.where else "")


def explain_source(bound: Bound, source: BoundSource, row: Row) -> tuple[FieldTrace, ...]:
    """How an owner's row becomes the canonical record. MapError. Lists are in `row` under their field's name."""
    owner = bound.owners[source.name]
    resources = bound.loaded.producer(owner).resources_of(source.options)
    parts = assign_source(source.mapping, owner, source.name, source.schema, resources, source.lookups)
    fields = canonical_fields(source.schema)
    tagged = _personal(source.schema)
    columns = {
        FieldRef(part, name)
        for part, found in parts.items()
        for each in found
        if FieldRef(part, each.into) in tagged
        for name in _inputs(each)
    }

    def one(part: str, item: int, assignment: Assignment, values: Row) -> FieldTrace:
        place = FieldRef(part, assignment.into)
        names = {name: column_reference(FieldRef(part, name), resources) for name in _inputs(assignment)}
        into = canonical_reference(place, source.name)
        personal = {names[name] for name in names if FieldRef(part, name) in columns} | (
            {into} if place in tagged else set()
        )
        return _trace(assignment, values, place, item, into, names, personal, fields[part].get(place.name))

    return tuple(_each(parts, row, one))


def explain_target(bound: Bound, flow: BoundFlow, record: Row, id: str) -> tuple[FieldTrace, ...]:
    """How a canonical record becomes the flow's target fields. MapError."""
    system, data_type = flow.system.name, flow.flow.data_type
    resources = bound.loaded.consumer(system).resources_of(flow.options)
    parts = assign_target(flow.mapping, system, data_type, flow.schema, resources, flow.lookups)
    tagged = _personal(flow.schema)
    defaults = Defaults(flow.schema.fields)

    def one(part: str, item: int, assignment: Assignment, values: Row) -> FieldTrace:
        inputs = _inputs(assignment)
        names = {name: canonical_reference(FieldRef(part, name), data_type) for name in inputs}
        into = column_reference(FieldRef(part, assignment.into), resources)
        personal = {names[name] for name in inputs if FieldRef(part, name) in tagged}
        personal |= {into} if personal else set()
        return _trace(assignment, values, FieldRef(part, assignment.into), item, into, names, personal, None)

    return tuple(_each(parts, defaults.fill(record, **{ID: id}), one, {ID: id}))


def explain_delivery(loaded: LoadedMap, flow: BoundFlow, delivery: Delivery) -> tuple[FieldTrace, ...]:
    """`explain_target` for an event's record. PermanentError if it can't be decoded."""
    try:
        record, _ = read_record(delivery.schema, delivery.data, delivery.at)
    except Undecodable as error:
        raise PermanentError(f"the record can't be decoded: {error}", reason="undecodable") from error
    return explain_target(Bound(loaded), flow, record, delivery.id.decode(errors="replace"))


def canonical_of(traces: Sequence[FieldTrace]) -> dict[str, object]:
    """The canonical record of a source's traces; rejected fields are left out."""
    record: dict[str, object] = {}
    for found in traces:
        if not found.item:
            record[found.place.name] = found.value
        else:
            items = record.setdefault(found.place.part, [])
            assert isinstance(items, list)
            items += [{} for _ in range(found.item - len(items))]
            items[found.item - 1][found.place.name] = found.value
    return record


def typed(record: Row, schema: RecordSchema) -> dict[str, object]:
    """A canonical record parsed from JSON into the schema's types; ValueError names the field."""
    made = {}
    for name, value in record.items():
        field = schema.by_name.get(name)
        try:
            made[name] = value if field is None or value is None else convert(_floats(value, field.type), field.type)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return made


def _floats(value: object, type: FieldType) -> object:
    return float(value) if type.kind in ("float", "double") and isinstance(value, int | Decimal) else value


def _personal(schema: RecordSchema) -> frozenset[FieldRef]:
    found = {FieldRef(RECORD, field.name) for field in schema.fields if PERSONAL in field.tags}
    for field in schema.fields:
        inner = field.type.item.fields if field.type.item is not None else ()
        found |= {FieldRef(field.name, each.name) for each in inner if PERSONAL in each.tags or PERSONAL in field.tags}
    return frozenset(found)


def _inputs(assignment: Assignment) -> tuple[str, ...]:
    own = (assignment.source,) if assignment.source else ()
    return tuple(dict.fromkeys((*own, *sorted(assignment.rule.uses if assignment.rule else ()))))


def _each(parts: Parts, row: Row, one: One, added: Row | None = None) -> Iterator[FieldTrace]:
    for part, assignments in parts.items():
        items = [row] if part == RECORD else row.get(part) or ()
        for number, values in enumerate(items if isinstance(items, list) else (), 1):
            inside: Row = {**values, **(added or {})} if part and isinstance(values, Mapping) else values
            for assignment in assignments:
                yield one(part, number if part else 0, assignment, inside)


def _trace(
    assignment: Assignment,
    values: Row,
    place: FieldRef,
    item: int,
    into: str,
    names: Mapping[str, str],
    personal: set[str],
    type: FieldType | None,
) -> FieldTrace:
    row = assignment.row
    taken = {name: _value(values, name) for name in names}
    value = taken[assignment.source] if assignment.source else None
    steps: tuple[RuleStep, ...] = ()
    error = ""
    if assignment.rule is not None:
        there = {name: found for name, found in taken.items() if found is not None or name in values}
        done = trace(assignment.rule, value, there)
        steps, value, error = done.steps, done.value, done.error
    if type is not None and not error:
        try:
            value = convert(value, type)
        except ValueError as refused:
            value, error = None, str(refused)
    return FieldTrace(
        place,
        item,
        into,
        tuple((names[name], found) for name, found in taken.items()),
        assignment.rule.text if assignment.rule else "",
        steps,
        value,
        error,
        f"{row.file.name}:{row.line}" if row else "",
        frozenset(personal),
    )


def _value(values: Row, name: str) -> object:
    """A column's value, or the value at a JSON path."""
    if name in values or not set("[.") & set(name):
        return values.get(name)
    return read_path(values, name)
