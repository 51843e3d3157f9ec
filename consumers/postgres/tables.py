"""The target's tables: those that Sorbus makes, their difference to what is there, and what it writes beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg import sql

from sorbus.connector import BoundFlow, Step
from sorbus.consumers.postgres.options import PostgresTarget
from sorbus.mapping.assign import Assignment, Parts, assign_target
from sorbus.postgres.catalog import Table, qualified, read_table
from sorbus.postgres.connection import Connection, PostgresConnection, connect, postgres_errors
from sorbus.postgres.statement import statement_step
from sorbus.schema import FieldType, Kind, SchemaField

VERSION_COLUMN = "sorbus_version"
APPLIED = "sorbus_applied"
"""Per target table and record: the version last applied, where the row itself can't say it (deleted, or not ours)."""
_APPLIED_COLUMNS = sql.SQL(
    "(relation text not null, id text not null, version bigint not null, primary key (relation, id))"
)

_TYPES: Mapping[Kind, str] = {
    "string": "text", "enum": "text", "uuid": "uuid", "int": "integer", "long": "bigint", "float": "double precision",
    "double": "double precision", "boolean": "boolean", "bytes": "bytea", "timestamp": "timestamptz", "date": "date",
    "time": "time", "map": "jsonb", "record": "jsonb", "decimal": "numeric",
}  # fmt: skip


def target_parts(flow: BoundFlow) -> Parts:
    """Which canonical field fills which column, for the record's table ("") and each list field's."""
    options = flow.options
    assert isinstance(options, PostgresTarget)
    resources = {"": options.table, **{name: child.table for name, child in options.children.items()}}
    return assign_target(flow.mapping, flow.system.name, flow.flow.data_type, flow.schema, resources, flow.lookups)


def table_names(options: PostgresTarget) -> dict[str, str]:
    """The record's table ("") and each list field's, as the map names them."""
    return {"": options.table, **{name: child.table for name, child in options.children.items()}}


def column_native(kind: FieldType) -> str:
    """The column type that holds a canonical type exactly."""
    if kind.kind == "decimal":
        return f"numeric({kind.precision},{kind.scale})"
    if kind.kind == "array":
        inner = kind.item
        is_plain = inner is not None and inner.kind not in ("record", "map", "array")
        return f"{column_native(inner)}[]" if is_plain and inner is not None else "jsonb"
    return _TYPES[kind.kind]


def _wanted(assignment: Assignment, fields: Mapping[str, SchemaField]) -> tuple[str, bool]:
    """A made column's type, and whether it is never null."""
    if assignment.rule is not None:
        return (_TYPES.get(assignment.rule.result or "string", "text"), False)
    field = fields.get(assignment.source or "")
    if field is None:
        return "text", False
    return column_native(field.type), not field.type.nullable


class TargetTable:
    """One table of a flow: what it should look like when Sorbus makes it."""

    def __init__(self, name: str, columns: Sequence[tuple[str, str, bool]], key: Sequence[str]) -> None:
        self.name, self.columns, self.key = qualified(name), tuple(columns), tuple(key)

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(*self.name.split("."))

    def create(self) -> sql.Composed:
        """The statement that makes it."""
        parts: list[sql.Composable] = [
            sql.SQL("{} {}{}").format(sql.Identifier(name), sql.SQL(native), sql.SQL(" not null" if never_null else ""))
            for name, native, never_null in self.columns
        ]
        parts.append(sql.SQL("primary key ({})").format(sql.SQL(", ").join(map(sql.Identifier, self.key))))
        return sql.SQL("create table {} (\n  {}\n)").format(self.identifier, sql.SQL(",\n  ").join(parts))

    def add(self, name: str, native: str) -> sql.Composed:
        """The statement that adds a column (nullable: there are rows already)."""
        return sql.SQL("alter table {} add column {} {}").format(self.identifier, sql.Identifier(name), sql.SQL(native))


def made_tables(flow: BoundFlow) -> list[TargetTable]:
    """The tables Sorbus makes for a flow; none for an existing target."""
    options = flow.options
    assert isinstance(options, PostgresTarget)
    if options.existing:
        return []
    parts = target_parts(flow)
    fields = flow.schema.by_name
    columns = [(options.key, "text", True)]
    columns += [(a.into, *_wanted(a, fields)) for a in parts[""] if a.into != options.key]
    if flow.flow.deletes == "soft":
        columns.append((options.deleted_column, "timestamptz", False))
    columns.append((VERSION_COLUMN, "bigint", True))
    tables = [TargetTable(options.table, columns, [options.key])]
    for name, child in options.children.items():
        item = fields[name].type.item
        assert item is not None
        inner = {field.name: field for field in item.fields}
        position = child.position
        assert position is not None
        columns = [(child.parent, "text", True), (position, "integer", True)]
        columns += [(a.into, *_wanted(a, inner)) for a in parts[name] if a.into not in (child.parent, position)]
        tables.append(TargetTable(child.table, [c for c in columns if c[0] != "id"], [child.parent, position]))
    return tables


def find_applied(session: Connection, table: str) -> sql.Identifier | None:
    """The side table of a target table: as our role's search path shows it, in public, or in the table's schema."""
    row = session.execute(
        "select n.nspname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where c.relname = %s and c.relkind in ('r', 'p') and not pg_is_other_temp_schema(n.oid)"
        " and (pg_table_is_visible(c.oid) or n.nspname in ('public', %s))"
        " order by pg_table_is_visible(c.oid) desc, n.nspname <> 'public' limit 1",
        (APPLIED, _schema(table)),
    ).fetchone()
    return None if row is None else sql.Identifier(str(row[0]), APPLIED)


def applied_statement(session: Connection, table: str) -> sql.Composed:
    """The statement that makes the side table: in public where our role may, else in the target table's schema."""
    row = session.execute("select has_schema_privilege(to_regnamespace('public'), 'create')").fetchone()
    schema = "public" if row and row[0] else _schema(table)
    return sql.SQL("create table if not exists {} {}").format(sql.Identifier(schema, APPLIED), _APPLIED_COLUMNS)


def stand_in_applied(session: Connection) -> sql.Identifier:
    """A temporary table in place of the side table, so that statements can be explained before `sorbus apply`."""
    stand_in = sql.Identifier("pg_temp", APPLIED)
    session.execute(sql.SQL("create temporary table {} {}").format(stand_in, _APPLIED_COLUMNS))
    return stand_in


def _schema(table: str) -> str:
    return qualified(table).partition(".")[0]


def plan_target(flow: BoundFlow) -> list[Step]:
    """What has to change in the target database before the flow's consumer can run."""
    assert isinstance(flow.system.connection, PostgresConnection)
    connection, where = flow.system.connection, flow.system.name
    steps: list[Step] = []
    with connect(connection, "plan", autocommit=True) as session, postgres_errors(f"planning {flow.flow.id}"):
        for table in made_tables(flow):
            found = read_table(session, table.name)
            if found is None:
                steps.append(statement_step(connection, where, f"table {table.name}", table.create(), session))
                continue
            for name, native, _ in table.columns:
                if name not in found.columns:
                    what = f"column {table.name}.{name}"
                    steps.append(statement_step(connection, where, what, table.add(name, native), session))
                elif found.columns[name].native != _native(session, native):
                    have = found.columns[name].native
                    steps.append(
                        Step(where, f"column {table.name}.{name} is {have}, not {native}", "fix the sheet or the table")
                    )
        options = flow.options
        assert isinstance(options, PostgresTarget)
        if options.existing and read_table(session, options.table) is None:
            steps.append(Step(where, f"table {qualified(options.table)} is not there", "the map calls it existing"))
        if find_applied(session, options.table) is None:
            statement = applied_statement(session, options.table)
            steps.append(statement_step(connection, where, f"table {APPLIED}", statement, session))
    return steps


def _native(session: Connection, native: str) -> str:
    """A type's name as the catalog writes it: timestamptz is `timestamp with time zone`."""
    described = session.execute(sql.SQL("select null::{} where false").format(sql.SQL(native))).pgresult
    assert described is not None
    named = session.execute("select format_type(%s, %s)", (described.ftype(0), described.fmod(0))).fetchone()
    return native if named is None else str(named[0])


def without_absent_id(table: Table, parts: Sequence[Assignment]) -> tuple[Assignment, ...]:
    """What fills a table's columns; the record's id among same-named fields only where there is a column of that name.

    Its key column has it already.
    """
    return tuple(one for one in parts if one.row is not None or one.into != "id" or "id" in table.columns)


def check_columns(table: Table, parts: Sequence[Assignment]) -> list[str]:
    """The columns that the sheet fills and the table doesn't have."""
    return [item.into for item in parts if item.into not in table.columns]
