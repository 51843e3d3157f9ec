"""Where the owner's ids would be taken for ids that the target gives itself: another record's row would be written."""

from __future__ import annotations

from collections.abc import Mapping

from sorbus.connector import BoundFlow, Step
from sorbus.consumers.mysql.options import MysqlTarget
from sorbus.consumers.mysql.tables import APPLIED, applied_name, target_parts
from sorbus.mysql.catalog import MysqlTable, read_mysql_table
from sorbus.mysql.connection import Session, session_for
from sorbus.mysql.discovery import connection_of

_PARENTS = (
    "select referenced_column_name from information_schema.key_column_usage where table_schema = %s and table_name = %s"
    " and column_name = %s and referenced_table_schema = %s and referenced_table_name = %s"
)


def other_ids(session: Session, flow: BoundFlow, tables: Mapping[str, MysqlTable]) -> list[str]:
    """What would be taken for another, each with its fix, of an existing target. TransientError, AuthError.

    Rows count until the flow has delivered its first record: then a person has seen what it does.
    """
    options = flow.options
    assert isinstance(options, MysqlTarget)
    if not options.existing:
        return []
    root = tables[""]
    found = []
    for part, child in options.children.items():
        table = tables[part]
        refers = [table.database, table.name, child.parent, root.database, root.name]
        columns = [str(name) for (name,) in session.query(_PARENTS, refers)]
        if columns and options.key not in columns:
            found.append(
                f"{table.full_name}.{child.parent} refers to {root.full_name}.{columns[0]}, and gets the id in"
                f" {options.key}: items would be another record's; let its owner make it refer to {options.key}, or"
                f" leave {part} out of `children:`"
            )
    numbered = next((one.name for one in root.columns.values() if "auto_increment" in one.extra.lower()), None)
    if options.same_ids or flow.flow.direction != "one-way" or numbered is None:
        return found
    if numbered == options.key and _has_rows(session, root):
        found.append(
            f"{root.full_name} numbers its rows itself ({options.key}) and has rows already: the owner's record 5 would"
            " overwrite row 5, whatever that is; name a column that holds the owner's ids with `key:`"
            " (docs/postgres.md, An existing table with rows), or, if equal ids are the same record, write"
            " `same_ids: true` under target:"
        )
    elif _is_filled_for_its_name(flow, numbered) and _has_rows(session, root):
        found.append(
            f"{root.full_name} numbers its rows itself ({numbered}), and without rows of the mapping sheet each would"
            f" get its record's id as its number, too: {options.key} alone says which record it is; write in the"
            f" mapping sheet which fields go into which columns of {root.full_name}, or, if equal ids are the same"
            " record, `same_ids: true` under target:"
        )
    return found


def plan_other_ids(flow: BoundFlow) -> list[Step]:
    """The same as steps of `sorbus plan`; nothing while tables are missing. TransientError, AuthError."""
    connection, options = connection_of(flow.system), flow.options
    assert isinstance(options, MysqlTarget)
    with session_for(connection, "plan", f"planning {flow.flow.id}") as session:
        tables = {part: read_mysql_table(session, name, connection.database) for part, name in options.tables.items()}
        there = {part: table for part, table in tables.items() if table is not None}
        found = other_ids(session, flow, there) if len(there) == len(tables) else []
    parts = (words.partition("; ") for words in found)
    return [Step(flow.system.name, f"flow {flow.flow.id} can't deliver: {what}", fix) for what, _, fix in parts]


def _is_filled_for_its_name(flow: BoundFlow, column: str) -> bool:
    """Whether a column takes the record's id for its name alone."""
    return column == "id" and any(one.into == "id" and one.row is None for one in target_parts(flow)[""])


def _has_rows(session: Session, root: MysqlTable) -> bool:
    if session.value(f"select exists (select 1 from {root.sql})") != "1":  # noqa: S608 - quoted names
        return False
    if read_mysql_table(session, f"{root.database}.{APPLIED}", root.database) is None:
        return True
    delivered = f"select exists (select 1 from {applied_name(root)} where relation = %s)"  # noqa: S608 - quoted names
    return session.value(delivered, [root.full_name.encode()]) != "1"
