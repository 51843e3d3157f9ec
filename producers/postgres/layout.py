"""How one data type's rows become canonical records: made from the mapping and the columns the table has just now."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar, cast

from sorbus.avro.encode import encode_long
from sorbus.connector import BoundSource
from sorbus.errors import PermanentError
from sorbus.mapping.assign import Assignment, assign_source
from sorbus.mapping.default import encoded_default
from sorbus.mapping.finish import avro_maker
from sorbus.mapping.generate import Names, call, load
from sorbus.mapping.known import Known
from sorbus.mapping.rule import Rule, RuleError
from sorbus.producers.postgres.options import PostgresSource
from sorbus.producers.postgres.text import loader, text_encoder
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


class _Step(NamedTuple):
    """One canonical field of a row: what makes it of the texts at `columns`. `column` is the source's own, if any."""

    field: SchemaField
    column: int
    columns: tuple[int, ...]
    encode: Callable[..., bytes]
    assignment: Assignment | None


class RowLayout:
    """Encodes the rows of one table as one record (or one list item) of a data type.

    `fields(row)` is what it all comes to: one function made for these fields and columns, each field's Avro in schema
    order. It raises ValueError or TypeError; `encode` says of which field.
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
        self.fields = self._together()

    def columns(self) -> set[str]:
        """The columns it reads."""
        names = list(self._places)
        return {names[place] for step in self.steps for place in step.columns}

    def encode(self, row: TextRow) -> list[bytes]:
        """Each field's Avro in schema order. PermanentError names field, value and rule."""
        try:
            return self.fields(row)
        except (ValueError, TypeError) as error:
            raise self._explain(row) or PermanentError(str(error), reason="value") from error

    def _together(self) -> Callable[[TextRow], list[bytes]]:
        names = Names()
        made = [
            call(
                names.of(step.encode),
                *(ast.Subscript(load("row"), ast.Constant(at), ast.Load()) for at in step.columns),
            )
            for step in self.steps
        ]
        made_of = names.function("fields", ["row"], [], ast.List(made, ast.Load()))
        return cast("Callable[[TextRow], list[bytes]]", made_of)

    def _step(self, field: SchemaField, assignment: Assignment | None) -> _Step:
        place = self._places.get(assignment.source, -1) if assignment and assignment.source else -1
        if assignment is None or (place < 0 and not (assignment.rule and not assignment.source)):
            return _Step(field, -1, (), _constant(field), None)
        if assignment.rule is None:
            oid = self._oids[assignment.source or ""]
            return _Step(field, place, (place,), text_encoder(oid, field.type), assignment)
        columns, encode = self._computed(field, place, assignment.rule)
        return _Step(field, place, columns, encode, assignment)

    def _computed(self, field: SchemaField, place: int, rule: Rule) -> tuple[tuple[int, ...], Callable[..., bytes]]:
        """The columns that a rule reads, its own field's first, and what makes the field of their texts."""
        uses = [name for name in sorted(rule.uses) if name in self._places]
        run = rule.of_fields(uses) if len(uses) == len(rule.uses) else _with_gaps(rule, uses)
        places = tuple(self._places[name] for name in uses)
        loads = [_loader(self._oids[name]) for name in uses]
        finish = avro_maker(field.type)
        if place < 0:
            return places, lambda *texts: finish(
                run(None, *[read(text) for read, text in zip(loads, texts, strict=True)])
            )
        own = _loader([*self._oids.values()][place])
        if set(places) <= {place}:

            def alone(text: bytes | None) -> bytes:
                value = own(text)
                return finish(run(value, *[value for _ in places]))

            return (place,), Known(alone).__getitem__ if rule.is_pure else alone

        def beside(text: bytes | None, *texts: bytes | None) -> bytes:
            return finish(run(own(text), *[read(text) for read, text in zip(loads, texts, strict=True)]))

        return (place, *places), beside

    def _explain(self, row: TextRow) -> PermanentError | None:
        """Finds the field that fails: only failures pay for knowing which."""
        for step in self.steps:
            text = row[step.column] if step.column >= 0 else None
            try:
                step.encode(*(row[place] for place in step.columns))
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


def _constant(field: SchemaField) -> Callable[[], bytes]:
    """The encoder of a field that no column fills: its default, null, or an error."""
    made = encoded_default(field)

    def give() -> bytes:
        if made is None:
            raise ValueError("nothing fills it, and it must have a value")
        return made

    return give


def _loader(oid: int) -> Callable[[bytes | None], object]:
    """Text of type `oid`, or null, to a Python value."""
    found = loader(oid)
    return lambda text: None if text is None else found(text)


def _with_gaps(rule: Rule, there: Sequence[str]) -> Callable[..., object]:
    """A rule that reads columns which the table doesn't have just now: it says itself what is then."""
    return lambda value, *texts: rule(value, dict(zip(there, texts, strict=True)))


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
