"""The sheet's rows as one data type's producer, or one flow's consumer, needs them: by part and field.

A part is "" for the record itself, or a list field's name for its items. One side of a row is `canonical`:
DATA_TYPE.id, DATA_TYPE.FIELD or DATA_TYPE.LIST[].FIELD. The other names RESOURCE.COLUMN (`sorbus.mapping.field_refs`).
A part without rows takes same-named fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sorbus.errors import Finding, MapError
from sorbus.mapfile.model import FieldMapping
from sorbus.mapping.errors import RuleError
from sorbus.mapping.field_refs import (
    CANONICAL,
    ID,
    RECORD,
    FieldRef,
    canonical_data_type,
    canonical_fields,
    canonical_ref,
    canonical_reference,
    column_reference,
    column_refs,
)
from sorbus.mapping.rule import Rule, compile_rule
from sorbus.schema import Kind, RecordSchema
from sorbus.spelling import closest

Lookups = Mapping[str, Mapping[str, str]]
Columns = Mapping[str, Mapping[str, Kind | None]]
"""Part -> column -> type, if known."""


class Assignment(NamedTuple):
    """What fills `into`: the field `source` unchanged, or the result of `rule`; `row` is None for same-named fields."""

    into: str
    source: str | None
    rule: Rule | None
    row: FieldMapping | None


Parts = dict[str, tuple[Assignment, ...]]


class Reading(NamedTuple):
    """The rows of one data type and system: their assignments, the rows concerned, and findings."""

    parts: Parts
    rows: tuple[FieldMapping, ...]
    findings: tuple[Finding, ...]

    def sound(self) -> Parts:
        """The parts; MapError if there are findings."""
        if self.findings:
            raise MapError(self.findings)
        return self.parts


def assign_source(
    rows: Iterable[FieldMapping],
    system: str,
    data_type: str,
    schema: RecordSchema,
    resources: Mapping[str, str],
    lookups: Lookups,
) -> Parts:
    """How the owner's columns become canonical fields; MapError with every error. `resources` is part -> name."""
    return read_source(rows, system, data_type, schema, resources, lookups).sound()


def assign_target(
    rows: Iterable[FieldMapping],
    system: str,
    data_type: str,
    schema: RecordSchema,
    resources: Mapping[str, str],
    lookups: Lookups,
) -> Parts:
    """How canonical fields become the target's columns; MapError with every error.

    `id` as source is the record's id; in a list's items, their parent's.
    """
    return read_target(rows, system, data_type, schema, resources, lookups).sound()


def read_source(
    rows: Iterable[FieldMapping],
    system: str,
    data_type: str,
    schema: RecordSchema,
    resources: Mapping[str, str],
    lookups: Lookups,
    columns: Columns | None = None,
) -> Reading:
    """`assign_source` with findings instead of an error; with `columns`, names and types are checked against them."""
    fields = canonical_fields(schema)
    reader = _Reader(data_type, resources, lookups)
    for row in rows:
        if row.source_system != system or row.target_system != CANONICAL:
            continue
        if canonical_data_type(row.target_field) != data_type:
            continue
        into = canonical_ref(row.target_field)
        source = reader.column(row, row.source_field, into.part)
        if source is None:
            continue
        if into == FieldRef(RECORD, ID) and ID not in fields[RECORD]:
            reader.find(
                row,
                "id-mapped",
                f"{row.target_field} can't be mapped: a record's id is the key of its resource",
                "delete the row; another key is named in the data type's `source:`",
            )
        elif reader.known(row, into, fields) and reader.together(row, source.part, into.part):
            reader.assign(row, into, source.name, columns[into.part] if columns and into.part in columns else None)
    names = {part: [name for name in fields[part] if name not in resources] for part in resources if part in fields}
    return reader.reading(names)


def read_target(
    rows: Iterable[FieldMapping],
    system: str,
    data_type: str,
    schema: RecordSchema,
    resources: Mapping[str, str],
    lookups: Lookups,
) -> Reading:
    """`assign_target` with findings instead of an error."""
    fields = canonical_fields(schema)
    kinds: dict[str, dict[str, Kind | None]] = {
        part: {**{name: type.kind for name, type in inner.items()}, ID: "string"} for part, inner in fields.items()
    }
    reader = _Reader(data_type, resources, lookups)
    for row in rows:
        if row.target_system != system or row.source_system != CANONICAL:
            continue
        if row.source_field and canonical_data_type(row.source_field) != data_type:
            continue
        source = canonical_ref(row.source_field)
        into = reader.column(row, row.target_field, source.part)
        if into is None:
            continue
        if source in (FieldRef(RECORD, ID), FieldRef(RECORD, "")) or (
            reader.known(row, source, fields) and reader.together(row, into.part, source.part)
        ):
            reader.assign(row, into, source.name, kinds.get(into.part))
    names = {
        part: [ID, *(name for name in fields[part] if name not in {ID, *resources})]
        for part in resources
        if part in fields
    }
    return reader.reading(names)


class _Reader:
    """Collects assignments and findings over the rows of one data type and system."""

    def __init__(self, data_type: str, resources: Mapping[str, str], lookups: Lookups) -> None:
        self.data_type = data_type
        self.resources = resources
        self.lookups = lookups
        self.rows: list[FieldMapping] = []
        self.findings: list[Finding] = []
        self.parts: dict[str, dict[str, Assignment]] = {}
        self.touched: set[str] = set()

    def find(self, row: FieldMapping, code: str, message: str, fix: str) -> None:
        self.findings.append(Finding(row.file, row.line, message, fix, code))

    def column(self, row: FieldMapping, reference: str, part: str) -> FieldRef | None:
        """What the system's side of a row refers to, preferably in `part`; None if it is another resource."""
        if not reference:
            self.rows.append(row)
            return FieldRef(part, "")
        places = column_refs(reference, self.resources)
        if not places:
            return None
        self.rows.append(row)
        place = next((place for place in places if place.part == part), places[0])
        self.touched.add(place.part)
        return place

    def known(self, row: FieldMapping, place: FieldRef, fields: Mapping[str, Mapping[str, object]]) -> bool:
        """Whether the canonical side names a field of the data type."""
        self.touched.add(place.part)
        if place.name in fields.get(place.part, {}):
            return True
        if place.part not in fields:
            lists = [part for part in fields if part]
            fix = f"{closest(place.part, lists)}" if lists else f"{self.data_type} has no list of records"
            self.find(row, "unknown-field", f"{self.data_type} has no list called {place.part!r}", fix)
            return False
        near = closest(place.name, fields[place.part])
        where = f"{self.data_type}.{place.part}[]" if place.part else self.data_type
        self.find(row, "unknown-field", f"{where} has no field {place.name!r}", near)
        return False

    def together(self, row: FieldMapping, columns_part: str, canonical_part: str) -> bool:
        """Whether both sides of a row are about the same part."""
        if columns_part == canonical_part:
            return True
        held = self.resources[columns_part]
        is_about = f"the items of {self.data_type}.{columns_part}" if columns_part else f"{self.data_type} itself"
        meant = canonical_reference(FieldRef(columns_part, "FIELD"), self.data_type)
        wanted = self.resources.get(canonical_part)
        other = f", or a column of {wanted}" if wanted else ""
        self.find(row, "other-part", f"{held} holds {is_about}, the other side doesn't", f"write {meant}{other}")
        return False

    def assign(self, row: FieldMapping, into: FieldRef, source: str, kinds: Mapping[str, Kind | None] | None) -> None:
        """Adds a row's assignment; its rule is compiled with the types of the fields it may read."""
        if source and kinds is not None and source not in kinds:
            reference = column_reference(FieldRef(into.part, source), self.resources)
            self.find(row, "unknown-column", f"there is no column {reference}", closest(source, kinds))
            return
        rule = None
        if row.rule:
            try:
                value_type = kinds[source] if source and kinds is not None else None
                rule = compile_rule(row.rule, lookups=self.lookups, value_type=value_type, fields=kinds)
            except RuleError as error:
                self.find(row, "bad-rule", f"rule {row.rule}: {error.message}", error.fix or "fix the rule")
                return
        if not source and (rule is None or rule.uses_value):
            why = "no rule either" if rule is None else "its rule takes `value`"
            fix = 'name the source field, or write a rule such as "GB" or record.NAME'
            self.find(row, "no-source", f"the row has no source field, and {why}", fix)
            return
        part = self.parts.setdefault(into.part, {})
        if (before := part.get(into.name)) is not None and before.row is not None:
            at = f"{before.row.file.name}:{before.row.line}"
            self.find(
                row, "filled-twice", f"{row.target_field} is filled twice, first at {at}", "delete one of the rows"
            )
            return
        part[into.name] = Assignment(into.name, source or None, rule, row)

    def reading(self, same_named: Mapping[str, list[str]]) -> Reading:
        """The result; parts without rows are filled with their same-named fields."""
        parts: Parts = {part: tuple(found.values()) for part, found in self.parts.items()}
        for part, names in same_named.items():
            if part not in self.touched and part not in parts:
                parts[part] = tuple(Assignment(name, name, None, None) for name in names)
        return Reading(parts, tuple(self.rows), tuple(self.findings))
