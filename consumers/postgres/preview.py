"""What delivering a record would write: written in a transaction that is rolled back, and compared with what was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from psycopg import sql
from pydantic import JsonValue

from sorbus.abilities import Preview
from sorbus.postgres.catalog import Table
from sorbus.postgres.connection import Connection

Row = dict[str, JsonValue]
Written = tuple[Row | None, dict[str, list[Row]]]


def preview_write(
    session: Connection,
    id: str,
    table: tuple[Table, str],
    children: Mapping[str, tuple[Table, str]],
    write: Callable[[], object],
    *,
    unshown: frozenset[str],
) -> Preview:
    """The row and its items (list field -> table and parent column) before and after `write`, which is undone.

    `unshown` columns change with every event, and don't count.
    """
    with session.transaction(force_rollback=True):
        before = _rows(session, id, table, children, unshown)
        write()
        after = _rows(session, id, table, children, unshown)
    if before == after:
        return Preview("nothing", "the table has this state of it already, or a newer one")
    (was, was_items), (row, items) = before, after
    changes = {name: [(was or {}).get(name), (row or {}).get(name)] for name in {**(was or {}), **(row or {})}}
    request: JsonValue = {
        "table": table[0].name,
        "row": row,
        "changes": cast("JsonValue", {name: both for name, both in changes.items() if both[0] != both[1]}),
        **{name: cast("JsonValue", found) for name, found in items.items() if found != was_items[name]},
    }
    if was is None:
        return Preview("create", "it has no row", request)
    return Preview("update", "it differs from its owner's", request) if row else Preview("delete", "gone", request)


def read_row(session: Connection, id: str, table: tuple[Table, str]) -> Row | None:
    """The record's row, if there is one."""
    found = _read(session, id, *table, frozenset())
    return found[0] if found else None


def _rows(
    session: Connection,
    id: str,
    table: tuple[Table, str],
    children: Mapping[str, tuple[Table, str]],
    unshown: frozenset[str],
) -> Written:
    found = _read(session, id, *table, unshown)
    items = {name: _read(session, id, *child, unshown) for name, child in children.items()}
    return (found[0] if found else None), items


def _read(session: Connection, id: str, table: Table, column: str, unshown: frozenset[str]) -> list[Row]:
    statement = sql.SQL("select to_jsonb(t) from {} t where {} = %s::text::{} order by to_jsonb(t)").format(
        table.identifier, sql.Identifier("t", column), sql.SQL(table.columns[column].unbounded)
    )
    rows = [cast("Row", row) for (row,) in session.execute(statement, (id,)).fetchall()]
    return [{name: value for name, value in row.items() if name not in unshown} for row in rows]
