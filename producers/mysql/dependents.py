"""Which tables change captured rows without the log saying so: foreign keys that cascade, and triggers.

InnoDB carries cascades out below the log: a parent's row goes, and the children's rows with it or their columns to
null, and only the parent's change is logged. Such a change of a parent is the sign to read the children's data types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sorbus.mysql.connection import Session

TableName = tuple[str, str]
_CASCADES = """
select r.constraint_schema, r.table_name, k.referenced_table_schema, k.referenced_table_name, r.update_rule,
       r.delete_rule, group_concat(k.column_name order by k.ordinal_position separator '\\n'),
       group_concat(k.referenced_column_name order by k.ordinal_position separator '\\n')
from information_schema.referential_constraints r
join information_schema.key_column_usage k
  on k.constraint_schema = r.constraint_schema and k.constraint_name = r.constraint_name and k.table_name = r.table_name
where k.referenced_table_name is not null
group by r.constraint_schema, r.table_name, r.constraint_name, k.referenced_table_schema, k.referenced_table_name,
         r.update_rule, r.delete_rule
"""
_ACTS = ("CASCADE", "SET NULL", "SET DEFAULT")


class Cascade(NamedTuple):
    """What a parent's change does to a child table that isn't logged."""

    parent: TableName
    child: TableName
    on_delete: bool
    on_update: bool
    columns: tuple[str, ...]
    referenced: tuple[str, ...]

    def is_set_off(self, before: Mapping[str, object] | None, after: Mapping[str, object] | None) -> bool:
        """Whether a change of a parent's row reaches children."""
        if before is None:
            return False
        if after is None:
            return self.on_delete
        changed = any(name not in before or (name in after and after[name] != before[name]) for name in self.referenced)
        return self.on_update and changed


def read_cascades(session: Session) -> list[Cascade]:
    """Every foreign key of the server that acts on its own. pymysql.Error."""
    found = []
    for schema, table, parent_schema, parent, on_update, on_delete, columns, referenced in session.query(_CASCADES):
        deletes, updates = str(on_delete) in _ACTS, str(on_update) in _ACTS
        if deletes or updates:
            names = tuple(str(columns).split("\n")), tuple(str(referenced).split("\n"))
            found.append(
                Cascade((str(parent_schema), str(parent)), (str(schema), str(table)), deletes, updates, *names)
            )
    return found


def ends_of(cascades: Iterable[Cascade], start: TableName) -> set[TableName]:
    """Every table that a cascade which begins at `start` can reach."""
    every, reached = list(cascades), {start}
    while more := {one.child for one in every if one.parent in reached} - reached:
        reached |= more
    return reached - {start}


def trigger_tables(session: Session) -> list[tuple[TableName, str]]:
    """Tables with triggers, and the triggers' texts: a statement that isn't logged as rows may write elsewhere.

    Those that our user may see. pymysql.Error.
    """
    rows = session.query(
        "select event_object_schema, event_object_table, action_statement from information_schema.triggers"
    )
    return [((str(schema), str(table)), str(text)) for schema, table, text in rows]
