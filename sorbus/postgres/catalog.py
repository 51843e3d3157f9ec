"""Tables and columns from PostgreSQL's catalog, with the canonical type of each column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files

from psycopg import sql

from sorbus.abilities import CatalogField, Resource
from sorbus.connector import BoundSystem
from sorbus.postgres.connection import Connection, PostgresConnection, connect, postgres_errors
from sorbus.schema import Kind

_SQL = files("sorbus.postgres")
_COLUMNS = (_SQL / "columns.sql").read_text()
_RELATIONS = (_SQL / "relations.sql").read_text()

KINDS: Mapping[int, Kind] = {
    16: "boolean", 17: "bytes", 20: "long", 21: "int", 23: "int", 25: "string", 114: "string", 700: "double",
    701: "double", 790: "decimal", 1042: "string", 1043: "string", 1082: "date", 1083: "time", 1114: "timestamp",
    1184: "timestamp", 1700: "decimal", 2950: "uuid", 3802: "string",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `key` is its position in the primary key from 1, 0 outside; `base` the type below its domains.

    `unbounded` is the type without length or precision: a cast to varchar(5) would silently truncate.
    `plain` is that of `base`. `element` is the type, below domains, of an array's elements (0: no array), and
    `delimiter` what separates them.
    """

    name: str
    oid: int
    native: str
    typtype: str
    category: str
    element: int
    key: int
    required: bool
    base: int
    unbounded: str
    nullable: bool = False
    delimiter: str = ","
    plain: str = ""

    @property
    def kind(self) -> Kind:
        """The canonical type of its values; text if there is no closer one."""
        if self.element:
            return "array"
        return KINDS.get(self.base, "string")


@dataclass(frozen=True, slots=True)
class Table:
    """A relation with its columns by name, in order; `is_plain`: neither partitioned, nor a view, nor foreign."""

    oid: int
    name: str
    columns: dict[str, Column]
    is_plain: bool = True

    @property
    def key(self) -> tuple[str, ...]:
        """The primary key's columns, in its order."""
        keys = sorted((column.key, column.name) for column in self.columns.values() if column.key)
        return tuple(name for _, name in keys)

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(*self.name.split("."))


def qualified(name: str) -> str:
    """`customers` as `public.customers`."""
    return name if "." in name else f"public.{name}"


def read_table(connection: Connection, name: str) -> Table | None:
    """The table SCHEMA.NAME (or NAME in public); None if it doesn't exist."""
    schema, _, table = qualified(name).partition(".")
    row = connection.execute(
        "select c.oid::bigint, c.relkind = 'r' from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname = %s and c.relname = %s",
        (schema, table),
    ).fetchone()
    if row is None:
        return None
    return replace(_table(connection, int(str(row[0])), qualified(name)), is_plain=bool(row[1]))


def discover_tables(system: BoundSystem) -> list[Resource]:
    """Every table of a system's database. TransientError, AuthError."""
    assert isinstance(system.connection, PostgresConnection)
    with connect(system.connection, "discover") as session, postgres_errors(f"looking into {system.name}"):
        return read_resources(session)


def read_resources(connection: Connection) -> list[Resource]:
    """Every table with its columns, for `sorbus discover`."""
    found = []
    for name, oid, rows, parents in connection.execute(_RELATIONS).fetchall():
        table = _table(connection, int(str(oid)), str(name))
        fields = tuple(
            CatalogField(c.name, c.kind, c.native, c.required, KINDS.get(c.element, "string") if c.element else None)
            for c in table.columns.values()
        )
        assert isinstance(parents, list)
        refers = tuple((str(parent), tuple(map(str, columns))) for parent, columns in parents)
        records = None if rows is None else int(str(rows))
        found.append(Resource(table.name, fields, table.key, records, refers))
    return found


def _table(connection: Connection, oid: int, name: str) -> Table:
    columns: dict[str, Column] = {}
    for row in connection.execute(_COLUMNS, (oid, oid)).fetchall():
        column = Column(*row)  # type: ignore[arg-type]
        columns[column.name] = column
    return Table(oid, name, columns)
