"""The target's tables: those that Sorbus makes, their difference to what is there, and what it writes beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from sorbus.connector import BoundFlow, Step
from sorbus.consumers.mysql.keys import UNFIT_KEYS
from sorbus.consumers.mysql.options import MysqlTarget
from sorbus.mapping.assign import Assignment, Parts, assign_target
from sorbus.mysql.catalog import MysqlTable, read_mysql_table, split_name
from sorbus.mysql.connection import MysqlConnection, Session, quoted, session_for
from sorbus.mysql.discovery import connection_of
from sorbus.mysql.text_values import BINARY_TYPES, TEXT_TYPES
from sorbus.schema import FieldType, Kind, SchemaField

APPLIED = "sorbus_applied"
"""Per target table and record: the version last applied, also of deleted records."""
LONGEST_ID = 2500
"""Bytes of an id that fit into the key of the side table."""
_APPLIED = (
    "create table if not exists {} (relation varbinary(190) not null, id varbinary(2500) not null, "
    "version bigint not null, primary key (relation, id)) engine = InnoDB row_format = dynamic"
)
_TYPES: Mapping[Kind, str] = {
    "string": "longtext", "enum": "varchar(190)", "uuid": "char(36)", "int": "int", "long": "bigint", "float": "double",
    "double": "double", "boolean": "tinyint(1)", "bytes": "longblob", "timestamp": "datetime(6)", "date": "date",
    "time": "time(6)", "map": "json", "record": "json", "array": "json", "decimal": "decimal(65,20)",
}  # fmt: skip


class MadeTable(NamedTuple):
    """A table that Sorbus makes: (column, type, whether it is never null), and its primary key."""

    part: str
    name: str
    columns: Sequence[tuple[str, str, bool]]
    key: Sequence[str]

    def create(self, database: str) -> str:
        """The statement that makes it."""
        parts = [f"{quoted(name)} {native}{' not null' if never else ''}" for name, native, never in self.columns]
        parts.append(f"primary key ({', '.join(map(quoted, self.key))})")
        inner = ",\n  ".join(parts)
        return (
            f"create table {quoted(*split_name(self.name, database))} (\n  {inner}\n) engine = InnoDB"
            " default character set utf8mb4 row_format = dynamic"
        )


def target_parts(flow: BoundFlow) -> Parts:
    """Which canonical field fills which column, for the record's table ("") and each list field's. MapError."""
    options = flow.options
    assert isinstance(options, MysqlTarget)
    return assign_target(flow.mapping, flow.system.name, flow.flow.data_type, flow.schema, options.tables, flow.lookups)


def native_type(kind: FieldType) -> str:
    """The column type that holds a canonical type exactly."""
    if kind.kind == "decimal":
        return f"decimal({kind.precision},{kind.scale})"
    return _TYPES[kind.kind]


def _wanted(assignment: Assignment, fields: Mapping[str, SchemaField]) -> tuple[str, bool]:
    if assignment.rule is not None:
        return _TYPES.get(assignment.rule.result or "string", "longtext"), False
    field = fields.get(assignment.source or "")
    return ("longtext", False) if field is None else (native_type(field.type), not field.type.nullable)


def made_tables(flow: BoundFlow, *, is_mariadb: bool) -> list[MadeTable]:
    """The tables that Sorbus makes for a flow; none for an existing target."""
    options = flow.options
    assert isinstance(options, MysqlTarget)
    if options.existing:
        return []
    collation = "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"
    id_type = f"varchar(700) character set utf8mb4 collate {collation}"
    parts, fields = target_parts(flow), flow.schema.by_name
    columns = [(options.key, id_type, True)]
    columns += [(a.into, *_wanted(a, fields)) for a in parts[""] if a.into != options.key]
    if flow.flow.deletes == "soft":
        columns.append((options.deleted_column, "datetime(6)", False))
    tables = [MadeTable("", options.table, columns, [options.key])]
    for name, child in options.children.items():
        item = fields[name].type.item
        assert item is not None
        inner = {field.name: field for field in item.fields}
        position = child.position
        assert position is not None
        columns = [(child.parent, id_type, True), (position, "int", True)]
        columns += [(a.into, *_wanted(a, inner)) for a in parts[name] if a.into not in (child.parent, position, "id")]
        tables.append(MadeTable(name, child.table, columns, [child.parent, position]))
    return tables


def applied_name(table: MysqlTable) -> str:
    """The side table of a target table: in its database."""
    return quoted(table.database, APPLIED)


def plan_target(flow: BoundFlow) -> list[Step]:
    """What has to change in the target before the flow's consumer can run. MapError, TransientError, AuthError."""
    connection = connection_of(flow.system)
    with session_for(connection, "plan", f"planning {flow.flow.id}") as session:
        return [Step(flow.system.name, what, statement, partial(_execute, connection, what, statement) if do else None)
                for what, statement, do in _differences(session, flow, connection)]  # fmt: skip


def _differences(session: Session, flow: BoundFlow, connection: MysqlConnection) -> Iterator[tuple[str, str, bool]]:
    options = flow.options
    assert isinstance(options, MysqlTarget)
    for wanted in made_tables(flow, is_mariadb=session.is_mariadb):
        found = read_mysql_table(session, wanted.name, connection.database)
        if found is None:
            yield f"table {wanted.name}", wanted.create(connection.database), True
            continue
        for name, native, _ in wanted.columns:
            if name not in found.columns:
                yield (
                    f"column {wanted.name}.{name}",
                    f"alter table {found.sql} add column {quoted(name)} {native}",
                    True,
                )
    if options.existing:
        for name in options.tables.values():
            if read_mysql_table(session, name, connection.database) is None:
                yield f"table {name} is not there", "the map calls it existing", False
    database = split_name(options.table, connection.database)[0]
    if read_mysql_table(session, f"{database}.{APPLIED}", database) is None:
        yield f"table {APPLIED}", _APPLIED.format(quoted(database, APPLIED)), True


def _execute(connection: MysqlConnection, what: str, statement: str) -> None:
    with session_for(connection, "apply", f"making {what}") as session:
        session.execute(statement)


def obstacles(flow: BoundFlow, tables: Mapping[str, MysqlTable], parts: Parts) -> list[str]:
    """What keeps every record out of the tables, each with its fix."""
    options = flow.options
    assert isinstance(options, MysqlTarget)
    found = []
    root = tables[""]
    if options.key not in root.columns:
        return [f"{root.full_name} has no column {options.key}; fix `key:`"]
    if (options.key,) not in (root.key, *root.uniques):
        found.append(
            f"{root.full_name}.{options.key} is no unique key that is never null; let its owner make one, or fix `key:`"
        )
    if root.columns[options.key].type in UNFIT_KEYS:
        found.append(f"{root.full_name}.{options.key} can't be compared exactly; name another column with `key:`")
    for part, table in tables.items():
        if table.engine.upper() not in ("INNODB", "ROCKSDB"):
            found.append(
                f"{table.full_name} is kept by {table.engine or 'a view'}, without transactions; make it InnoDB"
            )
        child = options.children.get(part)
        filled = {one.into for one in parts.get(part, ())}
        filled |= {options.key} if child is None else {child.parent, child.position or child.parent}
        for name in sorted(filled):
            column = table.columns.get(name)
            if column is None:
                found.append(f"{table.full_name} has no column {name}; run `sorbus apply`, or fix the mapping sheet")
            elif column.is_generated:
                found.append(f"{table.full_name}.{name} is computed by the server; take it out of the mapping sheet")
        if child is not None and (column := table.columns.get(child.parent)) is not None:
            key = root.columns[options.key]
            if key.type in TEXT_TYPES and column.type not in TEXT_TYPES | BINARY_TYPES:
                found.append(
                    f"{table.full_name}.{child.parent} is {column.native}, and {root.full_name}.{options.key} text: it"
                    " would take one id for another (007 for 7); let its owner give both the same type"
                )
            if key.collation and column.collation and key.collation != column.collation:
                found.append(
                    f"{table.full_name}.{child.parent} compares by {column.collation}, and"
                    f" {root.full_name}.{options.key} by {key.collation}: one record's rows may be taken for another's;"
                    " let its owner give both the same collation"
                )
        empty = [one.name for one in table.columns.values() if one.required and one.name not in filled]
        if empty:
            found.append(
                f"{table.full_name}.{', '.join(empty)} must have a value, and the map gives none; add it to the mapping"
                " sheet, or let its owner give it a default"
            )
    return found
