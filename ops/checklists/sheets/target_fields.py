"""From an owner's record to the fields that a person fills in the target, by the flow's mapping alone."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from pydantic import BaseModel

from sorbus.avro.decode import Undecodable, read_record
from sorbus.connector import BoundFlow, BoundSystem, Delivery
from sorbus.errors import PermanentError
from sorbus.map.loaded import LoadedMap
from sorbus.map.resources import target_resources
from sorbus.mapfile.model import Flow
from sorbus.mapping.assign import Assignment, Parts, assign_target
from sorbus.mapping.default import Defaults
from sorbus.mapping.errors import RuleError, shown
from sorbus.mapping.field_refs import ID, RECORD, canonical_ref
from sorbus.mapping.filters.text import as_text
from sorbus.mapping.record_filter import RecordFilter
from sorbus.ops.checklists.sheets.changes import FieldValue, OwnerRecord, TargetFields
from sorbus.privacy.mask import personal_names

Row = Mapping[str, object]


class _NoOptions(BaseModel):
    """A flow by hand needs no connector, and so has no options of one."""


class ManualFlow(NamedTuple):
    """A flow by hand with its mapping. `columns`: the target's fields, in the mapping sheet's order."""

    bound: BoundFlow
    parts: Parts
    columns: tuple[str, ...]
    personal: frozenset[str]
    """Columns that hold personal values."""


def manual_flow(loaded: LoadedMap, flow: Flow) -> ManualFlow:
    """MapError with every fault of the mapping; SchemaError."""
    schema = loaded.schema(flow.data_type)
    rows = loaded.target_rows(flow.to, flow.data_type)
    company = loaded.map
    system = BoundSystem(
        flow.to, company.systems[flow.to], _NoOptions(), company.topic_prefix, loaded.folder, loaded.document
    )
    bound = BoundFlow(flow, company.data_types[flow.data_type], schema, rows, _NoOptions(), system, company.lookups)
    parts = assign_target(rows, flow.to, flow.data_type, schema, _resources(loaded, bound), company.lookups)
    own = [one.into for one in parts.get(RECORD, ()) if one.row is not None or one.into != ID]
    personal = personal_names(schema.fields)
    hidden = {
        one.into for one in parts.get(RECORD, ()) if {one.source, *(one.rule.uses if one.rule else ())} & personal
    }
    lists = [part for part in parts if part != RECORD]
    return ManualFlow(bound, parts, (*own, *lists), frozenset(hidden | set(lists) & personal))


def _resources(loaded: LoadedMap, flow: BoundFlow) -> Mapping[str, str]:
    """Part -> the target's resource; by the mapping sheet where the target's kind has no connector."""
    if found := target_resources(loaded.map, flow.flow):
        return found
    named: dict[str, str] = {}
    for row in flow.mapping:
        if row.source_field:
            named.setdefault(canonical_ref(row.source_field).part, row.target_field.rpartition(".")[0])
    return {RECORD: named.get(RECORD) or flow.flow.data_type, **{part: name for part, name in named.items() if part}}


class RecordReader:
    """Makes owner's records of a topic's deliveries."""

    def __init__(self, flow: ManualFlow) -> None:
        """RuleError if the flow's `where` can't be read."""
        self._flow = flow
        self._filter = RecordFilter(flow.bound) if flow.bound.flow.where else None
        self._defaults = Defaults(flow.bound.schema.fields)

    def read(self, delivery: Delivery) -> OwnerRecord:
        """The record's target fields; `error` names field, value and rule where they can't be made."""
        id = delivery.id.decode(errors="replace")
        try:
            found = self._filter.apply(delivery).delivery if self._filter is not None else delivery
            if found is None or found.deleted:
                return OwnerRecord(id, None)
            return OwnerRecord(id, self._fields(found, id))
        except PermanentError as error:
            return OwnerRecord(id, None, str(error))

    def _fields(self, delivery: Delivery, id: str) -> TargetFields:
        try:
            record, _ = read_record(delivery.schema, delivery.data, delivery.at)
        except Undecodable as error:
            raise PermanentError(f"the record can't be decoded: {error}", reason="undecodable") from error
        row = self._defaults.fill(record, **{ID: id})
        made: dict[str, FieldValue] = {}
        for part, assignments in self._flow.parts.items():
            if part == RECORD:
                values = {one.into: self._value(one, row) for one in assignments}
                made |= {name: values[name] for name in self._flow.columns if name in values}
            else:
                made[part] = _items(row.get(part), assignments, id)
        return made

    def _value(self, assignment: Assignment, row: Row) -> FieldValue:
        try:
            return _value(assignment, row)
        except PermanentError as error:
            if assignment.into not in self._flow.personal:
                raise
            rule = f" by the rule {assignment.rule.text}" if assignment.rule else ""
            raise PermanentError(
                f"field {assignment.into}: its value, which is personal, can't be converted{rule}", reason="mapping"
            ) from error


def _items(items: object, assignments: tuple[Assignment, ...], parent: str) -> str | None:
    """A list's records, a line each: `sku=A-1; quantity=2`."""
    lines = []
    for item in items if isinstance(items, list) else ():
        values = {one.into: _value(one, {ID: parent, **item}) for one in assignments if one.into != ID}
        lines.append("; ".join(f"{name}={as_text(value)}" for name, value in values.items() if value is not None))
    return "\n".join(lines) or None


def _value(assignment: Assignment, row: Row) -> FieldValue:
    value = row.get(assignment.source) if assignment.source else None
    rule = assignment.rule
    try:
        return _plain(value if rule is None else rule(value, row))
    except (RuleError, ValueError) as error:
        raise PermanentError(
            f"field {assignment.into}: {error}",
            reason="mapping",
            field=assignment.into,
            value=value,
            rule=rule.text if rule else None,
        ) from error


def _plain(value: object) -> FieldValue:
    """As a cell holds it; ValueError for what no cell can hold."""
    match value:
        case None | bool():
            return value
        case int() | Decimal():
            number = Decimal(value)
            if not number.is_finite():
                raise ValueError(f"{shown(value)} is not a finite number")
            return _short(number)
        case float():
            return _short(Decimal(repr(value))) if value == value and abs(value) != float("inf") else str(value)
        case list() | tuple():
            return "; ".join(as_text(each) for each in value) or None
        case dict():
            return "; ".join(f"{name}={as_text(each)}" for name, each in value.items()) or None
        case _:
            return as_text(value) or None


def _short(number: Decimal) -> Decimal:
    """Without the zeros that a canonical decimal's scale adds: 12.50 of 12.5000, 12.5 of money stays 12.5."""
    written = format(number, "f")
    return Decimal(written.rstrip("0").rstrip(".") or "0") if "." in written else number
