"""Whether a target's tables are declared as they were when a flow opened: what a column keeps was checked then."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg import sql

from sorbus.consumers.postgres.options import PostgresTarget
from sorbus.mapping.assign import Parts
from sorbus.postgres.catalog import Table
from sorbus.postgres.connection import Connection

_CHANGED = "sorbus.target_has_changed"
_TRIGGERS = sql.SQL(
    "exists (select from pg_trigger t where t.tgrelid = {}::oid and not t.tgisinternal and t.tgtype & 3 = 3"
    " and t.tgtype & 20 <> 0)"
)


def has_triggers(table: Table) -> sql.Composed:
    """The condition that a table has triggers which may change a row before it is written."""
    return _TRIGGERS.format(sql.Literal(table.oid))


def unchanged(
    options: PostgresTarget, parts: Parts, tables: Mapping[str, Table], session: Connection, more: sql.Composable
) -> bytes:
    """The statement that fails where the tables, the types of the columns that are filled, whether the record's table
    has triggers, or a text `more` are others by then.

    It is for the end of a transaction that has written: nobody else can alter the tables until then. psycopg.Error.
    """
    one = sql.SQL("attrelid = to_regclass({}) and attname = any({}::name[])")
    types = sql.SQL(
        "(select coalesce(string_agg(format('%s %s %s %s', attrelid, attname, atttypid, atttypmod), ','"
        " order by attrelid, attname), '') from pg_attribute where attnum > 0 and ({})) || {}::text || {}"
    ).format(
        sql.SQL(" or ").join(
            one.format(sql.Literal(table.identifier.as_string(session)), sql.Literal(_filled(options, part, parts)))
            for part, table in tables.items()
        ),
        has_triggers(tables[""]),
        more,
    )
    row = session.execute(sql.SQL("select {}").format(types)).fetchone()
    now = sql.Literal("" if row is None else row[0])
    # A setting that nobody has made is an error that names it.
    statement = sql.SQL("select case when {} = {} then '' else current_setting({}) end")
    return statement.format(types, now, sql.Literal(_CHANGED)).as_bytes(session)


def has_changed(error: psycopg.Error) -> bool:
    """Whether the statement of `unchanged` failed for what it looks at."""
    return error.sqlstate == "42704" and _CHANGED in (error.diag.message_primary or "")


def _filled(options: PostgresTarget, part: str, parts: Parts) -> list[str]:
    """The columns of a part's table that the flow fills."""
    child = options.children.get(part)
    own = {options.key} if child is None else {child.parent, child.position or child.parent}
    return sorted(own | {item.into for item in parts[part]})
