"""Which tables change captured rows without the log saying so: foreign keys that cascade, views, functions, triggers.

InnoDB carries cascades out below the log: a parent's row goes, and the children's rows with it or their columns to
null, and only the parent's change is logged. Such a change of a parent is the sign to read the children's data types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sorbus.mysql.connection import Session
from sorbus.mysql.declaration import TableName, read_declaration
from sorbus.producers.mysql.binary_values import UNREAD
from sorbus.producers.mysql.server import sees_triggers

_INDIRECT = (
    "select table_schema, table_name from information_schema.views"
    " where table_schema not in ('sys', 'mysql', 'information_schema', 'performance_schema')",
    "select routine_schema, routine_name from information_schema.routines"
    " where routine_type = 'FUNCTION' and routine_schema not in ('sys', 'mysql')",
)


class Cascade(NamedTuple):
    """What a parent's change does to a child table that isn't logged."""

    parent: TableName
    child: TableName
    on_delete: bool
    on_update: bool
    columns: tuple[str, ...]
    referenced: tuple[str, ...]

    def is_set_off(self, before: Mapping[str, object] | None, after: Mapping[str, object] | None) -> bool:
        """Whether a change of a parent's row reaches children. `after`: the whole row."""
        if before is None:
            return False
        if after is None:
            return self.on_delete
        changed = any(
            name not in before or after[name] is UNREAD or after[name] != before[name] for name in self.referenced
        )
        return self.on_update and changed


class Dependents(NamedTuple):
    """`row_ends`: of tables that keep their rows' history, the column that says until when a row was valid."""

    cascades: tuple[Cascade, ...] = ()
    row_ends: Mapping[TableName, str] = {}


class Writers(NamedTuple):
    """What a statement may write through. `indirect`: views and functions; `triggers`: a table and a trigger's text,
    None where our user can't see them.
    """

    indirect: tuple[TableName, ...] = ()
    triggers: tuple[tuple[TableName, str], ...] | None = ()


def read_dependents(session: Session, tables: Iterable[TableName]) -> Dependents:
    """The foreign keys that act on these tables' rows by themselves, whatever tables are between. pymysql.Error."""
    cascades, row_ends = list[Cascade](), dict[TableName, str]()
    left, seen = list(tables), set[TableName]()
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        if (declared := read_declaration(session, name)) is None:
            continue
        if declared.row_end is not None:
            row_ends[name] = declared.row_end
        for key in declared.foreign_keys:
            if key.on_delete or key.on_update:
                cascades.append(Cascade(key.parent, name, key.on_delete, key.on_update, key.columns, key.referenced))
                left.append(key.parent)
    return Dependents(tuple(cascades), row_ends)


def ends_of(cascades: Iterable[Cascade], start: TableName) -> set[TableName]:
    """Every table that a cascade which begins at `start` can reach."""
    every, reached = list(cascades), {start}
    while more := {one.child for one in every if one.parent in reached} - reached:
        reached |= more
    return reached - {start}


def read_writers(session: Session, databases: Iterable[str]) -> Writers:
    """What a statement that isn't logged as rows may write through. `databases`: of captured tables. pymysql.Error."""
    indirect = tuple((str(schema), str(name)) for query in _INDIRECT for schema, name in session.query(query))
    if not sees_triggers(session, databases):
        return Writers(indirect, None)
    rows = session.query(
        "select event_object_schema, event_object_table, action_statement from information_schema.triggers"
    )
    return Writers(indirect, tuple(((str(schema), str(table)), str(text)) for schema, table, text in rows))
