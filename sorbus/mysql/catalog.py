"""Tables and columns from information_schema, with the canonical type of each column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sorbus.abilities import CatalogField, Resource
from sorbus.mysql.connection import Row, Session, quoted
from sorbus.schema import Kind

KINDS: Mapping[str, Kind] = {
    "tinyint": "int", "smallint": "int", "mediumint": "int", "int": "int", "bigint": "long", "decimal": "decimal",
    "float": "double", "double": "double", "date": "date", "datetime": "timestamp", "timestamp": "timestamp",
    "time": "string", "year": "int", "char": "string", "varchar": "string", "tinytext": "string", "text": "string",
    "mediumtext": "string", "longtext": "string", "enum": "string", "set": "string", "json": "string", "bit": "long",
    "binary": "bytes", "varbinary": "bytes", "tinyblob": "bytes", "blob": "bytes", "mediumblob": "bytes",
    "longblob": "bytes", "uuid": "string", "inet4": "string", "inet6": "string",
}  # fmt: skip
"""Canonical types by data type; others (geometry, vector) can't be read."""
_COLUMNS = """
select column_name, data_type, column_type, coalesce(character_set_name, ''), coalesce(collation_name, ''), is_nullable,
       column_default, extra, coalesce(generation_expression, ''), coalesce(character_maximum_length, 0),
       coalesce(character_octet_length, 0), coalesce(numeric_precision, 0), coalesce(numeric_scale, 0),
       coalesce(datetime_precision, 0)
from information_schema.columns where table_schema = %s and table_name = %s and binary table_schema = %s
  and binary table_name = %s order by ordinal_position
"""
_KEYS = """
select index_name, column_name, non_unique, sub_part, nullable from information_schema.statistics
where table_schema = %s and table_name = %s and binary table_schema = %s and binary table_name = %s
order by index_name, seq_in_index
"""
_TABLE = """
select table_schema, table_name, table_type, coalesce(engine, ''), table_rows from information_schema.tables
where table_schema = %s and (table_name = %s or table_name = lower(%s))
order by binary table_schema <> %s, binary table_name <> %s limit 1
"""


_LETTER = re.compile(r"''|\\(.)", re.DOTALL)
"""How the server writes a quote in a label, and control letters and backslashes."""
_ESCAPED = {"0": "\0", "n": "\n", "r": "\r"}


def _letter(found: re.Match[str]) -> str:
    return _ESCAPED.get(found.group(1), found.group(1)) if found.group(1) else "'"


@dataclass(frozen=True, slots=True)
class MysqlColumn:
    """A column. `type` is its data type in lower case, `native` as the table declares it; `characters` and `octets` the
    most that it holds, `digits` and `scale` a number's, `fraction` the decimal places of seconds.
    """

    name: str
    type: str
    native: str
    charset: str
    collation: str
    nullable: bool
    default: str | None
    extra: str
    expression: str
    characters: int
    octets: int
    digits: int
    scale: int
    fraction: int

    @property
    def kind(self) -> Kind:
        """The canonical type of its values."""
        if self.native.startswith("tinyint(1)") or self.native == "bit(1)":
            return "boolean"
        if self.type == "int" and self.is_unsigned:
            return "long"
        if self.type == "bigint" and self.is_unsigned:
            return "decimal"
        return KINDS.get(self.type, "string")

    @property
    def is_unsigned(self) -> bool:
        return "unsigned" in self.native

    @property
    def is_generated(self) -> bool:
        return bool(self.expression) or "GENERATED" in self.extra.upper().replace("DEFAULT_GENERATED", "")

    @property
    def is_virtual(self) -> bool:
        """Computed when it is read, and not stored."""
        return self.is_generated and "VIRTUAL" in self.extra.upper()

    @property
    def required(self) -> bool:
        """Whether a row can't be inserted without a value for it."""
        has_own = "auto_increment" in self.extra.lower() or self.is_generated
        return not self.nullable and self.default is None and not has_own

    @property
    def labels(self) -> list[str]:
        """What an enum or a set may hold."""
        if self.type not in ("enum", "set"):
            return []
        return [_LETTER.sub(_letter, text) for text in re.findall(r"'((?:[^']|'')*)'", self.native)]

    @property
    def makes_value(self) -> bool:
        """Whether the server gives it a value of its own in place of null."""
        return "auto_increment" in self.extra.lower() or (self.type == "timestamp" and not self.nullable)

    @property
    def places(self) -> int | None:
        """Decimal places that a float is rounded to, of float(8,2) and the like."""
        return self.scale if self.type in ("float", "double") and "," in self.native else None

    @property
    def signature(self) -> str:
        """What its values are stored as: another text means that rows may have been rewritten."""
        return f"{self.native}/{self.charset}/{self.expression}"


@dataclass(frozen=True, slots=True)
class MysqlTable:
    """A table with its columns in order. `key`: the primary key; `uniques`: other keys of columns never null."""

    database: str
    name: str
    columns: Mapping[str, MysqlColumn]
    key: tuple[str, ...] = ()
    uniques: tuple[tuple[str, ...], ...] = ()
    engine: str = "InnoDB"
    is_view: bool = False
    rows: int | None = None
    all_uniques: tuple[tuple[str, ...], ...] = field(default=())
    """Every unique key besides the primary one, also of columns that may be null."""

    @property
    def sql(self) -> str:
        return quoted(self.database, self.name)

    @property
    def full_name(self) -> str:
        return f"{self.database}.{self.name}"


def split_name(name: str, database: str) -> tuple[str, str]:
    """Database and table of DATABASE.TABLE, or of TABLE in `database`."""
    before, dot, after = name.partition(".")
    return (before, after) if dot else (database, name)


def read_mysql_table(session: Session, name: str, database: str) -> MysqlTable | None:
    """The table called DATABASE.TABLE or TABLE; None if there is none. pymysql.Error."""
    schema, table = split_name(name, database)
    found = session.query(_TABLE, [schema, table, table, schema, table])
    return _table(session, found[0]) if found else None


def _table(session: Session, row: Row) -> MysqlTable:
    schema, name, kind, engine, rows = row
    names = [schema, name, schema, name]  # on some servers, names that differ by case alone are equal only here
    columns = {str(values[0]): _column(values) for values in session.query(_COLUMNS, names)}
    keys: dict[str, list[str]] = {}
    partial: set[str] = set()
    nullable: set[str] = set()
    for index, column, non_unique, part, null in session.query(_KEYS, names):
        if str(non_unique) == "1" or (column in columns and columns[str(column)].expression == "ROW END"):
            continue  # rows of the past share a key otherwise
        keys.setdefault(str(index), []).append(str(column))
        if part is not None or column is None:
            partial.add(str(index))
        if str(null) == "YES":
            nullable.add(str(index))
    whole = {index: tuple(found) for index, found in keys.items() if index not in partial}
    others = {index: found for index, found in whole.items() if index != "PRIMARY"}
    return MysqlTable(
        str(schema),
        str(name),
        columns,
        whole.get("PRIMARY", ()),
        tuple(found for index, found in others.items() if index not in nullable),
        str(engine),
        "VIEW" in str(kind),
        None if rows is None else int(str(rows)),
        tuple(tuple(found) for index, found in keys.items() if index != "PRIMARY"),
    )


def _column(values: Row) -> MysqlColumn:
    name, type, native, charset, collation, nullable, default, extra, expression, *sizes = values
    characters, octets, digits, scale, fraction = (int(str(size)) for size in sizes)
    return MysqlColumn(
        str(name), str(type), str(native), str(charset), str(collation), str(nullable) == "YES",
        None if default is None else str(default), str(extra), str(expression),
        characters, octets, digits, scale, fraction,
    )  # fmt: skip


def read_mysql_resources(session: Session, database: str) -> list[Resource]:
    """Every table of a database with its columns, for `sorbus discover`. pymysql.Error."""
    parents: dict[str, dict[str, tuple[str, list[str]]]] = {}
    rows = session.query(
        "select table_name, constraint_name, referenced_table_name, column_name"
        " from information_schema.key_column_usage"
        " where table_schema = %s and referenced_table_name is not null order by constraint_name, ordinal_position",
        [database],
    )
    for table, constraint, parent, column in rows:
        found = parents.setdefault(str(table), {}).setdefault(str(constraint), (str(parent), []))
        found[1].append(str(column))
    names = session.query(
        "select table_schema, table_name, table_type, coalesce(engine, ''), table_rows from information_schema.tables"
        " where table_schema = %s and table_type in ('BASE TABLE', 'SYSTEM VERSIONED', 'VIEW') order by table_name",
        [database],
    )
    return [_resource(_table(session, row), parents.get(str(row[1]), {}).values()) for row in names]


def _resource(table: MysqlTable, parents: Iterable[tuple[str, list[str]]]) -> Resource:
    fields = tuple(
        CatalogField(one.name, one.kind, one.native, one.required, read_only=one.is_generated)
        for one in table.columns.values()
    )
    refers = tuple((parent, tuple(columns)) for parent, columns in parents)
    return Resource(table.name, fields, table.key, table.rows, refers)
