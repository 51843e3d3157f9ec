"""How one data type's rows become canonical records: made from the mapping and the columns the table has just now."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sorbus.avro.encode import Encoder, encode_long, encoder
from sorbus.connector import BoundSource
from sorbus.errors import PermanentError
from sorbus.mapping.assign import Assignment, assign_source
from sorbus.mapping.convert import convert
from sorbus.mapping.default import encoded_default
from sorbus.mapping.rule import RuleError
from sorbus.producers.postgres.options import PostgresSource
from sorbus.producers.postgres.text import Loader, TextEncoder, loader, text_encoder
from sorbus.schema import SchemaField

T = TypeVar("T")
TextRow = Sequence[bytes | None]
Oids = Mapping[str, int]
"""A table's columns as it has them now: name -> type oid, in order."""


def source_parts(source: BoundSource) -> dict[str, tuple[Assignment, ...]]:
    """Which column fills which canonical field, for the record ("") and for each of its lists of records."""
    options = source.options
    assert isinstance(options, PostgresSource)
    resources = {"": options.table, **{name: child.table for name, child in options.children.items()}}
    return assign_source(source.mapping, options_system(source), source.name, source.schema, resources, source.lookups)


def options_system(source: BoundSource) -> str:
    owner = source.data_type.system_of_record
    assert isinstance(owner, str)
    return owner


@dataclass(frozen=True, slots=True)
class _Step:
    """One canonical field of a row: `column` is its place in the row, -1 when it has none."""

    field: SchemaField
    column: int
    encode: TextEncoder
    assignment: Assignment | None


class RowLayout:
    """Encodes the rows of one table as one record (or one list item) of a data type.

    `plan`, where no rule is in the way: each field's encoder and the place of its column, in schema order.
    """

    def __init__(
        self,
        fields: Sequence[SchemaField],
        assignments: Sequence[Assignment],
        oids: Oids,
        *,
        skip: Sequence[str] = (),
    ) -> None:
        """`skip`: list fields that another table fills. A column that is gone gives null, or an error per row."""
        self._places = {name: place for place, name in enumerate(oids)}
        self._oids = oids
        self.missing = sorted({a.source for a in assignments if a.source and a.source not in oids})
        by_field = {assignment.into: assignment for assignment in assignments}
        self.steps = [self._step(field, by_field.get(field.name)) for field in fields if field.name not in skip]
        self._plan = [(step.encode, step.column) for step in self.steps]
        self._loaders = self._rule_loaders()
        self.plan = None if any(s.assignment and s.assignment.rule for s in self.steps) else self._plan
        self._encoders: list[tuple[_Step, Encoder | None]] = [
            (step, encoder(step.field.type) if step.assignment and step.assignment.rule else None)
            for step in self.steps
        ]

    def columns(self) -> set[str]:
        """The columns it reads."""
        names = list(self._places)
        return {names[step.column] for step in self.steps if step.column >= 0} | {name for name, _, _ in self._loaders}

    def encode(self, row: TextRow) -> list[bytes]:
        """Each field's Avro in schema order. PermanentError names field, value and rule."""
        try:
            if self.plan is not None:
                return [encode(row[column]) for encode, column in self._plan]
            return self._encode_with_rules(row)
        except (ValueError, TypeError) as error:
            raise self._explain(row) or PermanentError(str(error), reason="value") from error

    def _encode_with_rules(self, row: TextRow) -> list[bytes]:
        record = self._record(row)
        out = []
        for step, encode in self._encoders:
            text = row[step.column] if step.column >= 0 else None
            if encode is None:
                out.append(step.encode(text))
            else:
                out.append(encode(self._computed(step, text, record)))
        return out

    def _record(self, row: TextRow) -> dict[str, object]:
        record: dict[str, object] = {}
        for name, place, load in self._loaders:
            text = row[place]
            record[name] = None if text is None else load(text)
        return record

    def _computed(self, step: _Step, text: bytes | None, record: Mapping[str, object]) -> object:
        assert step.assignment is not None
        assert step.assignment.rule is not None
        value = None
        if text is not None and step.assignment.source is not None:
            value = record[step.assignment.source]
        made = step.assignment.rule(value, record)
        return None if made is None else convert(made, step.field.type)

    def _step(self, field: SchemaField, assignment: Assignment | None) -> _Step:
        place = self._places.get(assignment.source, -1) if assignment and assignment.source else -1
        if place < 0 and not (assignment and assignment.rule and not assignment.source):
            return _Step(field, -1, _constant(field), None)
        oid = self._oids[assignment.source] if assignment and assignment.source else 25
        return _Step(field, place, text_encoder(oid, field.type), assignment)

    def _rule_loaders(self) -> list[tuple[str, int, Loader]]:
        wanted: dict[str, None] = {}
        for step in self.steps:
            if step.assignment and step.assignment.rule:
                if step.assignment.source:
                    wanted[step.assignment.source] = None
                wanted |= dict.fromkeys(sorted(step.assignment.rule.uses))
        return [(name, self._places[name], loader(self._oids[name])) for name in wanted if name in self._places]

    def _explain(self, row: TextRow) -> PermanentError | None:
        """Finds the field that fails: only failures pay for knowing which."""
        for step, encode in self._encoders:
            text = row[step.column] if step.column >= 0 else None
            try:
                if encode is None:
                    step.encode(text)
                else:
                    encode(self._computed(step, text, self._record(row)))
            except (ValueError, TypeError, RuleError) as error:
                source = step.assignment.source if step.assignment else None
                rule = step.assignment.rule.text if step.assignment and step.assignment.rule else None
                gone = f" (column {', '.join(self.missing)} is gone from the table)" if self.missing else ""
                shown = "" if text is None else f" from {text.decode(errors='replace')[:80]!r}"
                return PermanentError(
                    f"field {step.field.name}{f' (column {source})' if source else ''}{shown}: {error}{gone}",
                    reason="not canonical",
                    field=step.field.name,
                    value=None if text is None else text.decode(errors="replace"),
                    rule=rule,
                )
        return None


def _constant(field: SchemaField) -> TextEncoder:
    """The encoder of a field that no column fills: its default, null, or an error, whatever it is given."""
    made = encoded_default(field)
    if made is not None:
        return lambda _: made

    def refuse(_: bytes | None) -> bytes:
        raise ValueError("nothing fills it, and it must have a value")

    return refuse


def encode_items(items: Sequence[bytes]) -> bytes:
    """An Avro array of already encoded items, in one block."""
    return encode_long(len(items)) + b"".join(items) + b"\0" if items else b"\0"


def record_id(values: Sequence[bytes | None]) -> bytes:
    """The owner's id: the key's text; composite keys are joined by |, with % and | in their parts percent-encoded."""
    if len(values) == 1:
        return values[0] or b""
    return b"|".join((value or b"").replace(b"%", b"%25").replace(b"|", b"%7C") for value in values)


def picker(places: Sequence[int]) -> Callable[[Sequence[T]], tuple[T, ...]]:
    """Picks the values at `places` out of a row."""
    fixed = tuple(places)
    return lambda row: tuple([row[place] for place in fixed])


def raw_json(oids: Oids, row: Sequence[object]) -> bytes:
    """A row as JSON for a dead letter: column -> text or null."""
    shown = {
        name: value.decode(errors="backslashreplace") if isinstance(value, bytes) else None
        for name, value in zip(oids, row, strict=False)
    }
    return json.dumps(shown, ensure_ascii=False).encode()
