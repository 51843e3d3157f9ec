"""Every error that Sorbus raises, grouped by what the caller does next.

    SorbusError
    |-- MapError          fix the map: carries findings, each with file, line and what to write instead
    |-- UsageError        the command names what isn't there, or a SORBUS_ variable can't be used: call it otherwise
    |-- SchemaError       a schema is unknown, invalid or incompatible: stop, both schemas side by side
    |-- TransientError    try again, in order; carries retry_after (seconds) where the other side named one
    |   `-- PartialOutage   ... of a part of a source, which waits by itself
    |   |-- Contended     ... of one record, as it is just now: read it again; carries status
    |   `-- Undecided     it may be these records or the target: try again together with more records
    |-- PermanentError    this record can't pass as it is: dead letter; carries field, value, rule, words
    |   `-- MustWait      not yet: it waits in the flow's waiting room; carries why and what it needs
    |-- AuthError         stop this flow and alert: retrying makes it worse
    |-- LostPosition      changes between our position and the source's are gone: resnapshot or stop, never skip
    `-- Unfinished        a target took a part, or a source can't begin yet (a limit, a lock): call again with the same

Each message says what happened, to which record, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Literal


class ExitCode(IntEnum):
    """What a `sorbus` command's exit status means; a contract, documented in the README."""

    FINE = 0
    FINDINGS = 1
    WRONG_USE = 2
    UNREACHABLE = 3
    REFUSED = 4


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing to fix in what a person wrote: where it is, what is wrong, what to write instead."""

    file: Path
    line: int
    message: str
    fix: str
    code: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}\n    {self.fix}"


class SorbusError(Exception):
    """The root of all errors that Sorbus raises on purpose."""

    exit_code = ExitCode.FINDINGS


class MapError(SorbusError):
    """The map can't be run as it is written."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(str(finding) for finding in findings))


class UsageError(SorbusError):
    """The command, or a SORBUS_ variable, names something that there isn't; the message says what there is."""

    exit_code = ExitCode.WRONG_USE


class SchemaError(SorbusError):
    """A schema is unknown, invalid, or not compatible with the one in use."""


class TransientError(SorbusError):
    """The other side can't answer just now; the same call may go through later."""

    exit_code = ExitCode.UNREACHABLE
    dependency = ""
    """What can't be reached: "system" (one of the map), "kafka", "registry" or "state"; "" if it is something else."""

    smaller = False
    """Whether less at a time may go through (a time limit of the other side)."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


def missing(dependency: str, error: TransientError) -> TransientError:
    """The error, saying which dependency it is about."""
    error.dependency = dependency
    return error


class PartialOutage(TransientError):
    """A part of a source can't be read for now, and is tried again by itself after `retry_after`: the rest goes on."""


class Contended(TransientError):
    """One record can't be written as it was read, or just now: locked, or changed meanwhile. Others can."""

    def __init__(self, message: str, *, status: int, words: str, retry_after: float | None = None) -> None:
        self.status = status
        self.words = words
        super().__init__(message, retry_after=retry_after)


class Undecided(TransientError):
    """Each record of a batch fails, and nothing shows yet whether that is their fault: more records will show it."""


_LONGEST = 2000
"""Characters of a message: a letter that quotes a value of megabytes would itself be too large for Kafka."""


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


class PermanentError(SorbusError):
    """This record can't pass as it is, however often it is tried; it becomes a dead letter.

    `reason` is a short stable word for grouping, `words` the target's own message, `status` that of an HTTP answer.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        field: str | None = None,
        value: object = None,
        rule: str | None = None,
        words: str | None = None,
        status: int | None = None,
    ) -> None:
        self.reason = reason
        self.status = status
        self.field = field
        self.value = value
        self.rule = rule
        self.words = None if words is None else _cut(words)
        super().__init__(_cut(message))


class MustWait(PermanentError):
    """This record can't pass yet, and may later without anybody touching it: it waits while others go on.

    `why` "reference": `needs` are the (data type, id, resource) that must be in the target before, or nothing where
    only trying again tells; "incomplete": the fields that it lacks, each with an empty second part. `limit`: seconds
    after which it has waited long enough, None: the flow's. `refused`: what it is a dead letter with where there is no
    waiting room, or when its time is up.
    """

    def __init__(
        self,
        message: str,
        *,
        why: Literal["reference", "incomplete"],
        needs: Sequence[tuple[str, ...]] = (),
        field: str | None = None,
        limit: float | None = None,
        refused: PermanentError | None = None,
    ) -> None:
        self.why = why
        self.needs = tuple(needs)
        self.limit = limit
        self.refused = refused
        super().__init__(message, reason=why, field=field, words=None if refused is None else refused.words)


class AuthError(SorbusError):
    """The other side refuses who we are; a person has to act before another try."""

    exit_code = ExitCode.REFUSED
    status: int | None = None
    """That of an HTTP answer."""
    lockout = False
    """Whether trying again could lock an account: a password, key or token was refused, not a right."""


def refused_login(error: AuthError) -> AuthError:
    """The error, saying that it was a login that was refused."""
    error.lockout = True
    return error


class LostPosition(SorbusError):
    """The source no longer holds the changes after our position (a dropped slot, another server)."""

    exit_code = ExitCode.REFUSED


class Unfinished(SorbusError):
    """A part of a batch is applied, the rest waits `retry_after` seconds; no fault. Call again with the same batch."""

    exit_code = ExitCode.UNREACHABLE

    def __init__(self, message: str, *, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(message)
