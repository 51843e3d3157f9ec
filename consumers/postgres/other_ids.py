"""Where the owner's ids would be taken for ids that the target gives itself: another record's row would be written."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from psycopg import sql

from sorbus.connector import BoundFlow
from sorbus.consumers.postgres.options import PostgresTarget
from sorbus.consumers.postgres.tables import VERSION_COLUMN, target_parts
from sorbus.postgres.catalog import Table
from sorbus.postgres.connection import Connection

_HERE = files("sorbus.consumers.postgres")
_OWN_NUMBERS = (_HERE / "own_numbers.sql").read_text()
_PARENTS = (_HERE / "parents.sql").read_text()
_NUMBERS = (20, 21, 23, 1700)
"""The types whose values may be another system's numbers: integers and decimals."""


def other_ids(
    session: Connection, flow: BoundFlow, tables: Mapping[str, Table], applied: sql.Identifier
) -> list[tuple[str, str]]:
    """(What would be taken for another, its fix) for each table of an existing target. psycopg.Error.

    Rows count until the flow has delivered its first record: then a person has seen what it does.
    """
    options = flow.options
    assert isinstance(options, PostgresTarget)
    if not options.existing:
        return []
    root = tables[""]
    found = []
    for part, child in options.children.items():
        asked = {"table": tables[part].oid, "root": root.oid, "parent": child.parent}
        columns = [str(name) for (name,) in session.execute(_PARENTS, asked)]
        if columns and options.key not in columns:
            what = (
                f"{tables[part].name}.{child.parent} refers to {root.name}.{columns[0]}, and gets the id in"
                f" {options.key}: items would be another record's"
            )
            found.append((what, f"let its owner make it refer to {options.key}, or leave {part} out of `children:`"))
    if _takes_owners_ids(flow, options) and _has_rows_of_others(session, options.key, root, applied):
        what = (
            f"{root.name} numbers its rows itself ({options.key}) and has rows already: the owner's record 5 would"
            " overwrite row 5, whatever that is"
        )
        fix = (
            "name a column that holds the owner's ids with `key:` (docs/postgres.md, An existing table with rows), or,"
            " if equal ids are the same record, write `same_ids: true` under target:"
        )
        found.append((what, fix))
    if _fills_own_number(flow, options) and _has_rows_of_others(session, "id", root, applied):
        what = (
            f"{root.name} numbers its rows itself (id), and without rows of the mapping sheet each would get its"
            f" record's id as its number, too: {options.key} alone says which record it is"
        )
        fix = (
            f"write in the mapping sheet which fields go into which columns of {root.name}, or, if equal ids are the"
            " same record, `same_ids: true` under target:"
        )
        found.append((what, fix))
    return found


def _fills_own_number(flow: BoundFlow, options: PostgresTarget) -> bool:
    """Whether a column that isn't the key takes the record's id for its name alone."""
    if options.key == "id" or options.same_ids or flow.flow.direction != "one-way":
        return False
    return any(one.into == "id" and one.row is None for one in target_parts(flow)[""])


def _takes_owners_ids(flow: BoundFlow, options: PostgresTarget) -> bool:
    """Whether nobody has said yet that the target's ids are the owner's; two-way flows are joined by a person."""
    return options.creates and not options.same_ids and flow.flow.direction == "one-way"


def _has_rows_of_others(session: Connection, key: str, root: Table, applied: sql.Identifier) -> bool:
    if key not in root.columns or root.columns[key].base not in _NUMBERS:
        return False
    numbered = session.execute(_OWN_NUMBERS, {"table": root.oid, "key": key}).fetchone()
    if not numbered or not numbered[0]:
        return False
    delivered = sql.SQL("exists (select from {} where relation = {})").format(applied, sql.Literal(root.name))
    if VERSION_COLUMN in root.columns:  # then only deleted records are noted beside it
        ours = sql.SQL("exists (select from {} where {} is not null)").format(
            root.identifier, sql.Identifier(VERSION_COLUMN)
        )
        delivered = sql.SQL("({} or {})").format(delivered, ours)
    statement = sql.SQL("select exists (select from {}) and not {}").format(root.identifier, delivered)
    row = session.execute(statement).fetchone()
    return bool(row and row[0])
