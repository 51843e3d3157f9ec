"""Replica identity: what old rows carry, changed so that no write of the tables' owner fails, which is tried first.

PostgreSQL refuses every UPDATE and DELETE of a published table whose old rows can't be told apart, or whose identity
has columns that some publication leaves out. So identity comes before the publication, the publication takes no table
that it would break, and each step is undone unless writes still go through.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.resources import files
from typing import NamedTuple, cast

import psycopg
from psycopg import sql

from sorbus.connector import Step
from sorbus.errors import AuthError, PermanentError
from sorbus.postgres.connection import Connection, PostgresConnection, connect, postgres_errors
from sorbus.producers.postgres.tables import Member

_IDENTITY = (files("sorbus.producers.postgres") / "identity.sql").read_text()


class _Index(NamedTuple):
    name: str
    is_primary: bool
    columns: frozenset[str]


class _Facts(NamedTuple):
    """`computed`: it has generated columns; `limited_by`: other publications that name columns of it."""

    computed: bool
    limited_by: tuple[str, ...]
    indexes: tuple[_Index, ...]


class Identities:
    """How the identity of each of `members` can be changed to carry the columns that it needs, if at all."""

    def __init__(self, session: Connection, publication: str, members: Iterable[Member]) -> None:
        self._facts: dict[int, _Facts] = {}
        minds_computed = session.info.server_version >= 180000
        oids = [member.oid for member in members]
        rows = session.execute(_IDENTITY, {"publication": publication, "oids": oids}).fetchall()
        for oid, computed, limited, indexes in rows:
            found = [
                _Index(name, bool(is_primary), frozenset(columns))
                for name, is_primary, columns in cast("list[tuple[str, bool, list[str]]]", indexes)
            ]
            self._facts[int(str(oid))] = _Facts(
                bool(computed) and minds_computed, tuple(cast("list[str]", limited)), tuple(found)
            )

    def statement(self, member: Member, columns: Collection[str]) -> sql.Composed | None:
        """What makes old rows of `member` carry `columns`; None where a person has to decide."""
        facts = self._facts[member.oid]
        alter = sql.SQL("alter table only {} replica identity ").format(member.identifier)
        for index in facts.indexes:
            if set(columns) <= index.columns and not facts.limited_by:
                how = sql.SQL("default") if index.is_primary else sql.SQL("using index {}")
                return alter + how.format(sql.Identifier(index.name))
        return None if self.why_not_full(member) else alter + sql.SQL("full")

    def why_not_full(self, member: Member) -> str:
        """Why REPLICA IDENTITY FULL would make its owner's writes fail; "" where it wouldn't."""
        facts = self._facts[member.oid]
        if facts.limited_by:
            return f"the publication {', '.join(facts.limited_by)} names columns of it, which must hold the identity"
        return "it has generated columns, which a full identity must not hold unpublished" if facts.computed else ""

    def decision(self, member: Member, columns: Collection[str]) -> str:
        """What a database administrator has to decide about a member without a `statement`."""
        names = ", ".join(sorted(columns))
        return (
            f"no usable identity carries {names}, and with `replica identity full` every UPDATE and DELETE of it would"
            f" fail: {self.why_not_full(member)}. Make a unique index on ({names}) that is not deferrable, of columns"
            " that are not null, and name it with `alter table ... replica identity using index`; or name other"
            " columns with `key:`. Until then the table isn't published"
        )


def broken_writes(session: Connection, members: Iterable[Member]) -> dict[str, str]:
    """Relations whose UPDATE and DELETE PostgreSQL refuses just now, with its words. Tried without doing anything."""
    found = {}
    for member in members:
        if member.kind != "r":
            continue
        try:
            with session.transaction():
                session.execute(sql.SQL("explain delete from only {}").format(member.identifier))
        except (psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.InvalidColumnReference) as error:
            found[member.name] = " ".join(filter(None, (error.diag.message_primary, error.diag.message_detail)))
        except psycopg.errors.InsufficientPrivilege:  # then it can't be tried by us, nor altered
            continue
    return found


def tried_step(
    connection: PostgresConnection,
    where: str,
    what: str,
    statement: sql.Composed,
    session: Connection,
    members: Sequence[Member],
) -> Step:
    """The step that runs `statement` and undoes it unless the owner's writes to `members` go through afterwards."""
    text = statement.as_string(session)

    def run() -> None:
        with connect(connection, "apply") as own:
            try:
                with postgres_errors(what):
                    own.execute("set local lock_timeout = '5s'")  # who waits for a lock makes others wait behind it
                    before = broken_writes(own, members)
                    own.execute(statement)
                    broken = broken_writes(own, members)
            except AuthError as error:
                raise AuthError(f"{error}\n  let the tables' owner run:\n    {text};") from error
            if new := {name: words for name, words in broken.items() if name not in before}:
                own.rollback()
                listed = "; ".join(f"{name}: {words}" for name, words in sorted(new.items()))
                raise PermanentError(
                    f"{what}: nothing was changed, since UPDATE and DELETE by the tables' owner would fail: {listed};"
                    " a database administrator has to decide on the replica identity",
                    reason="breaks writes",
                )

    return Step(where, what, text, run)


def broken_steps(where: str, broken: Mapping[str, str], fixed: Collection[str]) -> list[Step]:
    """What a person is told of tables whose owner can't write just now, but for those that a step fixes."""
    fix = "give it a usable replica identity at once, or take it out of the publications it is in"
    return [
        Step(where, f"UPDATE and DELETE of {name} fail: {words}", fix)
        for name, words in sorted(broken.items())
        if name not in fixed
    ]
