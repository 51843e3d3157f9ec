"""How one data type's rows become canonical records: made from the mapping and the columns the table has just now."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, TypeVar, cast

from sorbus import native
from sorbus.avro.encode import encode_long
from sorbus.connector import BoundSource, Change
from sorbus.errors import PermanentError
from sorbus.mapping.assign import Assignment, assign_source
from sorbus.mapping.cache_policy import weight_of
from sorbus.mapping.default import encoded_default
from sorbus.mapping.generate import GeneratedNames, assign, call, load, unless_none, within
from sorbus.mapping.memo import MANY, SOME, Memo
from sorbus.mapping.result_encoder import avro_expression, avro_maker
from sorbus.mapping.rule import Rule, RuleError
from sorbus.native import codec
from sorbus.producers.postgres.drift import columns_of
from sorbus.producers.postgres.options import PostgresSource
from sorbus.producers.postgres.value_encoders import SourceType, is_plain_text, loader, native_kind, text_encoder
from sorbus.schema import SchemaField

T = TypeVar("T")
TextRow = Sequence[bytes | None]
Oids = Mapping[str, int]
"""A table's columns as it has them now: name -> type oid, in order."""
FAULTS = Exception
"""What the function for a whole row may raise for values that it can't take: no row may end more than itself."""
_LONGEST_SHOWN = 100_000
"""Characters of a column in a dead letter."""


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


class Gone(ValueError):
    """A column that the map reads is no longer there: the record waits, whatever its field would allow."""


class _Step(NamedTuple):
    """One canonical field of a row: `encode` makes it of the texts at `columns`, and says what is wrong with them.

    `column` is the source's own, if any. `fast` gives the same as an expression of a function for the whole row.
    """

    field: SchemaField
    column: int
    columns: tuple[int, ...]
    encode: Callable[..., bytes]
    assignment: Assignment | None
    fast: Callable[[_RowNames], ast.expr] | None = None


class RowLayout:
    """Encodes the rows of one table as one record (or one list item) of a data type.

    `fields(row)` is what it all comes to: one function made for these fields and columns, each field's Avro in schema
    order. It raises any of FAULTS for what it can't take; `encode` takes that too, or says what is wrong with what.
    """

    def __init__(
        self,
        fields: Sequence[SchemaField],
        assignments: Sequence[Assignment],
        oids: Oids,
        *,
        part: str = "",
        skip: Sequence[str] = (),
        once: Collection[str] = (),
        types: Mapping[int, SourceType] | None = None,
    ) -> None:
        """`skip`: list fields that another table fills. `once`: columns that there were, for fields without a row.
        `types`: what is known of types by their oid; others are taken for PostgreSQL's own.

        A column that a row names, or that there once was, and that is gone is an error per row.
        """
        self.part = part
        self._places = {name: place for place, name in enumerate(oids)}
        known = types or {}
        self._types = {name: known.get(oid, SourceType(oid)) for name, oid in oids.items()}
        self._oids, self._once = oids, frozenset(once)
        self.missing = sorted({name for assignment in assignments for name in self._gone(assignment)})
        by_field = {assignment.into: assignment for assignment in assignments}
        self.steps = [self._step(field, by_field.get(field.name)) for field in fields if field.name not in skip]
        self.fields = self._together(self.steps)
        self._native = self.native("", 0)

    def columns(self) -> set[str]:
        """The columns it reads."""
        names = list(self._places)
        return {names[place] for step in self.steps for place in step.columns}

    def column_of(self, field: str | None) -> str | None:
        """The column that a canonical field is made of, one that is gone first; None where there is none."""
        for step in self.steps:
            if step.field.name == field and step.assignment is not None:
                return next(iter(self._gone(step.assignment)), step.assignment.source)
        return None

    def native(
        self, name: str, key: int | Callable[[Sequence[object]], bytes | None], needed: Sequence[int] = ()
    ) -> codec.RowEncoder | None:
        """The same in C, for rows of the data type `name`: fields that it doesn't know are made here, and so are rows
        that it hands back. `key`: the column of the record's id, or what makes it of the columns `needed`.
        """
        if native.absence or self.missing or not self._places:
            return None
        fields = [self._native_field(step) for step in self.steps]
        rest = [step for step, field in zip(self.steps, fields, strict=True) if field[0] == "rest"]
        columns = {*needed, *(place for step in rest for place in step.columns)}
        together = self._together(rest) if rest else None
        return codec.RowEncoder(name, Change, len(self._places), key, tuple(fields), together, tuple(sorted(columns)))

    def _native_field(self, step: _Step) -> tuple[str, int, bool, int, int, bytes]:
        kind = step.field.type
        if not step.columns and step.assignment is None:
            try:
                return "constant", 0, False, 0, 0, step.encode()
            except ValueError:
                return "rest", 0, False, 0, 0, b""
        if step.assignment is not None and step.assignment.rule is None:
            oid, element, _ = self._types[step.assignment.source or ""]
            found = None if element else native_kind(oid, kind)
            size = {"int": 31, "long": 63}.get(kind.kind, kind.precision)
            if found is not None:
                return found, step.column, kind.nullable, size, kind.scale, b""
        return "rest", 0, False, 0, 0, b""

    def record(self, row: TextRow) -> bytes:
        """The whole record. PermanentError names field, value and rule."""
        if self._native is not None and (made := self._native.encode(row)) is not None:
            return made
        return b"".join(self.encode(row))

    def encode(self, row: TextRow) -> list[bytes]:
        """Each field's Avro in schema order. PermanentError names field, value and rule."""
        try:
            return self.fields(row)
        except FAULTS:
            return [self._exactly(step, row) for step in self.steps]

    def _gone(self, assignment: Assignment) -> list[str]:
        names = sorted(columns_of(assignment) - self._oids.keys())
        return names if assignment.row is not None else [name for name in names if name in self._once]

    def _together(self, steps: Sequence[_Step]) -> Callable[[TextRow], list[bytes]]:
        names = _RowNames()
        made = [
            step.fast(names) if step.fast else call(names.of(step.encode), *map(names.cell, step.columns))
            for step in steps
        ]
        made_of = names.function("fields", ["row"], names.texts, ast.List(made, ast.Load()))
        return cast("Callable[[TextRow], list[bytes]]", made_of)

    def _step(self, field: SchemaField, assignment: Assignment | None) -> _Step:
        if assignment is not None and (gone := self._gone(assignment)):
            return _Step(field, -1, (), _held(gone), assignment)
        place = self._places.get(assignment.source, -1) if assignment and assignment.source else -1
        if assignment is None or (place < 0 and not (assignment.rule and not assignment.source)):
            return _Step(field, -1, (), _constant(field), None)
        if assignment.rule is None:
            oid, element, delimiter = self._types[assignment.source or ""]
            return _Step(field, place, (place,), text_encoder(oid, field.type, element, delimiter), assignment)
        columns, encode, fast = self._computed(field, place, assignment.rule)
        return _Step(field, place, columns, encode, assignment, fast)

    def _computed(
        self, field: SchemaField, place: int, rule: Rule
    ) -> tuple[tuple[int, ...], Callable[..., bytes], Callable[[_RowNames], ast.expr] | None]:
        """The columns that a rule reads, what makes the field of their texts, and the fast way of that."""
        uses = [name for name in sorted(rule.uses) if name in self._places]
        is_whole = len(uses) == len(rule.uses)
        run = rule.of_fields(uses) if is_whole else _with_gaps(rule, uses)
        places = tuple(dict.fromkeys([*([place] if place >= 0 else []), *(self._places[name] for name in uses)]))
        types = [[*self._types.values()][at] for at in places]
        loads = [_loader(each) for each in types]
        value = places.index(place) if place >= 0 else None
        fields = {name: places.index(self._places[name]) for name in uses}
        finish = avro_maker(field.type)

        def make(*texts: bytes | None) -> bytes:
            values = [read(text) for read, text in zip(loads, texts, strict=True)]
            return finish(run(None if value is None else values[value], *[values[at] for at in fields.values()]))

        if not is_whole or not places:
            return places, make, None
        weight = weight_of(rule.whole)
        if weight == "light" and all(is_plain_text(each.oid) for each in types):
            return places, make, lambda names: self._written_in(names, field, rule, place, uses)
        if not rule.is_pure:
            return places, make, None
        known = Memo(_made_once(field, rule, types, value, fields), MANY if weight == "heavy" else SOME)
        return places, make, lambda names: ast.Subscript(names.of(known), names.key(places), ast.Load())

    def _written_in(
        self, names: _RowNames, field: SchemaField, rule: Rule, place: int, uses: Sequence[str]
    ) -> ast.expr:
        value = names.text(place) if place >= 0 else ast.Constant(None)
        fields = {name: names.text(self._places[name]) for name in uses}
        return avro_expression(names, field.type, within(names, rule.whole, value, fields, field.name), field.name)

    def _exactly(self, step: _Step, row: TextRow) -> bytes:
        """A field's Avro. Only failures pay for knowing whose they are: PermanentError."""
        try:
            return step.encode(*(row[place] for place in step.columns))
        except Exception as error:
            text = row[step.column] if step.column >= 0 else None
            source = step.assignment.source if step.assignment else None
            rule = step.assignment.rule.text if step.assignment and step.assignment.rule else None
            shown = "" if text is None else f" from {text.decode(errors='replace')[:80]!r}"
            words = str(error) if isinstance(error, ValueError | TypeError | RuleError) else repr(error)
            raise PermanentError(
                f"field {step.field.name}{f' (column {source})' if source else ''}{shown}: {words}",
                reason="drift" if isinstance(error, Gone) else "not canonical",
                field=step.field.name,
                value=None if text is None else text[:_LONGEST_SHOWN].decode(errors="replace"),
                rule=rule,
            ) from error


class _RowNames(GeneratedNames):
    """What the function for a whole row refers to; `texts` are the statements that decode columns, each once."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[ast.stmt] = []
        self._decoded: set[int] = set()

    def cell(self, column: int) -> ast.expr:
        """A column's bytes, or None."""
        return ast.Subscript(load("row"), ast.Constant(column), ast.Load())

    def key(self, columns: Sequence[int]) -> ast.expr:
        """What results are known by."""
        cells = [self.cell(column) for column in columns]
        return cells[0] if len(cells) == 1 else ast.Tuple(cells, ast.Load())

    def text(self, column: int) -> ast.expr:
        """A column's text, or None."""
        name, cell = f"text{column}", f"cell{column}"
        if column not in self._decoded:
            self._decoded.add(column)
            decoded = call(ast.Attribute(load(cell), "decode", ast.Load()))
            self.texts += [assign(cell, self.cell(column)), assign(name, unless_none(load(cell), decoded))]
        return load(name)


def _made_once(
    field: SchemaField, rule: Rule, types: Sequence[SourceType], value: int | None, fields: Mapping[str, int]
) -> Callable[..., bytes]:
    """The function of the texts of columns of these types, whose results are looked up afterwards."""
    names = GeneratedNames()
    texts = [f"text{at}" for at in range(len(types))]
    body = [
        assign(f"value{at}", unless_none(load(text), call(names.of(loader(*each)), load(text))))
        for at, (text, each) in enumerate(zip(texts, types, strict=True))
    ]
    given = ast.Constant(None) if value is None else load(f"value{value}")
    made = within(names, rule.whole, given, {name: load(f"value{at}") for name, at in fields.items()}, "")
    made_of = names.function("made", texts, body, avro_expression(names, field.type, made, ""))
    return cast("Callable[..., bytes]", made_of)


def _constant(field: SchemaField) -> Callable[[], bytes]:
    """The encoder of a field that no column fills: its default, null, or an error."""
    made = encoded_default(field)

    def give() -> bytes:
        if made is None:
            raise ValueError("nothing fills it, and it must have a value")
        return made

    return give


def _held(columns: Sequence[str]) -> Callable[[], bytes]:
    """The encoder of a field whose column is gone."""

    def refuse() -> bytes:
        raise Gone(
            f"column {', '.join(columns)} is gone from the table: name the right one in the mapping sheet, or delete"
            " the row if there is none any more, and restart the producer"
        )

    return refuse


def _loader(type: SourceType) -> Callable[[bytes | None], object]:
    """Text of a type, or null, to a Python value."""
    found = loader(*type)
    return lambda text: None if text is None else found(text)


def _with_gaps(rule: Rule, there: Sequence[str]) -> Callable[..., object]:
    """A rule that reads columns which the table doesn't have just now: it says itself what is then."""
    return lambda value, *texts: rule(value, dict(zip(there, texts, strict=True)))


def encode_items(items: Sequence[bytes]) -> bytes:
    """An Avro array of already encoded items, in one block."""
    return encode_long(len(items)) + b"".join(items) + b"\0" if items else b"\0"


def picker(places: Sequence[int]) -> Callable[[Sequence[T]], tuple[T, ...]]:
    """Picks the values at `places` out of a row."""
    fixed = tuple(places)
    return lambda row: tuple([row[place] for place in fixed])


def raw_json(oids: Oids, row: Sequence[object]) -> bytes:
    """A row as JSON for a dead letter: column -> text or null, the longest texts cut."""
    shown = {name: _shown(value) if isinstance(value, bytes) else None for name, value in zip(oids, row, strict=False)}
    return json.dumps(shown, ensure_ascii=False).encode(errors="backslashreplace")


def _shown(value: bytes) -> str:
    text = value[:_LONGEST_SHOWN].decode(errors="backslashreplace")
    return text if len(value) <= _LONGEST_SHOWN else f"{text}... ({len(value):,} bytes)"
