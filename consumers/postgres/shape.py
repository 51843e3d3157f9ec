"""How records laid out by one writer's schema become rows of a target table: made once, then only called."""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple, cast

from psycopg.adapt import PyFormat, Transformer

from sorbus.avro.decode import AnyReader, Undecodable, read_long, reader, skip_long
from sorbus.consumers.postgres.cells import (
    EIGHT,
    LENGTHS,
    NULL,
    CellReader,
    cell_reader,
    is_small,
    pack_length,
    pack_long,
    row_start,
    text_cell,
)
from sorbus.errors import PermanentError
from sorbus.mapping.assign import Assignment
from sorbus.mapping.convert import convert
from sorbus.postgres.catalog import Column
from sorbus.schema import FieldType, SchemaField

Cells = list[bytes]
Items = dict[str, list[Cells]]


class StageColumn(NamedTuple):
    """A column of the stage: what the COPY delivers (`type`), and what the merge makes the target's value with.

    `cast` to the target's type, or `unit`: a decimal came as a whole number of these (10^-scale).
    """

    name: str
    type: str
    cast: str | None = None
    unit: Decimal | None = None


class Row(NamedTuple):
    """A record's cells in the stage's order, its list fields' items likewise, and where the record ends."""

    cells: Cells
    items: Items
    end: int


class _Read(NamedTuple):
    name: str
    read: AnyReader
    use: Literal["cell", "value", "items", "skip"]


class TableShape:
    """The columns of one target table (a record's, or a list field's) and where their values come from."""

    def __init__(
        self,
        assignments: Sequence[Assignment],
        columns: Mapping[str, Column],
        fields: Sequence[SchemaField],
        *,
        defaults: Mapping[str, object],
        children: Mapping[str, TableShape],
    ) -> None:
        """`columns` are the target's, `fields` the writer's in wire order, `defaults` the values of fields that the
        writer doesn't know, `children` the shapes of the list fields that have tables of their own.
        """
        uses = Counter(name for item in assignments for name in _inputs(item))
        by_source = {item.source: item for item in assignments if item.rule is None and uses[item.source or ""] == 1}
        self._columns = columns
        self._defaults = defaults
        self._children = children
        self._texts = Transformer()
        direct: list[Assignment] = []
        self._reads: list[_Read] = []
        for field in fields:
            item = by_source.get(field.name)
            cell = item and _direct(field.type, columns[item.into])
            if field.name in children:
                nullable = field.type.nullable
                self._reads.append(_Read(field.name, _items_reader(children[field.name], nullable), "items"))
            elif item and cell:
                direct.append(item)
                self._reads.append(_Read(item.into, cell, "cell"))
            else:
                self._reads.append(_Read(field.name, reader(field.type), "value" if uses[field.name] else "skip"))
        self._computed = [item for item in assignments if item not in direct]
        types = {field.name: field.type for field in fields}
        self.stage = [_direct_stage(columns[item.into], types[str(item.source)]) for item in direct]
        self.stage += [StageColumn(item.into, "text", columns[item.into].unbounded) for item in self._computed]
        is_plain = not self._computed and not children and all(read.use == "cell" for read in self._reads)
        self._start = row_start(len(self.stage) + 2)
        self.plain = [cast("CellReader", read.read) for read in self._reads] if is_plain else None

    def packed(self, id: bytes, version: int, data: bytes, at: int) -> bytes | None:
        """The whole row for the COPY where no value has to be looked at; None where one has, or where it fails."""
        plain = self.plain
        if plain is None:
            return None
        size = len(id)
        row = [self._start, LENGTHS[size] if size < 4096 else pack_length(size), id, EIGHT, pack_long(version)]
        append = row.append
        try:
            for read in plain:
                cell, at = read(data, at)
                append(cell)
        except (IndexError, ValueError, OverflowError, struct.error):
            return None
        return b"".join(row) if at == len(data) else None

    def row(self, data: bytes, at: int, id: bytes) -> Row:
        """The row of the record that begins at `at`. Undecodable, or a PermanentError that names the field."""
        try:
            if self.plain is not None:
                cells: Cells = []
                append, end = cells.append, at
                for read in self.plain:
                    cell, end = read(data, end)
                    append(cell)
                return Row(cells, {}, end)
            return self._row(data, at, id)
        except (IndexError, struct.error, OverflowError) as error:
            raise Undecodable(f"ends in the middle of a value, or holds one that is too large ({error})") from error
        except Undecodable:
            raise
        except ValueError:
            return self._row(data, at, id)  # finds the field that fails, and names it

    def _row(self, data: bytes, at: int, id: bytes) -> Row:
        cells: dict[str, bytes] = {}
        items: Items = {}
        record: dict[str, object] = {**self._defaults, "id": id.decode(errors="replace")}
        for name, read, use in self._reads:
            try:
                found, at = read(data, at)
            except Undecodable:
                raise
            except ValueError as error:
                raise PermanentError(f"{name} {error}", reason="value", field=name) from error
            if use == "cell":
                cells[name] = cast("bytes", found)
            elif use == "value":
                record[name] = found
            elif use == "items":
                items[name] = cast("list[Cells]", found)
        for item in self._computed:
            cells[item.into] = self._compute(item, record)
        return Row([cells[column.name] for column in self.stage], items, at)

    def _compute(self, item: Assignment, record: Mapping[str, object]) -> bytes:
        column = self._columns[item.into]
        value = record.get(item.source) if item.source else None
        try:
            made = item.rule(value, record) if item.rule else value
            return NULL if made is None else text_cell(self._text(made, column))
        except (ValueError, TypeError) as error:
            raise PermanentError(
                f"{item.into} from {str(value)[:80]!r}: {error}",
                reason="mapping",
                field=item.into,
                value=value,
                rule=item.rule.text if item.rule else None,
            ) from error

    def _text(self, value: object, column: Column) -> bytes:
        """A value as PostgreSQL's own text input takes it."""
        if column.base in (114, 3802):
            return json.dumps(value, default=_json, ensure_ascii=False).encode()
        target = column_type(column)
        if target is not None:
            value = convert(value, target)
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, bool):
            return b"t" if value else b"f"
        if isinstance(value, Decimal):
            return format(value, "f").encode()
        if isinstance(value, bytes):
            return b"\\x" + value.hex().encode()  # psycopg's dumper would escape it as in a statement
        made = self._texts.get_dumper(value, PyFormat.TEXT).dump(value)
        return b"" if made is None else bytes(made)


def _inputs(item: Assignment) -> set[str]:
    names = {item.source} if item.source else set()
    return names | set(item.rule.uses if item.rule else ())


def _direct(kind: FieldType, column: Column) -> CellReader | None:
    return cell_reader(kind, column.oid, column_scale(column))


def _direct_stage(column: Column, kind: FieldType) -> StageColumn:
    if is_small(kind):
        return StageColumn(column.name, "bigint", None, Decimal(1).scaleb(-kind.scale))
    return StageColumn(column.name, column.native)


def column_scale(column: Column) -> int | None:
    """The decimal places that numeric(p,s) keeps; None for all."""
    if column.base != 1700 or "(" not in column.native:
        return None
    return int(column.native.rstrip(")").rpartition(",")[2])


def column_type(column: Column) -> FieldType | None:
    """The canonical type nearest to a column; None where PostgreSQL's own input decides."""
    if column.category == "A":
        return None
    if column.base == 1700:
        if "(" not in column.native:
            return None
        precision, _, scale = column.native.partition("(")[2].rstrip(")").partition(",")
        return FieldType("decimal", precision=int(precision), scale=int(scale))
    kind = column.kind
    return None if kind == "string" and column.base not in (25, 1042, 1043) else FieldType(kind)


def _json(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else str(value)


def _items_reader(shape: TableShape, nullable: bool) -> AnyReader:
    """Reads a list of records (Avro arrays come in blocks, a negative count is followed by the block's size)."""

    def read(data: bytes, at: int) -> tuple[object, int]:
        items: list[Cells] = []
        if nullable:
            at += 1
            if data[at - 1] == 0:
                return items, at
        while True:
            count, at = read_long(data, at)
            if not count:
                return items, at
            if count < 0:
                count, at = -count, skip_long(data, at)
            if count > len(data):
                raise Undecodable(f"a list of {count} items in {len(data)} bytes")
            for _ in range(count):
                cells, _, at = shape.row(data, at, b"")
                items.append(cells)

    return read
