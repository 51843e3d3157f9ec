"""What a delivered delete leaves of a record in PostgreSQL: the personal columns of rows that stay are blanked.

So are those of a shadow that an unfinished replay has left; where deletes are hard its row goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import psycopg
from psycopg import sql

from sorbus.abilities import Erased
from sorbus.consumers.postgres.open_target import OpenTarget
from sorbus.consumers.postgres.shadow import shadow_names
from sorbus.mapping.assign import Assignment
from sorbus.postgres.catalog import Column, Table, read_table
from sorbus.postgres.connection import Connection, target_errors
from sorbus.privacy.mask import personal_names
from sorbus.schema import RecordSchema


class Kept(NamedTuple):
    """One table that holds rows of the record: by which column, and which of its columns are personal."""

    table: Table
    by: str
    personal: tuple[str, ...]
    is_shadow: bool = False


def erase_record(target: OpenTarget, id: str, *, dry_run: bool) -> Erased:
    """Blanks what soft or ignored deletes leave of the record's personal columns. TransientError, AuthError."""
    options, schema = target.options, target.flow.schema
    tables = [_kept(target.tables[""], options.key, target.parts[""], "", schema)]
    for name, child in options.children.items():
        tables.append(_kept(target.tables[name], child.parent, target.parts.get(name, ()), name, schema))
    with target_errors(f"erasing in {target.flow.system.name}"):
        try:
            with target.session.transaction(force_rollback=dry_run):
                if target.writing.guard.owners.others([id]):
                    return Erased(0)
                for each, name in zip(list(tables), shadow_names(options).values(), strict=True):
                    if (shadow := read_table(target.session, name)) is not None:
                        tables.append(each._replace(table=shadow, is_shadow=True))
                return _erase_rows(target.session, id, tables, stays=target.flow.flow.deletes != "hard")
        except psycopg.DataError:  # an id that the key can't hold
            return Erased(0)


def _kept(table: Table, by: str, assignments: Iterable[Assignment], part: str, schema: RecordSchema) -> Kept:
    """The personal columns of a part's table: filled from a personal field, or by a rule that reads one."""
    personal = personal_names(schema.fields)
    columns = []
    for one in assignments:
        used = {one.source, *(one.rule.uses if one.rule else ())}
        if (used & personal or part in personal) and one.into in table.columns and one.into != by:
            columns.append(one.into)
    return Kept(table, by, tuple(dict.fromkeys(columns)))


def _erase_rows(session: Connection, id: str, tables: Sequence[Kept], *, stays: bool) -> Erased:
    """Blanks the personal columns of the record's rows: null, or empty text where null isn't allowed.

    `stays`: the flow leaves rows of deleted records; otherwise a row that is there is what is left to do.
    """
    rows, left = 0, []
    for each in tables:
        here = _where(each, id)
        if not stays and each.is_shadow:
            rows += session.execute(sql.SQL("delete from {} t where {}").format(*here)).rowcount
            continue
        if not stays:
            found = session.execute(sql.SQL("select count(*) from {} t where {}").format(*here)).fetchone()
            if found and found[0]:
                left.append(f"{each.table.name} still has its row: see who writes there, and delete it")
            continue
        blanks = [(name, blank) for name in each.personal if (blank := _blank(each.table.columns[name])) is not None]
        if stuck := [name for name in each.personal if _blank(each.table.columns[name]) is None]:
            asked = sql.SQL("select count(*) from {} t where {}").format(*here)
            if (count := session.execute(asked).fetchone()) and count[0]:
                left.append(f"{each.table.name}: {', '.join(stuck)} can't be null: overwrite it, or delete the row")
        if blanks:
            rows += session.execute(_update(*here, blanks)).rowcount
    return Erased(rows, "; ".join(left))


def _where(each: Kept, id: str) -> tuple[sql.Composable, sql.Composable]:
    kind = sql.SQL(each.table.columns[each.by].unbounded)
    return each.table.identifier, sql.SQL("{} = {}::text::{}").format(
        sql.Identifier("t", each.by), sql.Literal(id), kind
    )


def _update(table: sql.Composable, here: sql.Composable, blanks: Sequence[tuple[str, sql.Composable]]) -> sql.Composed:
    sets = [sql.SQL("{} = {}").format(sql.Identifier(name), blank) for name, blank in blanks]
    some = [sql.SQL("{} is distinct from {}").format(sql.Identifier("t", name), blank) for name, blank in blanks]
    return sql.SQL("update {} t set {} where {} and ({})").format(
        table, sql.SQL(", ").join(sets), here, sql.SQL(" or ").join(some)
    )


def _blank(column: Column) -> sql.Composable | None:
    """What takes a personal value's place; None where nothing can."""
    if not column.required:
        return sql.SQL("null::{}").format(sql.SQL(column.native))
    return sql.SQL("''::{}").format(sql.SQL(column.native)) if column.base in (25, 1042, 1043) else None
