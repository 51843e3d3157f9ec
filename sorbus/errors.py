"""Every error that Sorbus raises, grouped by what the caller does next.

    SorbusError
    |-- MapError          fix the map: carries findings, each with file, line and what to write instead
        |-- UsageError        the command names something unknown, or a SORBUS_ variable is invalid: correct the call
    |-- SchemaError       a schema is unknown, invalid or incompatible: stop, both schemas side by side
    |-- TransientError    try again, in order; carries retry_after (seconds) where the other side named one
        |   `-- PartialOutage   ... of a part of a source, which is retried automatically
        |   |-- Contended     ... of one record, locked or changed meanwhile: read it again; carries status
        |   |-- PauseFlow     ... once a person has resumed the flow, which pauses itself
    |   `-- Undecided     either these records or the target: try again together with more records
        |-- PermanentError    this record can't be delivered: dead letter; carries field, value, rule, words
        |   `-- MustWait      not yet: deferred and retried automatically; carries why and what it needs
    |-- AuthError         stop this flow and alert: retrying makes it worse
        |-- LostPosition      changes between our position and the source's were lost: resnapshot or stop, never skip
    |-- IncompleteRead    what was read is right, but there is more: carries how many records were read
    |-- BudgetSpent       what a person allowed has been used: stop, keep what was done, say so
    `-- Unfinished        a target took a part, or a source can't begin yet (a lock): call again with the same
        `-- RateLimited       ... a rate limit is used up, and nothing was sent

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
    """One thing to fix in what a person wrote: where it is, what is wrong, and the fix."""

    file: Path
    line: int
    message: str
    fix: str
    code: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}\n    {self.fix}"


class SorbusError(Exception):
    """The base of all errors that Sorbus raises."""

    exit_code = ExitCode.FINDINGS


class MapError(SorbusError):
    """The map can't be run as written."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(str(finding) for finding in findings))


class UsageError(SorbusError):
    """The command or a SORBUS_ variable names something unknown; the message lists what is known."""

    exit_code = ExitCode.WRONG_USE


class SchemaError(SorbusError):
    """A schema is unknown, invalid, or incompatible with the one in use."""


class TransientError(SorbusError):
    """The other side can't answer at the moment; the same call may succeed later."""

    exit_code = ExitCode.UNREACHABLE
    dependency = ""
    """What can't be reached: "system" (one of the map), "kafka", "registry" or "state"; "" for anything else."""

    smaller = False
    """Whether a smaller batch may succeed (a time limit of the other side)."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


def missing(dependency: str, error: TransientError) -> TransientError:
    """The error, marked with the dependency that is missing."""
    error.dependency = dependency
    return error


class PartialOutage(TransientError):
    """A part of a source can't be read for now and is retried after `retry_after`; the rest continues."""


class Contended(TransientError):
    """One record can't be written for now: it is locked or has changed since it was read. Others can."""

    def __init__(self, message: str, *, status: int, words: str, retry_after: float | None = None) -> None:
        self.status = status
        self.words = words
        super().__init__(message, retry_after=retry_after)


class Unshown(Contended):
    """An update was answered without the record: whether it was carried out can only be read."""


class GatewayAnswer(TransientError):
    """404 in words that may be a gateway's: whether there is such a record isn't known."""


class PauseFlow(TransientError):
    """The target wants no more, or has failed for too long: the flow pauses itself until a person resumes it."""


class Undecided(TransientError):
    """Every record of a batch fails, and whether the records are the cause is unknown: more records will show."""


_LONGEST = 2000
"""Characters of a message: a dead letter that quotes megabytes would itself be too large for Kafka."""


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


class PermanentError(SorbusError):
    """This record can't be delivered, however often it is tried; it becomes a dead letter.

    `reason` is a short stable key for grouping, `words` the target's own message, `status` that of an HTTP response.
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
    """This record can't be delivered yet: it is deferred and retried automatically while others continue.

    `why` "reference": `needs` are the (data type, id, resource) that the target must have first, or empty if only a
    retry can tell; "incomplete": the missing fields, each with an empty second part. `limit`: seconds after which to
    give up, None: the flow's limit. `refused`: the error of its dead letter, if the flow defers nothing or the time is
    up.
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
    """The other side rejects our credentials; a person has to act before another try."""

    exit_code = ExitCode.REFUSED
    status: int | None = None
    """Status of the HTTP response."""
    lockout = False
    """Whether retrying could lock an account: a password, key or token was rejected, not a permission."""


def refused_login(error: AuthError) -> AuthError:
    """The error, marked as a rejected login."""
    error.lockout = True
    return error


class LostPosition(SorbusError):
    """The source no longer holds the changes after our position (a dropped slot, another server)."""

    exit_code = ExitCode.REFUSED


class IncompleteRead(SorbusError):
    """A system's list ended before all of its records were shown: what was read is right, and nothing else is known."""

    def __init__(self, message: str, read: int) -> None:
        self.read = read
        super().__init__(message)


class BudgetSpent(SorbusError):
    """No more requests are allowed for now: what was done so far counts, the rest is left for another time."""


class Unfinished(SorbusError):
    """A part of a batch is applied, the rest waits `retry_after` seconds; not an error. Retry with the same batch."""

    exit_code = ExitCode.UNREACHABLE

    def __init__(self, message: str, *, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class RateLimited(Unfinished):
    """The rate limit is used up for longer than the caller would wait; nothing was sent."""
