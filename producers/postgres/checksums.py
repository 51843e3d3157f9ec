"""Checksums of an owner's records, as the mapping makes them."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql

from sorbus.checksums import ComparedField, ComparedPart, HashFunction
from sorbus.connector import BoundSource, BoundSystem
from sorbus.mapping.assign import Assignment
from sorbus.postgres.canonical_text import id_text, owner_text
from sorbus.postgres.catalog import Column, Table
from sorbus.postgres.checksums import CheckedTable, PostgresChecksums, prepare
from sorbus.postgres.connection import Connection, PostgresConnection, postgres_errors
from sorbus.producers.postgres.capture import Capture, ChildTable, open_captures
from sorbus.producers.postgres.client_encoding import connect_reading
from sorbus.producers.postgres.fetch import parent_join
from sorbus.producers.postgres.layout import source_parts


def comparable(system: BoundSystem, source: BoundSource, parts: Mapping[str, ComparedPart]) -> dict[str, ComparedPart]:
    """Those parts and fields that SQL can bring to the form in which the target compares them."""
    session = _session(system, source)
    with session, postgres_errors(_doing(system, source)):
        [capture] = open_captures(session, [source])
    filled = source_parts(source)
    found = {}
    for part, compared in parts.items():
        table = _table(capture, part)
        if table is None:
            continue
        fields = [field for field in compared.fields if _text(capture, field, table, filled.get(part, ())) is not None]
        found[part] = compared._replace(fields=fields)
    return found


def open_checksums(
    system: BoundSystem, source: BoundSource, parts: Mapping[str, ComparedPart], hashing: HashFunction
) -> PostgresChecksums:
    """A reader of these parts of the owner. TransientError, AuthError, MapError."""
    session = _session(system, source)
    try:
        with postgres_errors(_doing(system, source)):
            [capture] = open_captures(session, [source])
            session.rollback()
        filled = source_parts(source)
        checked = {part: _checked(capture, part, found, filled.get(part, ())) for part, found in parts.items()}
    except BaseException:
        session.close()
        raise
    return PostgresChecksums(session, _doing(system, source), checked, hashing)


def _checked(capture: Capture, part: str, compared: ComparedPart, filled: tuple[Assignment, ...]) -> CheckedTable:
    table = _table(capture, part)
    assert table is not None
    texts = {field.name: _text(capture, field, table, filled) for field in compared.fields}
    values = [(name, text) for name, text in texts.items() if text is not None]
    key = [(capture.table.columns[name], sql.Identifier("t", name)) for name in capture.key]
    id, condition = _id(key), _has_id(key)
    if not part:
        rows: sql.Composable = sql.SQL("{} t").format(capture.table.identifier)
        return CheckedTable(rows, condition, id, key, values, None, [capture.table.oid])
    child = _child(capture, part)
    # A window over all items: a condition on the id may only pick rows once every item has its place.
    place = sql.SQL("row_number() over (partition by {} order by {})").format(
        sql.SQL(", ").join(value for _, value in key),
        sql.SQL(", ").join(sql.Identifier("c", name) for name in child.order),
    )
    rows = sql.SQL("{} t join {} c on {}").format(
        capture.table.identifier, child.table.identifier, parent_join(capture, child)
    )
    tables = [child.table.oid, capture.table.oid]
    return CheckedTable(rows, condition, id, key, values, place if compared.placed else None, tables)


def _text(
    capture: Capture, field: ComparedField, table: Table, filled: tuple[Assignment, ...]
) -> sql.Composable | None:
    """The owner's expression for a target's field; None where there is none that is known to be the same."""
    if field.form is None or field.type is None or field.assignment.rule is not None:
        return None
    by = next((item for item in filled if item.into == field.assignment.source), None)
    if by is not None and by.rule is not None:
        return None
    column = table.columns.get(by.source or "") if by is not None else None
    if column is not None:
        return owner_text(column, field.type, field.form, sql.Identifier("c" if field.part else "t", column.name))
    if by is not None and by.row is not None:
        return None  # the column is gone: the field isn't null for that, its records wait
    return _constant(capture, field)


def _constant(capture: Capture, field: ComparedField) -> sql.Composable | None:
    """What a field has that no column fills: its default, or null."""
    schema = capture.source.schema.by_name
    item = schema[field.part].type.item if field.part else None
    fields = {one.name: one for one in item.fields} if item is not None else schema
    found = fields[field.assignment.source or ""]
    if found.default is None:
        return sql.SQL("null::text") if found.type.nullable else None
    return sql.Literal(found.default) if isinstance(found.default, str) and field.form == "text" else None


def _id(key: list[tuple[Column, sql.Identifier]]) -> sql.Composable:
    """The id as `keys.record_id` writes it."""
    if len(key) == 1:
        return id_text(*key[0])
    escaped = (
        sql.SQL("replace(replace({}, '%', '%25'), '|', '%7C')").format(id_text(column, value)) for column, value in key
    )
    return sql.SQL("({})").format(sql.SQL(" || '|' || ").join(escaped))


def _has_id(key: list[tuple[Column, sql.Identifier]]) -> sql.Composable:
    """Rows whose key names no record are dead letters, not records."""
    there: list[sql.Composable] = [sql.SQL("{} is not null").format(value) for column, value in key if column.nullable]
    if len(key) == 1 and key[0][0].base in (25, 1042, 1043):
        there.append(sql.SQL("{}::text <> ''").format(key[0][1]))
    return sql.SQL(" and ").join(there) if there else sql.SQL("true")


def _table(capture: Capture, part: str) -> Table | None:
    if not part:
        return capture.table
    return next((child.table for child in capture.children if child.field.name == part), None)


def _child(capture: Capture, part: str) -> ChildTable:
    return next(child for child in capture.children if child.field.name == part)


def _session(system: BoundSystem, source: BoundSource) -> Connection:
    assert isinstance(system.connection, PostgresConnection)
    session, _ = connect_reading(system.connection, f"reconcile {source.name}")
    with postgres_errors(_doing(system, source)):
        session.execute("set client_encoding = 'UTF8'")
        prepare(session)
    return session


def _doing(system: BoundSystem, source: BoundSource) -> str:
    return f"comparing {source.name} in {system.name}"
