"""How records laid out by one writer's schema become rows of a target table: made once, then only called."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple, cast

from sorbus import native
from sorbus.avro.decode import AnyReader, Undecodable, read_long, reader, skip_long
from sorbus.consumers.postgres.cells import (
    EIGHT,
    LENGTHS,
    CellReader,
    NativeRead,
    cell_reader,
    is_small,
    native_read,
    native_skip,
    pack_length,
    pack_long,
    row_start,
)
from sorbus.consumers.postgres.reading import Cells, Items, Use, inputs, of_bytes, reading
from sorbus.consumers.postgres.reading import Read as _Read
from sorbus.consumers.postgres.text import cell_maker, checked_as, column_scale, text_limit
from sorbus.errors import PermanentError
from sorbus.mapping.assign import Assignment
from sorbus.mapping.blank import is_blank
from sorbus.native import codec
from sorbus.postgres.catalog import Column
from sorbus.schema import FieldType, SchemaField

INCOMPLETE = "incomplete"
_MOST_FIELDS = 32
"""That the C code gives one rule."""
_EMPTY = re.compile(r"""(?<!["'])(?:""|'')(?!["'])""")
_FAULTS = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, struct.error)


class StageColumn(NamedTuple):
    """A column of the stage: what the COPY delivers (`type`), and what the merge makes the target's value with.

    `cast` to the target's type, or `unit`: a decimal came as a whole number of these (10^-scale). `exact`: the type as
    it is declared, where it would round or cut without a word what doesn't fit; the merge refuses that.
    """

    name: str
    type: str
    cast: str | None = None
    unit: Decimal | None = None
    exact: str | None = None


class Row(NamedTuple):
    """A record's cells in the stage's order, its list fields' items likewise, and where the record ends."""

    cells: Cells
    items: Items
    end: int


class TableShape:
    """The columns of one target table (a record's, or a list field's) and where their values come from.

    All of it comes to one function, made of the writer's fields and the mapping (`_read`): it goes over a record once
    and gives its cells. What that can't take is gone through again field by field (`_row`), to say which and why.
    """

    def __init__(
        self,
        assignments: Sequence[Assignment],
        columns: Mapping[str, Column],
        fields: Sequence[SchemaField],
        *,
        defaults: Mapping[str, object],
        children: Mapping[str, TableShape],
        holds: bool = False,
    ) -> None:
        """`columns` are the target's, `fields` the writer's in wire order, `defaults` the values of fields that the
        writer doesn't know, `children` the shapes of the list fields that have tables of their own. A record with
        nothing but white space in a required column by a rule is refused with reason `INCOMPLETE`; with `holds` one
        with nothing, too.
        """
        uses = Counter(name for item in assignments for name in inputs(item))
        by_source = {item.source: item for item in assignments if item.rule is None and uses[item.source or ""] == 1}
        self._columns = columns
        self._defaults = defaults
        direct: list[Assignment] = []
        self._reads: list[_Read] = []
        self._holds = holds
        must_show = {item.into for item in assignments if _must_show(item, columns[item.into])}
        for field in fields:
            item = by_source.get(field.name)
            cell = item and _direct(field.type, columns[item.into])
            if field.name in children:
                nullable = field.type.nullable
                self._reads.append(_Read(field, field.name, _items_reader(children[field.name], nullable), "items"))
            elif item and cell:
                direct.append(item)
                self._reads.append(_Read(field, item.into, cell, "cell"))
            else:
                use: Use = "value" if uses[field.name] else "skip"
                self._reads.append(_Read(field, field.name, reader(field.type), use))
        self._computed = [item for item in assignments if item not in direct]
        self._makers = {item.into: cell_maker(columns[item.into]) for item in self._computed}
        types = {field.name: field.type for field in fields}
        self.stage = [_direct_stage(columns[item.into], types[str(item.source)]) for item in direct]
        self.stage += [_computed_stage(columns[item.into]) for item in self._computed]
        self._must_show = [place for place, column in enumerate(self.stage) if column.name in must_show]
        self._start = row_start(len(self.stage) + 2)
        self.children = children
        self._has_items = bool(children)
        self._read = reading(self._reads, self._computed, self._makers, defaults)
        encoder = self._encoder()
        self.in_c = None if encoder is None else encoder.pack
        """As `packed`, for what C takes; None where it takes nothing."""

    def packed(self, id: bytes, version: int, data: bytes, at: int) -> bytes | None:
        """The whole row for the COPY; None where it has lists besides, or where it fails."""
        if self._has_items:
            return None
        if self.in_c is not None and (row := self.in_c(id, version, data, at)) is not None:
            return row
        try:
            cells, _, end = self._read(data, at, id)
        except _FAULTS:
            return None
        if self._must_show and self._is_blank(cells):
            return None
        size = len(id)
        head = LENGTHS[size] if size < 4096 else pack_length(size)
        return b"".join((self._start, head, id, EIGHT, pack_long(version), *cells)) if end == len(data) else None

    def _encoder(self) -> codec.CellEncoder | None:
        """What makes whole rows where that needs no more than each cell's own fields; None elsewhere."""
        if native.absence or self._has_items:
            return None
        reads = [
            _native_read(field.type, self._columns[name]) if use == "cell" else native_skip(field.type)
            for field, name, _, use in self._reads
        ]
        known = tuple(each for each in reads if each is not None)
        computed = of_bytes(self._reads, self._computed, self._makers)
        if computed is None or len(known) < len(reads) or any(len(each.places) > _MOST_FIELDS for each in computed):
            return None
        first = len(self.stage) - len(computed)
        cells = tuple((*each, first + place in self._must_show) for place, each in enumerate(computed))
        return codec.CellEncoder(self._start, known, cells)

    def row(self, data: bytes, at: int, id: bytes) -> Row:
        """The row of the record that begins at `at`. Undecodable, or a PermanentError that names the field."""
        try:
            made = Row(*self._read(data, at, id))
            if not self._is_blank(made.cells):
                return made
        except _FAULTS:
            pass
        try:
            return self._row(data, at, id)
        except (IndexError, struct.error, OverflowError, RecursionError) as error:
            raise Undecodable(f"ends in the middle of a value, or holds one that is too large ({error})") from error

    def _row(self, data: bytes, at: int, id: bytes) -> Row:
        cells: dict[str, bytes] = {}
        items: Items = {}
        record: dict[str, object] = {**self._defaults, "id": id.decode(errors="replace")}
        for _, name, read, use in self._reads:
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
        found = [cells[column.name] for column in self.stage]
        for place in self._must_show:
            if self._is_blank(found, (place,)):
                into = self.stage[place].name
                raise PermanentError(
                    f"{into} must have a value, and its rule gives none", reason=INCOMPLETE, field=into
                )
        return Row(found, items, at)

    def _is_blank(self, cells: Cells, places: Sequence[int] | None = None) -> bool:
        texts = (cells[place][4:].decode() for place in (self._must_show if places is None else places))
        return any(is_blank(text) and (self._holds or text) for text in texts)

    def _compute(self, item: Assignment, record: Mapping[str, object]) -> bytes:
        value = record.get(item.source) if item.source else None
        try:
            return self._makers[item.into].make(item.rule(value, record) if item.rule else value)
        except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
            raise PermanentError(
                f"{item.into} from {str(value)[:80]!r}: {error}",
                reason="mapping",
                field=item.into,
                value=value,
                rule=item.rule.text if item.rule else None,
            ) from error


def _must_show(item: Assignment, column: Column) -> bool:
    """Whether a rule must fill a column of text; one that writes "" itself means it."""
    is_text = item.rule is not None and column.required and column.kind == "string"
    return is_text and item.rule is not None and not _EMPTY.search(item.rule.text)


def _direct(kind: FieldType, column: Column) -> CellReader | None:
    return cell_reader(kind, column.oid, column_scale(column), text_limit(column))


def _native_read(kind: FieldType, column: Column) -> NativeRead | None:
    return native_read(kind, column.oid, column_scale(column), text_limit(column))


def _direct_stage(column: Column, kind: FieldType) -> StageColumn:
    if is_small(kind):
        return StageColumn(column.name, "bigint", None, Decimal(1).scaleb(-kind.scale))
    exact = checked_as(column)
    return StageColumn(column.name, column.plain if exact else column.native, exact=exact)


def _computed_stage(column: Column) -> StageColumn:
    return StageColumn(column.name, "text", column.plain, exact=checked_as(column))


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
