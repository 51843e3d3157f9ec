"""A record of one data type makes one record of another, with the same id."""

from __future__ import annotations

from collections.abc import Iterable

from sorbus.abilities import PublishedState
from sorbus.connector import BoundSource, Change
from sorbus.errors import PermanentError
from sorbus.producers.polling.change_detector import ChangeDetector
from sorbus.producers.polling.json_shape import JsonShape
from sorbus.producers.polling.poll_state import PageResult
from sorbus.producers.step.earlier_records import EarlierRecords
from sorbus.producers.step.maker import StepCondition, put, resolve
from sorbus.producers.step.options import StepSource
from sorbus.producers.step.source_event import SourceEvent


class SingleMaker:
    """Makes a step's records. `earlier`: with begin: now, the records that make nothing."""

    def __init__(self, source: BoundSource, system: str, earlier: EarlierRecords | None) -> None:
        """MapError, RuleError."""
        step = source.options
        assert isinstance(step, StepSource)
        self._step, self._earlier = step, earlier
        self._condition = StepCondition(source, step)
        shape = JsonShape(source, system, step.resources, step.lists, {})
        self._detector = ChangeDetector(source.name, shape.encode, lambda _: None, can_look=False)
        self._seen: set[bytes] | None = None

    @property
    def deleted_version(self) -> int:
        """The highest version of any delete."""
        return self._detector.deleted_version

    @deleted_version.setter
    def deleted_version(self, version: int) -> None:
        self._detector.deleted_version = version

    def __contains__(self, id: object) -> bool:
        return id in self._detector

    def remember(self, published: Iterable[PublishedState]) -> None:
        """What is published."""
        self._detector.remember(published)

    def begin(self) -> None:
        """Notes from now on which records come."""
        self._seen = set()

    def take(self, event: SourceEvent, now: int, out: PageResult) -> None:
        """Makes, changes or deletes its record."""
        if self._seen is not None:
            self._seen.add(event.id)
        try:
            if event.error is not None:
                raise event.error
            is_met = self._condition.is_met(event)
        except PermanentError as error:
            put(
                out,
                self._detector.refuse(event.id, event.record or {"id": event.id.decode(errors="replace")}, now, error),
                now,
            )
            return
        if is_met:
            assert event.record is not None
            if self._earlier is None or not self._earlier.holds(event):
                put(out, self._detector.judge(event.id, event.record, now, trusted=True), event.occurred_at)
            return
        if self._earlier is not None:
            self._earlier.leave(event)
        self._leave(event.id, now, event.occurred_at, out)

    def flush(self, now: int, out: PageResult) -> None:
        """Everything is made at once."""

    def finish(self, now: int, out: PageResult, *, is_whole: bool) -> None:
        """Records that are no longer there leave."""
        seen, self._seen = self._seen or set(), None
        if is_whole:
            for id in sorted(self._detector.ids() - seen):
                self._leave(id, now, now, out)

    def again(self, ids: Iterable[bytes] | None) -> None:
        """Doubts what is published."""
        if ids is None:
            self._detector.doubt_all()
        else:
            self._detector.doubt(ids)

    def nothing(self, id: bytes, now: int) -> Change | None:
        """Its delete, unless it is made, or refused."""
        return None if id in self._detector else self._detector.absent(id, now)

    def sources(self, ids: Iterable[bytes]) -> set[bytes]:
        """The same."""
        return set(ids)

    def absent(self, id: bytes, now: int, out: PageResult) -> None:
        """A record that was asked for isn't in the topic."""
        self._leave(id, now, now, out)

    def _leave(self, id: bytes, now: int, at: int, out: PageResult) -> None:
        if id not in self._detector:
            return
        self._detector.forget_refused([id])
        if self._step.on_leave == "delete":
            put(out, self._detector.gone(id, now), at)
        else:
            resolve(out, id)
