"""One data type of a captured database: its tables, its key, and how its rows become changes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

from sorbus.avro.encode import NULL, SOME, encode_long
from sorbus.connector import BoundSource, BoundSystem, Change, RejectedRecord
from sorbus.errors import Finding, MapError, PermanentError
from sorbus.mapping.assign import Assignment, assign_source
from sorbus.mysql.catalog import MysqlColumn, MysqlTable, read_mysql_table
from sorbus.mysql.connection import MysqlConnection, Session, quoted
from sorbus.mysql.text_values import READABLE
from sorbus.producers.mysql.options import MysqlItems, MysqlSource
from sorbus.producers.mysql.row_images import Image
from sorbus.producers.mysql.shape import MappedRows, raw_row
from sorbus.producers.mysql.statements import names_column
from sorbus.producers.mysql.table_keys import UNFIT, dead_id, require_key
from sorbus.producers.record_keys import record_id
from sorbus.schema import SchemaField

_UNLOGGED = {"uuid", "inet4", "inet6"}
"""Types that the log has in a form of their own."""
_ILLEGAL_MIX = {1267, 1270, 1271}
"""Collations that the server doesn't compare with each other."""
Items = Mapping[str, Sequence[Image]]
"""List field -> the rows of its items, in order."""


class ItemsTable(NamedTuple):
    """The table behind a list field."""

    field: SchemaField
    options: MysqlItems
    table: MysqlTable
    shape: MappedRows

    @property
    def order(self) -> tuple[str, ...]:
        """What sorts a record's items."""
        return tuple(self.options.order) or self.table.key or tuple(self.table.columns)

    @property
    def columns(self) -> list[str]:
        """The columns that are read."""
        return list(dict.fromkeys((*self.options.parent, *self.order, *self.shape.columns)))

    def joined_to(self, table: MysqlTable, key: Sequence[str]) -> str:
        """`lines c join orders t on ...`: its rows with those of the records."""
        pairs = zip(self.options.parent, key, strict=True)
        joined = " and ".join(f"c.{quoted(own)} = t.{quoted(name)}" for own, name in pairs)
        return f"{self.table.sql} c join {table.sql} t on {joined}"


class MysqlCapture:
    """Makes changes of one data type out of rows, whatever they were read from."""

    def __init__(
        self,
        source: BoundSource,
        table: MysqlTable,
        children: Mapping[str, MysqlTable],
        once: Mapping[str, Iterable[str]],
    ) -> None:
        options = source.options
        assert isinstance(options, MysqlSource)
        self.source, self.options, self.name, self.table = source, options, source.name, table
        self.key = tuple(options.key) or table.key
        self._parts = source_parts(source)
        lists = [name for name in options.children if name in children]
        own = [field for field in source.schema.fields if field.name not in lists]
        self.shape = MappedRows(own, self._parts.get("", ()), options, table.columns, once.get(table.full_name, ()))
        self.children = tuple(self._items(name, children[name], once) for name in lists)

    def _items(self, name: str, table: MysqlTable, once: Mapping[str, Iterable[str]]) -> ItemsTable:
        field = self.source.schema.by_name[name]
        assert field.type.item is not None
        shape = MappedRows(
            field.type.item.fields,
            self._parts.get(name, ()),
            self.options,
            table.columns,
            once.get(table.full_name, ()),
        )
        return ItemsTable(field, self.options.children[name], table, shape)

    @property
    def tables(self) -> list[MysqlTable]:
        """The record's table, then the list fields'."""
        return [self.table, *(child.table for child in self.children)]

    @property
    def columns(self) -> list[str]:
        """The record table's columns that are read, the key's first."""
        return list(dict.fromkeys((*self.key, *self.shape.columns)))

    def made_of(self) -> set[str]:
        """The columns that are read, of all tables, and those that generated ones among them are computed from."""
        found = set[str]()
        for table, columns in ((self.table, self.columns), *((child.table, child.columns) for child in self.children)):
            left = [name for name in columns if name in table.columns]
            while left:
                name = left.pop()
                found.add(name)
                text = table.columns[name].expression
                left += [other for other in table.columns if other not in found and names_column(text, other)]
        return found

    @property
    def is_read_by_key(self) -> bool:
        """Whether rows of the log don't suffice: lists, and columns that the log doesn't have as they are shown."""
        read = [self.table.columns[name] for name in self.shape.columns]
        return bool(self.children) or any(one.is_virtual or one.type in _UNLOGGED for one in read)

    @property
    def key_columns(self) -> list[MysqlColumn]:
        return [self.table.columns[name] for name in self.key]

    def signatures(self) -> dict[str, dict[str, str]]:
        """What to remember of its tables: another signature means that rows may have been rewritten unsaid."""
        read = [(self.table, self.columns), *((child.table, child.columns) for child in self.children)]
        return {
            table.full_name: {name: table.columns[name].signature for name in columns if name in table.columns}
            for table, columns in read
        }

    def meaning(self) -> str:
        """A digest of what the map makes of rows: when it is another one, what is published is out of date."""
        options = self.options.model_dump(mode="json")
        parts = {
            part: sorted((each.into, each.source, each.rule.text if each.rule else "") for each in found)
            for part, found in self._parts.items()
        }
        rules = json.dumps(parts)
        lookups = {name: dict(table) for name, table in self.source.lookups.items() if name in rules}
        told = json.dumps([options, self.key, parts, lookups, self.source.schema.encoding], sort_keys=True)
        return blake2b(told.encode(), digest_size=16).hexdigest()

    def id_of(self, row: Image) -> bytes:
        """PermanentError (reason `no key`)."""
        return require_key(self.table, self.key, [row.get(name) for name in self.key])

    def id_of_texts(self, key: Sequence[str]) -> bytes:
        """The id behind a key's texts."""
        return record_id([text.encode() for text in key])

    def made(self, row: Image, items: Items, version: int, occurred_at: int) -> Change | RejectedRecord:
        """A row with its list fields' rows as a change, or as a reject that says why not."""
        try:
            id = self.id_of(row)
        except PermanentError as error:
            return self._reject(dead_id(self.table, self.key, row), row, version, occurred_at, error)
        try:
            own = self.shape.encode(row)
            for child in self.children:
                own[child.field.name] = _list(child, items.get(child.field.name, ()))
        except PermanentError as error:
            return self._reject(id, row, version, occurred_at, error)
        data = b"".join([own[field.name] for field in self.source.schema.fields])
        return Change(self.name, id, version, occurred_at, data)

    def _reject(self, id: bytes, row: Image, version: int, occurred_at: int, error: PermanentError) -> RejectedRecord:
        return RejectedRecord(self.name, id, version, occurred_at, raw_row(row), error)


def _list(child: ItemsTable, rows: Sequence[Image]) -> bytes:
    """PermanentError names the item's field."""
    items = []
    for row in rows:
        try:
            items.append(b"".join(child.shape.encode(row).values()))
        except PermanentError as error:
            error.field = f"{child.field.name}[].{error.field}"
            raise
    block = encode_long(len(items)) + b"".join(items) + b"\0" if items else b"\0"
    if child.field.type.nullable:
        return SOME + block if items else NULL
    return block


def table_names(captures: Iterable[MysqlCapture]) -> set[tuple[str, str]]:
    """Database and table of each that is captured."""
    return {(table.database, table.name) for capture in captures for table in capture.tables}


def source_parts(source: BoundSource) -> dict[str, tuple[Assignment, ...]]:
    """Which column fills which canonical field, for the record ("") and each list field. MapError."""
    options = source.options
    assert isinstance(options, MysqlSource)
    owner = source.data_type.system_of_record
    assert isinstance(owner, str)
    resources = {"": options.table, **{name: child.table for name, child in options.children.items()}}
    return assign_source(source.mapping, owner, source.name, source.schema, resources, source.lookups)


def open_captures(
    session: Session,
    system: BoundSystem,
    sources: Sequence[BoundSource],
    known: Mapping[str, Mapping[str, Iterable[str]]] | None = None,
) -> list[MysqlCapture]:
    """The data types with their tables as they are now. MapError with every fault. `known`: columns of before."""
    captures, findings = [], list[Finding]()
    connection = system.connection
    assert isinstance(connection, MysqlConnection)
    for source in sources:
        options = source.options
        assert isinstance(options, MysqlSource)
        names = {"": options.table, **{name: child.table for name, child in options.children.items()}}
        found = {part: read_mysql_table(session, name, connection.database) for part, name in names.items()}
        missing = [names[part] for part, table in found.items() if table is None]
        tables = {part: table for part, table in found.items() if table is not None}
        line = system.document.line("data_types", source.name, "source")

        def find(what: str, fix: str, name: str = source.name, line: int = line) -> None:
            findings.append(Finding(system.document.file, line, f"{name}: {what}", fix, "table"))

        for name in missing:
            find(f"{system.name} has no table {name} that our user may read", "fix its name, or grant select on it")
        if missing:
            continue
        capture = MysqlCapture(
            source,
            tables[""],
            {part: table for part, table in tables.items() if part},
            (known or {}).get(source.name, {}),
        )
        faults = capture_faults(capture) or list(_join_faults(session, capture))
        for what, fix in faults:
            find(what, fix)
        if not faults:
            captures.append(capture)
    if findings:
        raise MapError(findings)
    return captures


def _join_faults(session: Session, capture: MysqlCapture) -> Iterator[tuple[str, str]]:
    """Lists whose parent column the server doesn't compare with the key. pymysql.Error."""
    from pymysql.err import OperationalError

    for child in capture.children:
        try:
            session.query(f"select 1 from {child.joined_to(capture.table, capture.key)} limit 0")  # noqa: S608 - quoted
        except OperationalError as error:
            if error.args[0] not in _ILLEGAL_MIX:
                raise
            parent, table = ", ".join(child.options.parent), child.table.full_name
            what = f"{parent} of {table} can't be compared with the key of {capture.table.full_name}: {error.args[1]}"
            yield what, "let its owner give both columns the same character set and collation"


def capture_faults(capture: MysqlCapture) -> list[tuple[str, str]]:
    """Why its tables can't be captured, each with its fix."""
    found = []
    for table in capture.tables:
        if table.is_view:
            found.append((f"{table.full_name} is a view, whose changes no log has", "name the table behind it"))
        elif table.engine.upper() not in ("INNODB", "ROCKSDB"):
            fix = f"run `ALTER TABLE {table.sql} ENGINE = InnoDB;`"
            found.append((f"{table.full_name} is kept by {table.engine}, which has no consistent snapshots", fix))
    table, key = capture.table, capture.key
    if not key:
        fix = f"let its owner add one, or name a unique key whose columns are never null with `key:` of {capture.name}"
        found.append((f"{table.full_name} has no primary key", fix))
    elif unknown := [name for name in key if name not in table.columns]:
        found.append((f"{table.full_name} has no column {', '.join(unknown)}", "fix `key:`"))
    elif key and not any(set(key) == set(unique) for unique in (table.key, *table.uniques)):
        fix = "name the columns of its primary key, or of a unique key whose columns are never null"
        found.append((f"{', '.join(key)} of {table.full_name} is no unique key of columns that are never null", fix))
    elif unfit := [name for name in key if table.columns[name].type in UNFIT or table.columns[name].is_virtual]:
        found.append(
            (f"the key column {', '.join(unfit)} of {table.full_name} can't be compared exactly", "name another key")
        )
    reads = [(table, capture.columns), *((child.table, child.columns) for child in capture.children)]
    for each, columns in reads:
        for name in columns:
            column = each.columns.get(name)
            if column is not None and column.type not in READABLE:
                fix = "take it out of the mapping sheet, or map a generated column that holds it as text"
                found.append((f"{each.full_name}.{name} is {column.native}, which can't be read", fix))
            if column is not None and "mariadb-5.3" in column.native:
                fix = f"run `ALTER TABLE {each.sql} FORCE;` with mysql56_temporal_format = ON"
                found.append((f"{each.full_name}.{name} is stored in a format of before MariaDB 10.1", fix))
    for child in capture.children:
        lacking = [name for name in (*child.options.parent, *child.options.order) if name not in child.table.columns]
        if lacking:
            found.append((f"{child.table.full_name} has no column {', '.join(lacking)}", "fix `parent:` or `order:`"))
        elif len(child.options.parent) != len(key):
            found.append(
                (
                    f"`parent:` of {child.field.name} has {len(child.options.parent)} columns, the key {len(key)}",
                    "name one for each",
                )
            )
    return found
