"""The publication: which tables it streams, all of their changes, and whether it has done so all the while.

The server streams what the publication holds at the moment of each change and passes over the rest without a word, a
publication that is gone included. So what a table's membership was is part of the position.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.resources import files
from typing import NamedTuple

from psycopg import sql

from sorbus.errors import TransientError
from sorbus.postgres.catalog import Table
from sorbus.postgres.connection import Connection

_PUBLISHED = (files("sorbus.producers.postgres") / "published.sql").read_text()


class Published(NamedTuple):
    """A table in a publication. `membership` is another text when it has left and come back; `lacking` names the kinds
    of changes that are left out, "" when none are; `is_filtered`: rows are, by a WHERE.
    """

    membership: str
    lacking: str
    is_filtered: bool


def read_published(connection: Connection, name: str) -> dict[str, Published] | None:
    """The tables in a publication; None when there is no such publication."""
    if connection.execute("select 1 from pg_publication where pubname = %s", (name,)).fetchone() is None:
        return None
    rows = connection.execute(_PUBLISHED.encode(), (name,)).fetchall()
    return {str(table): Published(str(member), str(lacks), bool(filtered)) for table, member, lacks, filtered in rows}


def memberships(connection: Connection, name: str, tables: Collection[str]) -> dict[str, str]:
    """Each table's membership. TransientError, which says what to do, unless all their changes are streamed."""
    have = read_published(connection, name)
    if have is None:
        raise TransientError(f"the publication {name} is not there; run `sorbus apply`")
    if missing := sorted(set(tables) - have.keys()):
        raise TransientError(f"the publication {name} lacks {', '.join(missing)}; run `sorbus apply`")
    for table in tables:
        if have[table].lacking or have[table].is_filtered:
            what = have[table].lacking or "rows, by its WHERE"
            raise TransientError(f"the publication {name} leaves something of {table} out ({what}); run `sorbus apply`")
    return {table: have[table].membership for table in tables}


def lapse(before: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """Which tables the publication was without, or with less of, since `before`; None when it had all of them."""
    gone = sorted(table for table, membership in now.items() if before.get(table, membership) != membership)
    return ", ".join(gone) or None


def publication_statement(connection: Connection, name: str, tables: Mapping[str, Table]) -> sql.Composed | None:
    """What makes the publication stream all changes of `tables`; None when it does."""
    have, publication = read_published(connection, name), sql.Identifier(name)
    if have is None:
        create = "create publication {} for table {} with (publish_via_partition_root = true)"
        return sql.SQL(create).format(publication, _listed(tables, tables))
    filtered = {key for key in tables.keys() & have.keys() if have[key].is_filtered}
    statements = []
    if filtered:
        statements.append(sql.SQL("alter publication {} drop table {}").format(publication, _listed(tables, filtered)))
    if added := filtered | tables.keys() - have.keys():
        statements.append(sql.SQL("alter publication {} add table {}").format(publication, _listed(tables, added)))
    if any(have[key].lacking for key in tables.keys() & have.keys()):
        everything = "alter publication {} set (publish = 'insert, update, delete, truncate')"
        statements.append(sql.SQL(everything).format(publication))
    return sql.SQL("; ").join(statements) if statements else None


def _listed(tables: Mapping[str, Table], keys: Collection[str]) -> sql.Composed:
    return sql.SQL(", ").join(tables[key].identifier for key in sorted(keys))
