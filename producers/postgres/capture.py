"""One data type of a captured database: its tables, its key, and how its rows become changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple, cast

from sorbus.avro.encode import NULL, SOME
from sorbus.connector import BoundSource, Change, RejectedRecord
from sorbus.drift.watch import DriftWatch
from sorbus.errors import MapError, PermanentError
from sorbus.native import codec
from sorbus.postgres.catalog import Table, qualified, read_table
from sorbus.postgres.connection import Connection
from sorbus.producers.postgres.drift import columns_of, example_of, mapped_columns, shape_of, type_name
from sorbus.producers.postgres.layout import (
    Oids,
    RowLayout,
    TextRow,
    encode_items,
    picker,
    raw_json,
    source_parts,
)
from sorbus.producers.postgres.options import Child, PostgresSource
from sorbus.producers.postgres.unique import not_unique
from sorbus.producers.postgres.value_encoders import SourceType
from sorbus.producers.record_keys import key_fault, record_id, unkeyed_id
from sorbus.schema import SchemaField

Key = tuple[bytes | None, ...]


class ChildTable(NamedTuple):
    """The table behind a list field: `order` sorts a record's items."""

    field: SchemaField
    options: Child
    table: Table

    @property
    def order(self) -> tuple[str, ...]:
        return tuple(self.options.order) or self.table.key or tuple(self.table.columns)


class Members(NamedTuple):
    """The relations that stream a table's rows, by oid. `heirs`: of those, the tables that inherit from it.

    `partitions` stream theirs as the table's: what comes under their own oid is from before they belonged to it.
    """

    oids: frozenset[int]
    heirs: frozenset[int] = frozenset()
    partitions: frozenset[int] = frozenset()


class Capture:
    """Makes changes of one data type out of rows, whatever columns the rows come with."""

    def __init__(self, source: BoundSource, table: Table, children: Sequence[ChildTable]) -> None:
        options = source.options
        assert isinstance(options, PostgresSource)
        self.name = source.name
        self.source = source
        self.table = table
        self.children = tuple(children)
        self.key = tuple(options.key) or table.key
        self.is_aggregate = bool(children)
        self.shared_key: str | None = None
        """Why two rows may have the same key, by the catalog as it was when this was opened."""
        self.drift: DriftWatch | None = None
        """Who is told how the tables look; set before `look`."""
        self.members: dict[str, Members] = {}
        """By table: the relations that stream its rows; set by whoever knows the catalog."""
        self._parts = source_parts(source)
        self._once: dict[str, frozenset[str]] = {}
        self._layouts: dict[tuple[str, tuple[tuple[str, int], ...]], RowLayout] = {}
        self._types: dict[int, SourceType] = {}
        self._learn()

    def refresh(self, connection: Connection) -> None:
        """Takes the tables' columns as they are now, since rows read by key come with those."""
        before = self._tables()
        self.table = read_table(connection, self.table.name) or self.table
        self.children = tuple(
            child._replace(table=read_table(connection, child.table.name) or child.table) for child in self.children
        )
        if self._tables() != before:
            self._layouts.clear()
            self._learn()
            self.look()

    def _learn(self) -> None:
        """Keeps what is known of the columns' types; rows may still come with those of before."""
        for table in self._tables().values():
            for column in table.columns.values():
                self._types[column.oid] = SourceType(column.base, column.element, column.delimiter)

    def look(self) -> None:
        """Tells how the tables look now."""
        for part, table in self._tables().items():
            if self.drift is not None:
                oids = oids_of_table(table)
                self.drift.saw(self.name, table.name, shape_of(oids), self.mapped(part, oids))

    def remember(self, named: Mapping[str, Sequence[str]]) -> None:
        """Columns that there were when this data type was captured before, for fields that no row is about."""
        self._once = {part: frozenset(columns) for part, columns in named.items()}
        self._layouts.clear()

    def named(self) -> dict[str, list[str]]:
        """What to remember: by part, the columns that fill a field of the same name, and those that once did."""
        found: dict[str, list[str]] = {}
        for part, table in self._tables().items():
            names = [each.source for each in self._parts.get(part, ()) if each.row is None and each.source]
            once = self._once.get(part, frozenset())
            if columns := [name for name in names if name in table.columns or name in once]:
                found[part] = columns
        return found

    def mapped(self, part: str, oids: Oids) -> dict[str, str]:
        """The columns that the map reads -> what it makes of them."""
        once = dict.fromkeys(self._once.get(part, ()), 0)
        return mapped_columns(self._parts.get(part, ()), {**once, **oids})

    def meaning(self) -> str:
        """A digest of what the map makes of rows: when it is another one, what is published is out of date."""
        parts: dict[str, list[tuple[str, str | None, str]]] = {}
        for part, table in self._tables().items():
            known = self._once.get(part, frozenset()) | table.columns.keys()
            parts[part] = sorted(
                (each.into, each.source, each.rule.text if each.rule else "")
                for each in self._parts.get(part, ())
                if each.row is not None or columns_of(each) <= known
            )
        rules = " ".join(rule for rows in parts.values() for _, _, rule in rows)
        lookups = {name: dict(table) for name, table in self.source.lookups.items() if name in rules}
        children = [(child.field.name, child.table.name, child.options.parent, child.order) for child in self.children]
        told = json.dumps([self.table.name, self.key, children, parts, lookups], sort_keys=True)
        return blake2b(told.encode(), digest_size=16).hexdigest()

    @property
    def key_now(self) -> tuple[str, ...]:
        """The key as the table has it by now."""
        options = self.source.options
        assert isinstance(options, PostgresSource)
        return tuple(options.key) or self.table.key

    def reads(self) -> dict[str, frozenset[str]]:
        """Each of its tables by name, with the columns that records are made of."""
        found = {self.table.name: frozenset(self.columns())}
        for child in self.children:
            columns = {*self.child_columns(child), *child.options.parent, *child.order}
            found[child.table.name] = found.get(child.table.name, frozenset()) | columns
        return found

    def members_of(self, table: Table) -> Members:
        """The relations that stream the rows of one of its tables."""
        return self.members.get(table.name) or Members(frozenset((table.oid,)))

    def is_about(self, table: str, oids: Oids) -> bool:
        """Whether a table is one of ours and looks otherwise than when it was last read."""
        return any(found.name == table and oids_of_table(found) != oids for found in self._tables().values())

    @property
    def is_whole(self) -> bool:
        """Whether the record's table, as it was last read, has every column that the map reads."""
        return not self.layout("", oids_of_table(self.table)).missing

    def example(self, part: str, column: str, value: bytes | None) -> str:
        """A column's value as a finding shows it."""
        item = self.source.schema.by_name[part].type.item if part else None
        fields = {field.name: field for field in (item.fields if item is not None else self.source.schema.fields)}
        return example_of(value, column, self._parts.get(part, ()), fields)

    def _tables(self) -> dict[str, Table]:
        return {"": self.table, **{child.field.name: child.table for child in self.children}}

    def layout(self, part: str, oids: Oids) -> RowLayout:
        """How rows with these columns are encoded: the record's own (""), or a list field's items."""
        memo = part, tuple(oids.items())
        found = self._layouts.get(memo)
        if found is None:
            if part:
                item = self.source.schema.by_name[part].type.item
                assert item is not None
                fields: Iterable[SchemaField] = item.fields
            else:
                fields = self.source.schema.fields
            skip = [child.field.name for child in self.children] if not part else []
            # What the table has and the stream doesn't carry (computed columns) is missing, and not null.
            known = self._once.get(part, frozenset()) | self._tables()[part].columns.keys()
            parts = self._parts.get(part, ())
            found = self._layouts[memo] = RowLayout(
                tuple(fields), parts, oids, part=part, skip=skip, once=known, types=self._types
            )
        return found

    def native_copy(self, columns: Sequence[str]) -> codec.RowEncoder | None:
        """What makes changes of COPY's lines with these columns, its key's first; None where Python alone does."""
        oids = {name: self.table.columns[name].oid for name in columns}
        return self.layout("", oids).native(self.name, 0) if len(self.key) == 1 else None

    @property
    def identity(self) -> list[str]:
        """The columns that tell the rows of the record's table apart: its key, then the primary key."""
        return list(dict.fromkeys((*self.key, *self.table.key)))

    def columns(self) -> list[str]:
        """The record table's columns that are needed, those of its identity first."""
        return self._needed("", self.table, self.identity)

    def child_columns(self, child: ChildTable) -> list[str]:
        """The columns of a list field's table that are needed."""
        return self._needed(child.field.name, child.table, ())

    def _needed(self, part: str, table: Table, first: Sequence[str]) -> list[str]:
        wanted = self.layout(part, {name: column.oid for name, column in table.columns.items()}).columns()
        return [*first, *(name for name in table.columns if name in wanted and name not in first)]

    def unkeyed(self, names: Sequence[str], row: Sequence[object]) -> bytes:
        """What a row whose key names no record is called."""
        by, places = self.table.key or self.columns(), {name: place for place, name in enumerate(names)}
        told = [name for name in by if name in places]
        return unkeyed_id(told, [row[places[name]] for name in told], is_key=bool(self.table.key))

    def no_key(self, oids: Oids, row: Sequence[object], version: int, occurred_at: int) -> RejectedRecord:
        """The reject of a row whose key names no record."""
        places = {name: place for place, name in enumerate(oids)}
        column, what = key_fault([row[places[name]] for name in self.key], self.key) or (self.key[0], "names no record")
        error = PermanentError(
            f"{self.table.name} has a row that no record can be made of: its key column {column} {what}; fix the row"
            f" at its owner, or name other columns with `key:` of {self.name}",
            reason="no key",
            field=column,
        )
        return RejectedRecord(
            self.name, self.unkeyed(list(oids), row), version, occurred_at, raw_json(oids, row), error
        )

    def make(
        self,
        layout: RowLayout,
        oids: Oids,
        row: TextRow,
        id: bytes,
        version: int,
        occurred_at: int,
        items: Mapping[str, Sequence[bytes]] | None = None,
    ) -> Change | RejectedRecord:
        """A row (with its list fields' encoded items) as a change, or as a reject that says why not."""
        try:
            if items is None:
                return Change(self.name, id, version, occurred_at, layout.record(row))
            fields = layout.encode(row)
        except PermanentError as error:
            self._blame(error, layout, oids, row, id)
            return RejectedRecord(self.name, id, version, occurred_at, raw_json(oids, row), error)
        fields = self._with_items(layout, fields, items)
        return Change(self.name, id, version, occurred_at, b"".join(fields))

    def _blame(self, error: PermanentError, layout: RowLayout, oids: Oids, row: TextRow, id: bytes) -> None:
        """Says so where it is a column that has changed which holds the record back."""
        column = layout.column_of(error.field)
        if self.drift is None or column is None:
            return
        resource, value = self._tables()[layout.part].name, None
        if column in oids:
            value = row[list(oids).index(column)]
            if error.reason == "not canonical" and self.drift.differs(resource, column, type_name(oids[column])):
                error.reason = "drift"
        if error.reason == "drift":
            example = self.example(layout.part, column, value) if value is not None else id.decode(errors="replace")
            self.drift.held(self.name, resource, column, example, self.mapped(layout.part, oids))

    def _with_items(self, layout: RowLayout, fields: list[bytes], items: Mapping[str, Sequence[bytes]]) -> list[bytes]:
        own = dict(zip((step.field.name for step in layout.steps), fields, strict=True))
        out = []
        for field in self.source.schema.fields:
            if field.name in own:
                out.append(own[field.name])
                continue
            found = items.get(field.name, ())
            if field.type.nullable:
                out.append(SOME + encode_items(found) if found else NULL)
            else:
                out.append(encode_items(found))
        return out


def id_picker(places: Sequence[int]) -> Callable[[Sequence[object]], bytes | None]:
    """Makes a record's id of a row whose key columns are at `places`; None where these name no record."""
    names = [""] * len(places)
    key = picker(places)

    def slowly(row: Sequence[object]) -> bytes | None:
        values = key(row)
        return None if key_fault(values, names) else record_id(cast("Key", values))

    if len(places) != 1:
        return slowly
    (place,) = places

    def directly(row: Sequence[object]) -> bytes | None:
        value = row[place]
        if type(value) is bytes and 0 < len(value) < 1000 and value.isascii():
            return value
        return slowly(row)

    return directly


def oids_of_table(table: Table) -> Oids:
    """A table's columns with their types."""
    return {name: column.oid for name, column in table.columns.items()}


def open_captures(connection: Connection, sources: Sequence[BoundSource]) -> list[Capture]:
    """Looks every table up. MapError names all that are missing or have no key."""
    captures, problems, missing = [], [], []
    for source in sources:
        options = source.options
        assert isinstance(options, PostgresSource)
        table = read_table(connection, options.table)
        if table is None:
            problems.append(f"data type {source.name}: there is no table {qualified(options.table)}; fix `table:`")
            missing.append((source.name, qualified(options.table)))
            continue
        children = []
        for name, child in options.children.items():
            found = read_table(connection, child.table)
            field = source.schema.by_name.get(name)
            if found is None or field is None:
                what = f"no table {qualified(child.table)}" if found is None else f"no list field {name} in its schema"
                problems.append(f"data type {source.name}: there is {what}; fix `children:`")
                continue
            children.append(ChildTable(field, child, found))
        key = options.key or table.key
        if not key or any(name not in table.columns for name in key):
            problems.append(f"data type {source.name}: {table.name} has no such key {list(key)}; name it with `key:`")
            continue
        capture = Capture(source, table, children)
        capture.shared_key = not_unique(connection, table, capture.key)
        captures.append(capture)
    if problems:
        raise MissingTables(problems, missing)
    return captures


class MissingTables(MapError):
    """The map names tables or keys that the database doesn't have."""

    def __init__(self, problems: Sequence[str], missing: Sequence[tuple[str, str]] = ()) -> None:
        """`missing`: data types whose table isn't there, with its name."""
        super().__init__(())
        self.missing = tuple(missing)
        self.args = ("\n".join(problems),)
