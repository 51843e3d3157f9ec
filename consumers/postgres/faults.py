"""Finding the record and the column that PostgreSQL refused, from what it says and by trying."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from typing import NamedTuple

import psycopg
from psycopg import sql

from sorbus.consumers.postgres.counted import OTHER_KEY
from sorbus.consumers.postgres.declarations import has_changed
from sorbus.consumers.postgres.key_kind import KeyCut
from sorbus.consumers.postgres.key_owners import KeyTaken
from sorbus.consumers.postgres.shape import StageColumn
from sorbus.consumers.postgres.staged_values import NARROW, value_of
from sorbus.errors import PermanentError, SorbusError, TransientError
from sorbus.postgres.connection import Connection, as_error, refused_error
from sorbus.postgres.sqlstate import of_error
from sorbus.write_fault import About

_COPY = re.compile(r"^COPY (?P<table>\w+), line (?P<line>\d+)(?:, column (?P<column>[^:\n]+))?")


class CopyContext(NamedTuple):
    """Where a COPY failed: the line counts from 1."""

    table: str
    line: int
    column: str | None


def copy_context(error: psycopg.Error) -> CopyContext | None:
    """What the server says of the failed COPY; None when it failed elsewhere."""
    found = _COPY.match(error.diag.context or "")
    return found and CopyContext(found["table"], int(found["line"]), found["column"])


def narrowed(error: psycopg.Error, field: str | None, doing: str) -> PermanentError | None:
    """The refusal of a value that its column would have rounded or cut, without the value; None for others."""
    _, marked, native = (error.diag.message_primary or "").rpartition(NARROW)
    if error.sqlstate != "22P02" or not marked:
        return None
    column, native = field or "a column", native.rstrip('"')
    words = (
        f"{column} keeps less than the value: {native} would round or cut it. Round or truncate it by a rule, or let"
        " the table's owner give the column a wider type"
    )
    return PermanentError(f"{doing}: {words}", reason="NumericValueOutOfRange", field=field, words=words)


def other_key(error: psycopg.Error, doing: str) -> PermanentError | None:
    """The refusal of a record whose key a trigger of the table changes; None for others."""
    key, marked, _ = (error.diag.message_primary or "").partition(OTHER_KEY)
    if error.sqlstate != "22P02" or not marked:
        return None
    made = key.partition(": ")[2].removeprefix('"')
    words = (
        f"a trigger of the table changes the row's key to {made!r}, which may be"
        " another record's, and by which the row isn't found again: let the table's owner leave the `key:` column as it"
        " is, or name another one"
    )
    return PermanentError(f"{doing}: {words}", reason="TriggeredDataChangeViolation", words=words)


def try_value(stage: str, column: StageColumn, native: str) -> list[sql.Composed]:
    """Makes the target's value of the one staged row and assigns it to a column of the target's type."""
    return [
        sql.SQL("create temporary table sorbus_trial (v {}) on commit drop").format(sql.SQL(native)),
        sql.SQL("insert into sorbus_trial select {} from {} s").format(value_of("s", column), sql.Identifier(stage)),
    ]


class PostgresEngine:
    """PostgreSQL, as isolation sees it."""

    error: type[psycopg.Error] = psycopg.Error

    def __init__(self, session: Connection) -> None:
        self._session = session

    @property
    def is_closed(self) -> bool:
        return self._session.closed

    def transaction(self, *, force_rollback: bool = False) -> AbstractContextManager[object]:
        """Commits at its end, or rolls back."""
        return self._session.transaction(force_rollback=force_rollback)

    def about(self, error: psycopg.Error) -> About:
        """What a failure is about."""
        return About.SYSTEM if has_changed(error) else of_error(error)

    def is_denied(self, error: psycopg.Error) -> bool:
        """Whether a grant or a policy is in the way."""
        return error.sqlstate == "42501"

    def as_error(self, error: psycopg.Error, doing: str) -> SorbusError:
        """The error as one of Sorbus's."""
        if has_changed(error):
            return TransientError(f"{doing}: its table, or the type of a column, is another now; it is looked at again")
        return as_error(error, doing)

    def refusal(self, error: psycopg.Error, field: str | None, doing: str) -> PermanentError:
        """The error as a single record's; without the value, where a column would have rounded or cut it."""
        if isinstance(error, KeyTaken | KeyCut):  # the words are ours
            reason = type(error).__mro__[1].__name__
            return PermanentError(f"{doing}: {error}", reason=reason, field=error.column, words=str(error))
        made = refused_error(error, doing)
        made.field = made.field or field
        return other_key(error, doing) or narrowed(error, made.field, doing) or made
