"""What the side table notes of a row whose record's id is written otherwise than its key: see `key_owners.py`."""

from __future__ import annotations

from psycopg import sql

TAKEN, FREE = 1, 0
"""As "version" of such a note: whether that record has the row."""


def of_key(relation: str, key: str) -> str:
    """What stands for a table's name in the notes about one key."""
    return f"{relation} key {key}"


def taken(applied: sql.Identifier, relation: str, key: sql.Composable) -> sql.Composed:
    """The condition that a record of another spelling has the row with this key (an expression of type text)."""
    return sql.SQL("exists (select from {} o where o.relation = {} || {} and o.version = {})").format(
        applied, sql.Literal(of_key(relation, "")), key, sql.Literal(TAKEN)
    )
