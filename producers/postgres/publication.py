"""The publication: which tables it streams, all of their changes, and whether it has done so all the while.

The server streams what the publication holds at the moment of each change and passes over the rest without a word, a
publication that is gone included. So what a table's membership was is part of the position.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from importlib.resources import files
from typing import NamedTuple

from psycopg import sql

from sorbus.errors import TransientError
from sorbus.postgres.connection import Connection
from sorbus.producers.postgres.tables import Member

_PUBLISHED = (files("sorbus.producers.postgres") / "published.sql").read_text()


class Published(NamedTuple):
    """A table in a publication. `membership` is another text when it has left and come back; `lacking` names the kinds
    of changes that are left out, "" when none are; `is_filtered`: rows are, by a WHERE.
    """

    membership: str
    lacking: str
    is_filtered: bool


class Publication(NamedTuple):
    """A publication: whether it is of all tables, whether partitions stream as the table that they belong to, the oids
    of the relations that it names, and what it streams, by name.
    """

    is_of_all: bool
    via_root: bool
    named: frozenset[int]
    tables: Mapping[str, Published]


def read_publication(connection: Connection, name: str) -> Publication | None:
    """The publication of that name; None when there is none."""
    row = connection.execute(
        "select puballtables, pubviaroot, array(select prrelid::bigint from pg_publication_rel where prpubid = p.oid)"
        " from pg_publication p where pubname = %s",
        (name,),
    ).fetchone()
    if row is None:
        return None
    is_of_all, via_root, named = row
    assert isinstance(named, list)
    rows = connection.execute(_PUBLISHED.encode(), (name,)).fetchall()
    tables = {str(table): Published(str(member), str(lacks), bool(filtered)) for table, member, lacks, filtered in rows}
    return Publication(bool(is_of_all), bool(via_root), frozenset(named), tables)


def memberships(connection: Connection, name: str, tables: Iterable[Member]) -> dict[str, str]:
    """Each table's membership. TransientError, which says what to do, unless all their changes are streamed."""
    have = read_publication(connection, name)
    if have is None:
        raise TransientError(f"the publication {name} is not there; run `sorbus apply`")
    found = {}
    for table in tables:
        if (fault := _fault(have, table)) is not None:
            raise TransientError(f"the publication {name} {fault.what}; {fault.fix}")
        streamed = have.tables[table.name]
        if streamed.lacking or streamed.is_filtered:
            what = streamed.lacking or "rows, by its WHERE"
            raise TransientError(
                f"the publication {name} leaves something of {table.name} out ({what}); run `sorbus apply`"
            )
        found[table.name] = streamed.membership
    return found


class _Fault(NamedTuple):
    what: str
    fix: str = "run `sorbus apply`"
    is_ours: bool = True


def _fault(have: Publication, table: Member) -> _Fault | None:
    """Why the publication doesn't stream a table under its name."""
    if table.kind == "p" and not have.via_root:
        return _Fault(f"lacks publish_via_partition_root: partitions of {table.name} stream under their own names")
    if table.name in have.tables:
        return None
    if not (have.is_of_all or table.oid in have.named):
        return _Fault(f"lacks {table.name}")
    if table.is_partition and have.via_root:
        return _Fault(
            f"streams the changes of {table.name} as those of the table that it is a partition of",
            "name that table in the map, or take it out of the publication and run `sorbus apply`",
            is_ours=False,
        )
    return _Fault(f"can't stream {table.name}", "a publication streams permanent tables only", is_ours=False)


def lapse(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, list[str]]:
    """Since `before`, the tables that the whole publication has been without (it was made or set anew), as text; then
    those that alone have left it and come back.
    """
    known = {table: (before[table], text) for table, text in now.items() if _is_other(before.get(table, text), text)}
    anew = sorted(table for table, (was, text) in known.items() if _publication_of(was) != _publication_of(text))
    alone = (table for table, (was, text) in known.items() if table not in anew and was.count("/") == text.count("/"))
    return ", ".join(anew), sorted(alone)


def _is_other(before: str, now: str) -> bool:
    """Positions of earlier releases don't have the part behind the @."""
    return before != (now if "@" in before else now.partition("@")[0])


def _publication_of(membership: str) -> list[str]:
    return membership.split("/")[:2]


def is_named(membership: str) -> bool:
    """Whether the publication names the table itself."""
    return membership.count("/") == 2 and "/s" not in membership


def publication_statement(connection: Connection, name: str, tables: Iterable[Member]) -> sql.Composed | None:
    """What makes the publication stream all changes of `tables`; None when it does, or no statement would."""
    have, publication = read_publication(connection, name), sql.Identifier(name)
    by_name = {table.name: table for table in tables}
    if have is None:
        create = "create publication {} for table {} with (publish_via_partition_root = true)"
        return sql.SQL(create).format(publication, _listed(by_name, by_name))
    streamed = by_name.keys() & have.tables.keys()
    filtered = {key for key in streamed if have.tables[key].is_filtered}
    statements = []
    if filtered:
        statements.append(
            sql.SQL("alter publication {} drop table {}").format(publication, _listed(by_name, filtered, alone=True))
        )
    missing = {
        key for key, table in by_name.items() if not (key in streamed or have.is_of_all or table.oid in have.named)
    }
    if added := filtered | missing:
        statements.append(
            sql.SQL("alter publication {} add table {}").format(publication, _listed(by_name, added, alone=True))
        )
    if not have.via_root and any(table.kind == "p" for table in by_name.values()):
        via_root = "alter publication {} set (publish_via_partition_root = true)"
        statements.append(sql.SQL(via_root).format(publication))
    if any(have.tables[key].lacking for key in streamed):
        everything = "alter publication {} set (publish = 'insert, update, delete, truncate')"
        statements.append(sql.SQL(everything).format(publication))
    return sql.SQL("; ").join(statements) if statements else None


def faults_for_people(connection: Connection, name: str, tables: Iterable[Member]) -> list[tuple[str, str]]:
    """What no statement of ours can fix, and what to do about it."""
    have = read_publication(connection, name)
    found = [fault for table in tables if have is not None and (fault := _fault(have, table)) is not None]
    return [(f"the publication {name} {fault.what}", fault.fix) for fault in found if not fault.is_ours]


def _listed(tables: Mapping[str, Member], keys: Collection[str], *, alone: bool = False) -> sql.Composed:
    """`alone`: without the tables that inherit from them, which may be in the publication already."""
    only = {key: "only " if alone and tables[key].has_heirs else "" for key in keys}
    return sql.SQL(", ").join(sql.SQL(only[key]) + tables[key].identifier for key in sorted(keys))
