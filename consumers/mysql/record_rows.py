"""Deliveries as rows: what each column of the record's table and of its lists' tables takes; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from sorbus.avro.decode import Undecodable, read_record
from sorbus.connector import BoundFlow, Delivery
from sorbus.consumers.mysql.cells import cell_maker
from sorbus.consumers.mysql.keys import id_of_key
from sorbus.consumers.mysql.options import MysqlTarget
from sorbus.consumers.mysql.tables import LONGEST_ID
from sorbus.errors import MustWait, PermanentError
from sorbus.mapping.assign import Assignment, Parts
from sorbus.mapping.blank import is_blank
from sorbus.mapping.default import Defaults
from sorbus.mapping.rule import RuleError
from sorbus.mysql.catalog import MysqlColumn, MysqlTable
from sorbus.mysql.text_values import BINARY_TYPES
from sorbus.waiting.complete import lacking

_FAULTS = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, RuleError)
_ROOM = 10_000
"""Bytes of a statement beside its values."""


class MysqlRow(NamedTuple):
    """A delivery made ready. `values`: the record's columns in order (None: deleted), `items`: each list's rows."""

    place: int
    delivery: Delivery
    id: str
    values: tuple[object, ...] | None
    items: dict[str, list[tuple[object, ...]]]

    @property
    def is_delete(self) -> bool:
        return self.values is None


class RecordRows:
    """Makes rows of one flow's deliveries."""

    def __init__(self, flow: BoundFlow, parts: Parts, tables: Mapping[str, MysqlTable], largest: int) -> None:
        """`largest`: bytes that one statement may have."""
        options = flow.options
        assert isinstance(options, MysqlTarget)
        self._flow, self._options, self._largest = flow, options, largest
        zone = options.time_zone
        self._own = [one for one in parts[""] if one.into != options.key and is_in_table(one, tables[""])]
        self._key_column = tables[""].columns[options.key]
        self._key_cell = cell_maker(self._key_column, zone)
        self.columns = {"": [options.key, *(one.into for one in self._own)]}
        """Part -> the columns that are written, in order; a list's begin with parent and position."""
        self._cells = {one.into: cell_maker(tables[""].columns[one.into], zone) for one in self._own}
        self._must_show = {
            one.into for one in self._own
            if one.rule is not None and tables[""].columns[one.into].required and flow.flow.on_incomplete != "pass"
        }  # fmt: skip
        self._lists: dict[str, list[Assignment]] = {}
        self._parents: dict[str, tuple[MysqlColumn, Callable[[object], object]]] = {}
        self._list_cells: dict[str, dict[str, Callable[[object], object]]] = {}
        for name, child in options.children.items():
            head = [child.parent, *([child.position] if child.position else [])]
            table = tables[name]
            parent = table.columns[child.parent]
            self._parents[name] = parent, cell_maker(parent, zone)
            self._lists[name] = [one for one in parts.get(name, ()) if one.into not in head and is_in_table(one, table)]
            self.columns[name] = [*head, *(one.into for one in self._lists[name])]
            self._list_cells[name] = {one.into: cell_maker(table.columns[one.into], zone) for one in self._lists[name]}
        self._defaults = Defaults(flow.schema.fields)

    def row(self, place: int, delivery: Delivery) -> MysqlRow:
        """PermanentError names field, value and rule; MustWait where the record is incomplete and the flow holds it."""
        if len(delivery.id) > LONGEST_ID:
            raise PermanentError(
                f"the id has {len(delivery.id):,} bytes, and {LONGEST_ID:,} are the most", reason="ProgramLimitExceeded"
            )
        try:
            id = delivery.id.decode()
        except UnicodeDecodeError as error:
            raise PermanentError(f"the id is not text in UTF-8: {error}", reason="undecodable") from error
        if delivery.deleted:
            for part in ("", *self._lists):
                self.key_of(id, part)
            return MysqlRow(place, delivery, id, None, {})
        record = self._decoded(delivery, id)
        values = [self.key_of(id), *(self._value(one, record, self._cells[one.into]) for one in self._own)]
        items = {name: self._items(name, record, id) for name in self._lists}
        for row in (values, *(row for rows in items.values() for row in rows)):
            self._require_room(sum(map(_most_bytes, row)))
        return MysqlRow(place, delivery, id, tuple(values), items)

    def _require_room(self, size: int) -> None:
        if size > self._largest - _ROOM:
            raise PermanentError(
                f"the record needs a statement of up to {size:,} bytes, and the server takes {self._largest:,}: let an"
                " administrator raise max_allowed_packet",
                reason="ProgramLimitExceeded",
            )

    def _decoded(self, delivery: Delivery, id: str) -> dict[str, object]:
        try:
            record, end = read_record(delivery.schema, delivery.data, delivery.at)
        except Undecodable as error:
            raise PermanentError(f"the record can't be decoded: {error}", reason="undecodable") from error
        if end != len(delivery.data):
            told = f"the record ends at byte {end} of {len(delivery.data)}: it isn't what its schema says"
            raise PermanentError(told, reason="undecodable")
        return self._defaults.fill(record, id=id)

    def key_of(self, id: str, part: str = "") -> object:
        """What names a record in its key column, or in the `parent` column of a list field's table.

        PermanentError where the column would change it.
        """
        if part:
            column, cell = self._parents[part]
            try:
                return cell(id.encode() if column.type in BINARY_TYPES else id)
            except _FAULTS as error:
                why = f"{error}; it takes records' ids: let its owner give it the type of {self._options.key}"
                raise self._refusal(f"{part}[].{column.name}", id, None, ValueError(why)) from error
        made = self._cell(self._options.key, id, id, self._key_cell, None)
        try:
            own = id_of_key(self._key_column, made)
        except (ValueError, ArithmeticError):
            own = ""
        if own != id:
            kept = f"would keep {own!r} for" if own else "can't keep"
            raise PermanentError(
                f"the key column {self._options.key} {kept} the id {id!r}: name another `key:`",
                reason="mapping",
                field=self._options.key,
            )
        return made

    def _items(self, name: str, record: Mapping[str, object], id: str) -> list[tuple[object, ...]]:
        child, rows = self._options.children[name], []
        found, parent = record.get(name), self.key_of(id, name)
        for place, item in enumerate(found if isinstance(found, list) else [], 1):
            whole = {"id": id, **item}
            head = [parent, *([place] if child.position else [])]
            cells = self._list_cells[name]
            try:
                rows.append((*head, *(self._value(one, whole, cells[one.into]) for one in self._lists[name])))
            except PermanentError as error:
                error.field = f"{name}[].{error.field}"
                raise
        return rows

    def _value(self, one: Assignment, record: Mapping[str, object], cell: Callable[[object], object]) -> object:
        value = record.get(one.source) if one.source else None
        try:
            made = one.rule(value, record) if one.rule is not None else value
        except MustWait:
            raise
        except _FAULTS as error:
            raise self._refusal(one.into, value, one, error) from error
        if one.into in self._must_show and (made is None or (isinstance(made, str) and is_blank(made))):
            raise self._incomplete(one, str(record["id"]))
        return self._cell(one.into, made, value, cell, one)

    def _cell(
        self, column: str, made: object, value: object, cell: Callable[[object], object], one: Assignment | None
    ) -> object:
        try:
            return cell(made)
        except _FAULTS as error:
            raise self._refusal(column, value, one, error) from error

    def _refusal(self, column: str, value: object, one: Assignment | None, error: Exception) -> PermanentError:
        rule = one.rule.text if one is not None and one.rule is not None else None
        shown = str(value)[:80]
        return PermanentError(
            f"{column} from {shown!r}: {error}", reason="mapping", field=column, value=value, rule=rule
        )

    def _incomplete(self, one: Assignment, id: str) -> PermanentError:
        uses = sorted(one.rule.uses) if one.rule else []
        return lacking(self._flow, id, [one.source] if one.source else uses or [one.into])


def _most_bytes(value: object) -> int:
    """Bytes of a value in a statement, if each has to be escaped."""
    if isinstance(value, str):
        return 2 * (len(value) if value.isascii() else len(value.encode())) + 10
    return 2 * len(value) + 10 if isinstance(value, bytes) else 40


def is_in_table(one: Assignment, table: MysqlTable) -> bool:
    """Not the id among same-named fields where the table has no such column: its key column has it already."""
    return one.row is not None or one.into != "id" or "id" in table.columns


def fitting(
    rows: Sequence[tuple[object, ...]], largest: int, statement: str = ""
) -> list[Sequence[tuple[object, ...]]]:
    """Rows in runs whose statements are short enough. `statement`: what each row has of its own."""
    runs: list[list[tuple[object, ...]]] = [[]]
    size = 0
    for row in rows:
        length = sum(map(_most_bytes, row)) + len(statement.encode())
        if runs[-1] and (size + length > min(largest // 2, 4_000_000) or len(runs[-1]) >= 1000):
            runs.append([])
            size = 0
        runs[-1].append(row)
        size += length
    return [run for run in runs if run]
