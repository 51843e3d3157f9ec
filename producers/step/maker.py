"""What a step makes of the events that it reads: the part that differs between one-to-one and `per`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from sorbus.abilities import PublishedState
from sorbus.connector import BoundSource, Change
from sorbus.errors import PermanentError
from sorbus.map.steps import step_condition
from sorbus.mapfile.model import ProcessStep
from sorbus.mapping.errors import RuleError
from sorbus.producers.polling.change_detector import ChangeVerdict, Judged
from sorbus.producers.polling.poll_state import PageResult
from sorbus.producers.step.source_event import SourceEvent


class Maker(Protocol):
    """Makes one data type's records; only what differs from what is published is a change."""

    deleted_version: int
    """The highest version of any delete: what is made again begins above it."""

    def __contains__(self, id: object) -> bool:
        """Whether this record is made, or refused."""

    def remember(self, published: Iterable[PublishedState]) -> None:
        """What the topic of what it makes holds."""

    def begin(self) -> None:
        """Every record of the topic that it reads is about to come."""

    def take(self, event: SourceEvent, now: int, out: PageResult) -> None:
        """One event, in the topic's order. `now`: microseconds since 1970."""

    def flush(self, now: int, out: PageResult) -> None:
        """The events of a batch have been taken."""

    def finish(self, now: int, out: PageResult, *, is_whole: bool) -> None:
        """Every record has come. `is_whole`: what didn't come isn't there any more."""

    def again(self, ids: Iterable[bytes] | None) -> None:
        """What is made of these, or of all, is published when it is made next, changed or not."""

    def absent(self, id: bytes, now: int, out: PageResult) -> None:
        """One of `sources` isn't in the topic."""

    def nothing(self, id: bytes, now: int) -> Judged | None:
        """Tells who asked that this record isn't made."""

    def sources(self, ids: Iterable[bytes]) -> set[bytes]:
        """The ids in the topic that these records, or dead letters, are made of."""


class StepCondition:
    """A step's `where`. RuleError where it can't be read."""

    def __init__(self, source: BoundSource, step: ProcessStep) -> None:
        assert source.reads is not None
        self._rule = step_condition(step, source.reads, source.lookups)

    def is_met(self, event: SourceEvent) -> bool:
        """Whether the record makes one; a deleted one doesn't. PermanentError where that can't be decided."""
        if event.record is None:
            return False
        if self._rule is None:
            return True
        try:
            return self._rule(None, event.record) is True
        except RuleError as error:
            field = min(self._rule.uses)
            raise PermanentError(
                f"where {self._rule.text}: {error}",
                reason="undecided filter",
                field=field,
                value=event.record.get(field),
                rule=self._rule.text,
            ) from error


def put(out: PageResult, judged: Judged | None, occurred_at: int) -> None:
    """Adds what was judged; a change happened when the event that it is made of did."""
    if isinstance(judged, Change):
        out.changes.append(judged._replace(occurred_at=occurred_at))
    elif judged is not None and not isinstance(judged, ChangeVerdict):
        out.rejects.append(judged)


def resolve(out: PageResult, id: bytes) -> None:
    """A record's dead letter is obsolete, also one that came before it in the same batch."""
    out.rejects = [one for one in out.rejects if one.id != id]
    out.resolved.append(id)
