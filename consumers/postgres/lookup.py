"""What a target has of a record: its row, as it is now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import psycopg
from psycopg import sql
from pydantic import JsonValue

from sorbus.consumers.postgres.open_target import OpenTarget
from sorbus.postgres.catalog import Table
from sorbus.postgres.connection import Connection, target_errors

Row = dict[str, JsonValue]


def look_up(target: OpenTarget, id: str) -> Mapping[str, JsonValue] | None:
    """The record's row, None if there is none. TransientError, AuthError."""
    with target_errors(f"looking into {target.flow.system.name}"):
        try:
            with target.session.transaction():
                if target.writing.guard.owners.others([id]):
                    return None
                found = read_rows(target.session, id, target.tables[""], target.options.key)
        except psycopg.DataError:  # an id that the key can't hold
            return None
    return found[0] if found else None


def read_rows(
    session: Connection, id: str, table: Table, column: str, *, unshown: frozenset[str] = frozenset()
) -> list[Row]:
    """The rows whose `column` names the record, without the `unshown` columns. psycopg.Error."""
    statement = sql.SQL("select to_jsonb(t) from {} t where {} = %s::text::{} order by to_jsonb(t)").format(
        table.identifier, sql.Identifier("t", column), sql.SQL(table.columns[column].unbounded)
    )
    rows = [cast("Row", row) for (row,) in session.execute(statement, (id,)).fetchall()]
    return [{name: value for name, value in row.items() if name not in unshown} for row in rows]
