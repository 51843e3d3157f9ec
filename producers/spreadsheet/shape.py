"""From a sheet's rows to canonical Avro: by the mapping, and by how the sheet's columns are written; no I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from sorbus.avro.encode import encoder
from sorbus.connector import BoundSource
from sorbus.errors import PermanentError
from sorbus.http_api.interface import Json
from sorbus.mapping.assign import Assignment, assign_source
from sorbus.mapping.convert import converter
from sorbus.mapping.default import encoded_default
from sorbus.mapping.errors import shown
from sorbus.mapping.filters.moment import placed
from sorbus.mapping.filters.text import as_text
from sorbus.mapping.rule import RuleError
from sorbus.mapping.types import FLOAT, NUMBER
from sorbus.producers.spreadsheet.options import SpreadsheetSource
from sorbus.schema import Kind, SchemaField
from sorbus.spreadsheet.cells import Cell, PaddedNumber, UnusableCell, is_empty, is_shortened, plain
from sorbus.spreadsheet.sheet_rows import SheetForm, SheetRows
from sorbus.spreadsheet.written_values import ColumnOfDates, ColumnOfNumbers

_BOOLEANS = {
    "true": True, "false": False, "wahr": True, "falsch": False, "vrai": True, "faux": False,
    "verdadero": True, "falso": False, "vero": True, "waar": True, "onwaar": False,
}  # fmt: skip
"""What spreadsheet programs write for their own TRUE and FALSE."""


class NamedCells(NamedTuple):
    """A row's cells by the names that the map uses."""

    number: int
    cells: Mapping[str, Cell]

    def raw(self) -> dict[str, Json]:
        """For a dead letter: what a person sees."""
        values = {name: plain(cell) for name, cell in self.cells.items() if not is_empty(cell)}
        return {
            name: value if isinstance(value, str | int | bool | Decimal) or value is None else as_text(value)
            for name, value in values.items()
        }


class SheetShape:
    """What one data type needs of a sheet, and how it is encoded."""

    def __init__(self, source: BoundSource, system: str) -> None:
        """MapError with every fault of the mapping."""
        options = source.options
        assert isinstance(options, SpreadsheetSource)
        self._options, self._schema = options, source.schema
        parts = assign_source(
            source.mapping, system, source.name, source.schema, {"": options.resource}, source.lookups
        )
        self._assignments = {each.into: each for each in parts[""]}
        named = [each for each in parts[""] if each.row is not None]
        used = {name for each in named for name in (each.source, *(each.rule.uses if each.rule else ())) if name}
        self.key = options.key
        self.required = tuple(dict.fromkeys([*options.key, *sorted(used)]))
        self.same_named = tuple(each.source for each in parts[""] if each.row is None and each.source)
        """The columns that, where there are such, fill the fields of their names."""

    def form(self, once: Collection[str]) -> SheetForm:
        """What is known of a sheet before it is read. `once`: same-named columns that there were, and so have to be."""
        return self._options.form((*self.required, *sorted(once)), self.same_named)

    @property
    def mapped(self) -> dict[str, str]:
        """Column -> how it is mapped, for drift."""
        found: dict[str, list[str]] = {}
        for each in self._assignments.values():
            if each.row is None:
                continue
            for name in filter(None, {each.source, *(each.rule.uses if each.rule else ())}):
                found.setdefault(name, []).append(f"{each.into} = {each.rule.text if each.rule else name}")
        return {name: "; ".join(sorted(made)) for name, made in found.items()}

    def named(self, sheet: SheetRows, number: int, cells: Sequence[Cell]) -> NamedCells:
        """A row by its columns' names."""
        columns = sheet.header.columns
        return NamedCells(number, {name: cells[at] if at < len(cells) else None for name, at in columns.items()})

    def id_of(self, row: NamedCells) -> bytes:
        """The record's id, from its key columns. ValueError."""
        parts = []
        for name in self.key:
            cell = row.cells.get(name)
            if isinstance(cell, UnusableCell):
                raise ValueError(f"the key column {name} {cell.words}")
            if is_empty(cell):
                raise ValueError(f"the key column {name} is empty")
            text = " ".join(as_text(plain(cell)).split())
            if is_shortened(text):
                raise ValueError(f"the key column {name} holds {shown(text)}, a shortened number: format it as text")
            parts.append(text.replace("\\", "\\\\").replace("|", "\\|") if len(self.key) > 1 else text)
        id = "|".join(parts).encode()
        if len(id) > 1000:
            raise ValueError("the key is longer than 1000 bytes")
        if not all(char.isprintable() or char == " " for part in parts for char in part):
            raise ValueError("the key has characters that nobody can see")
        return id

    def is_keyless(self, row: NamedCells) -> bool:
        """Whether all key columns are empty."""
        return all(is_empty(row.cells.get(name)) for name in self.key)

    def of(self, sheet: SheetRows) -> SheetEncoder:
        """The encoder for one sheet; it has to `see` every row before it encodes any."""
        fields = [
            _Field(field, self._assignments.get(field.name), self._options, sheet) for field in self._schema.fields
        ]
        return SheetEncoder(fields)


class SheetEncoder:
    """Encodes the rows of one sheet."""

    def __init__(self, fields: Sequence[_Field]) -> None:
        self._fields = fields

    def see(self, row: NamedCells) -> None:
        """Takes a row into account for how columns are written."""
        for field in self._fields:
            field.see(row)

    def encode(self, row: NamedCells) -> bytes:
        """The canonical record in Avro. PermanentError names file, sheet, row, column and field."""
        return b"".join([field.encode(row) for field in self._fields])


class _Field:
    """How one canonical field comes out of a row."""

    def __init__(
        self, field: SchemaField, assignment: Assignment | None, options: SpreadsheetSource, sheet: SheetRows
    ) -> None:
        self._field, self._assignment, self._sheet = field, assignment, sheet
        self._canonical, self._avro = converter(field.type), encoder(field.type)
        self._unfilled = encoded_default(field)
        self._columns: dict[str, _Column] = {}
        if assignment is None:
            return
        kind = field.type.kind if assignment.rule is None else None
        for name in filter(None, {assignment.source, *(assignment.rule.uses if assignment.rule else ())}):
            self._columns[name] = _Column(name, kind, options)

    def see(self, row: NamedCells) -> None:
        for name, column in self._columns.items():
            column.see(row.cells.get(name), row.number)

    def encode(self, row: NamedCells) -> bytes:
        assignment = self._assignment
        if assignment is None or (assignment.row is None and assignment.source not in row.cells):
            if self._unfilled is not None:
                return self._unfilled
            raise self._refusal(row, None, None, "nothing fills it, and it must have a value; map a column to it")
        name: str | None = assignment.source
        value: object = None
        try:
            value = self._columns[name].read(row.cells.get(name)) if name else None
            if assignment.rule is not None:
                others = {}
                for name in sorted(assignment.rule.uses):
                    others[name] = self._columns[name].read(row.cells.get(name))
                name = assignment.source
                value = assignment.rule(value, others)
            return self._avro(self._canonical(value))
        except _UnusableValue as error:
            raise self._refusal(row, name, None, str(error), reason=error.reason) from error
        except (ValueError, TypeError, ArithmeticError, LookupError, RecursionError, RuleError) as error:
            raise self._refusal(row, name, row.cells.get(name or ""), str(error)) from error

    def _refusal(
        self, row: NamedCells, column: str | None, value: Cell, why: str, *, reason: str = "not canonical"
    ) -> PermanentError:
        at = self._sheet.header.columns.get(column) if column else None
        rule = self._assignment.rule if self._assignment else None
        return PermanentError(
            f"{self._sheet.place(row.number, at)}: field {self._field.name}: {why}",
            reason=reason,
            field=self._field.name,
            value=plain(value),
            rule=rule.text if rule else None,
        )


class _UnusableValue(ValueError):
    def __init__(self, cell: UnusableCell) -> None:
        self.reason = cell.reason
        super().__init__(f"the cell {cell.words}")


class _Column:
    """How a column's cells become values for a field of `kind`, or for a rule (None)."""

    def __init__(self, name: str, kind: Kind | None, options: SpreadsheetSource) -> None:
        own = options.columns.get(name)
        decimals = (own.decimals if own else None) or options.decimals
        dates = (own.dates if own else None) or options.dates
        self._kind, self._zone = kind, options.time_zone
        is_number = kind in NUMBER or (kind is None and own is not None and own.decimals is not None)
        is_date = kind in ("date", "timestamp") or (kind is None and own is not None and own.dates is not None)
        self._numbers = ColumnOfNumbers(decimals) if is_number else None
        self._dates = ColumnOfDates(dates, self._zone, has_time=kind == "timestamp") if is_date else None

    def see(self, cell: Cell, row: int) -> None:
        if not isinstance(cell, str):
            return
        if self._numbers is not None:
            self._numbers.see(cell, row)
        elif self._dates is not None:
            self._dates.see(cell)

    def read(self, cell: Cell) -> object:
        """ValueError in a bookkeeper's words."""
        if isinstance(cell, UnusableCell):
            raise _UnusableValue(cell)
        if is_empty(cell):
            return None
        if isinstance(cell, str):
            cell = self._text(cell)
        if isinstance(cell, PaddedNumber):
            cell = cell.number if self._kind in NUMBER else cell.shown
        if isinstance(cell, int | Decimal) and not isinstance(cell, bool) and self._kind in FLOAT:
            return float(cell)
        if isinstance(cell, datetime) and cell.tzinfo is None and self._kind in ("timestamp", None) and self._zone:
            return placed(cell, self._zone)
        if isinstance(cell, datetime) and cell.tzinfo is None and self._kind == "timestamp":
            raise ValueError(
                "the cell has no time zone: say `time_zone: Europe/Zurich` under the data type's `source:`"
            )
        if self._kind in ("date", "timestamp") and isinstance(cell, int | Decimal) and not isinstance(cell, bool):
            raise ValueError(f"{shown(cell)} is a number, not a date: format the column as a date")
        return plain(cell)

    def _text(self, text: str) -> object:
        if self._numbers is not None:
            return self._numbers.read(text)
        if self._dates is not None:
            return self._dates.read(text)
        if self._kind is not None and is_shortened(text):
            raise ValueError(
                f"{shown(text)} is shortened, as spreadsheets do with long numbers: format the column as text and"
                " export it again; if it is meant like this, write the rule `value`"
            )
        if self._kind == "boolean":
            return _BOOLEANS.get(text.strip().casefold(), text)
        return text
