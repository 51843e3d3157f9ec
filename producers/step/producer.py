"""The producer of a process step: it reads one data type's topic, and makes another's records of it.

Its position is the topic's offsets, stored in the transaction of what it makes; what it has made is remembered from the
topic of that. So a crash, a repeated event or a second reading of everything makes nothing twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from confluent_kafka import Message
from pydantic import BaseModel

from sorbus.abilities import PublishedState
from sorbus.bus.kafka import bytes_of, offset_of, partition_of
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.connector import Batch, BoundSource, BoundSystem, Change, Position, RejectedRecord, Step
from sorbus.errors import PermanentError, Unfinished
from sorbus.producers.polling.poll_state import PageResult
from sorbus.producers.step.earlier_records import EarlierRecords
from sorbus.producers.step.group_maker import GroupMaker
from sorbus.producers.step.maker import Maker, StepCondition
from sorbus.producers.step.options import StepConnection, StepSource
from sorbus.producers.step.single_maker import SingleMaker
from sorbus.producers.step.source_event import SourceEvent, SourceEvents
from sorbus.producers.step.source_topic import SourceTopic
from sorbus.settings import Settings
from sorbus.state import State

_AT_ONCE = 2000
_SLICE = 0.5
"""Seconds of reading after which the loop gets its turn."""
_log = logging.getLogger(__name__)


class StepProducer:
    """Makes the records of one step."""

    Connection: type[BaseModel] = StepConnection
    Source: type[BaseModel] = StepSource

    def __init__(self, system: BoundSystem, sources: Sequence[BoundSource]) -> None:
        """MapError where the mapping doesn't fit."""
        (self._source,) = sources
        step = self._source.options
        assert isinstance(step, StepSource)
        self._step, self._system = step, system
        self._settings = Settings()
        self._earlier = None
        if step.begin == "now":
            self._earlier = EarlierRecords(State.of(system.topic_prefix), step.id)
        self._maker = _maker(system, self._source, self._earlier)
        topic = Names(system.topic_prefix).topic(step.source)
        self._topic = SourceTopic(self._settings, topic, step.id, may_reread=step.on_lost_events == "reread")
        self._events: SourceEvents | None = None
        self._is_whole = False
        """While everything is read: whether what doesn't come isn't there any more."""
        self._is_reading_all = False
        self._is_first = False
        """Whether what is made of everything repeats what is known, and reports no change."""
        self._made = 0
        self._beginning: Iterator[None] | None = None
        self._asked: set[bytes] = set()
        self._again: Iterator[PageResult] | None = None
        self._unsaved: Batch | None = None

    @classmethod
    def plan(cls, system: BoundSystem, sources: Sequence[BoundSource]) -> list[Step]:  # noqa: ARG003 - the interface's
        """Topics are planned for every data type: there is nothing else to create."""
        return []

    @classmethod
    def resources_of(cls, options: BaseModel) -> dict[str, str]:
        """The data type that it reads, and the lists inside."""
        assert isinstance(options, StepSource)
        return options.resources

    @classmethod
    def scan(cls, system: BoundSystem, source: BoundSource) -> Iterator[Sequence[Change | RejectedRecord]]:
        """Every record as it would be made of what the topic holds now. TransientError."""
        producer = cls(system, [source])
        yield from producer._scan()

    def remember(self, data_type: str, published: Iterable[PublishedState]) -> None:  # noqa: ARG002 - there is one
        """What was made."""
        self._maker.remember(published)

    def open(self, position: Position | None) -> None:
        """Resumes at the stored offsets, or begins. TransientError, AuthError, LostPosition."""
        self._events = self._reading()
        stored = position or {}
        self._maker.deleted_version = cast("int", stored.get("deleted_version") or 0)
        place = cast("Position | None", stored.get("topic"))
        why = self._topic.open(place)
        if why:
            _log.warning("%s: %s: it is read from its beginning", self._step.id, why)
        if place is None and self._earlier is not None and not self._earlier.has_begun():
            self._beginning = self._begin_now(self._earlier)
        elif place is None or why or stored.get("is_reading_all") or self._step.per:
            self._read_all(is_whole=place is not None and _is_same(place, self._topic), is_first=place is None)

    def resnapshot(self, data_types: Sequence[str]) -> None:  # noqa: ARG002 - there is one
        """Everything is made again."""
        self._maker.again(None)
        if self._beginning is None:
            self._read_all(is_whole=True, is_first=True)

    def reread(self, data_type: str, ids: Sequence[bytes]) -> None:  # noqa: ARG002 - there is one
        """These are made again."""
        self._maker.again(ids)
        self._asked |= self._maker.sources(ids)

    def read(self, wait: float) -> Batch | None:
        """What the next events make; None if nothing came within `wait` seconds. TransientError, LostPosition."""
        if self._unsaved is not None:
            return self._saved(self._unsaved)
        if self._beginning is not None:
            return self._begun(self._beginning)
        if why := self._topic.check():
            _log.warning("%s: %s: it is read from its beginning", self._step.id, why)
            self._read_all(is_whole=False)
        if self._asked and not self._is_reading_all and (found := self._made_again()) is not None:
            return found
        messages = self._topic.read(wait, _AT_ONCE)
        out, now, is_historical = PageResult(), _now(), self._is_reading_all and self._is_first
        self._take(messages, now, out)
        self._topic.taken(len(messages))
        if self._is_reading_all and self._topic.is_at_end:
            self._is_reading_all = False
            self._asked = set()
            self._maker.finish(now, out, is_whole=self._is_whole)
        self._maker.flush(now, out)
        if not messages and not out.changes and not out.rejects and not self._topic.is_due():
            return None
        return self._saved(self._batch(out, is_historical=is_historical))

    def confirm(self, position: Position) -> None:
        """Offsets are kept with what was made."""

    def lag(self) -> int | None:
        """Messages that aren't read yet."""
        return self._topic.lag()

    def close(self) -> None:
        """Disconnects."""
        self._topic.close()
        self._beginning = self._again = None

    def _reading(self) -> SourceEvents:
        assert self._source.reads is not None
        names = Names(self._system.topic_prefix)
        return SourceEvents(self._source.reads, SchemaResolver(self._settings, names, [self._source.reads]))

    def _read_all(self, *, is_whole: bool, is_first: bool = False) -> None:
        self._topic.rewind()
        self._maker.begin()
        self._is_reading_all, self._is_whole, self._is_first = True, is_whole, is_first
        self._made = 0

    def _take(self, messages: Sequence[Message], now: int, out: PageResult) -> None:
        """All of them, or none: what can fail is asked before."""
        assert self._events is not None
        events = [self._events.read(message, now) for message in messages]
        if self._earlier is not None and events:
            self._earlier.load(events)
        for event in events:
            self._maker.take(event, now, out)

    def _batch(self, out: PageResult, *, is_historical: bool = False) -> Batch:
        name = self._source.name
        position: Position = {
            "topic": self._topic.position(),
            "is_reading_all": self._is_reading_all,
            "deleted_version": self._maker.deleted_version,
        }
        resolved = [(name, id) for id in out.resolved]
        is_caught_up = self._topic.is_at_end and not self._asked
        self._made += len(out.changes)
        copied = (name, self._made, self._made) if is_historical and out.changes else None
        return Batch(out.changes, out.rejects, (), position, is_caught_up, copied, resolved)

    def _saved(self, batch: Batch) -> Batch:
        """The batch, once the database has what belongs to it: what it made is taken as published."""
        self._unsaved = batch
        if self._earlier is not None:
            self._earlier.save()
        self._unsaved = None
        return batch

    def _begun(self, beginning: Iterator[None]) -> Batch:
        for _ in beginning:
            raise Unfinished(f"{self._step.id}: noting which records were there before", retry_after=0.0)
        self._beginning = None
        return self._batch(PageResult())

    def _begin_now(self, earlier: EarlierRecords) -> Iterator[None]:
        """Notes every record of the topic; what comes after that is new."""
        assert self._events is not None
        condition, seen = StepCondition(self._source, self._step), dict[bytes, tuple[int, bool]]()
        while not self._topic.is_at_end:
            messages = self._topic.read(_SLICE, _AT_ONCE)
            for message in messages:
                event = self._events.read(message, _now())
                if event.record is None and event.error is None:
                    seen.pop(event.id, None)
                else:
                    seen[event.id] = event.version, _fits(condition, event)
            self._topic.taken(len(messages))
            yield
        count = earlier.begin((id, version, fits) for id, (version, fits) in seen.items())
        fitting = sum(fits for _, fits in seen.values())
        _log.info("%s begins now: of %d records, %d fit and make nothing", self._step.id, count, fitting)

    def _made_again(self) -> Batch | None:
        """A part of what was asked for. Unfinished while nothing is found."""
        if self._again is None:
            if self._earlier is not None:
                self._earlier.ask(self._asked)
            self._again = self._find(frozenset(self._asked))
        for out in self._again:
            if out.changes or out.rejects or out.resolved:
                return self._saved(self._batch(out))
            raise Unfinished(f"{self._step.id}: {self._topic.topic} is being read again", retry_after=0.0)
        self._again, self._asked = None, set()
        return None

    def _find(self, ids: frozenset[bytes]) -> Iterator[PageResult]:
        """The newest event of each, of those that were taken already."""
        newest: dict[bytes, Message] = {}
        seen: set[bytes] = set()
        until = list(self._topic.offsets)
        for messages in self._topic.all_messages(_SLICE):
            for message in messages:
                id, (number, offset) = bytes_of(message.key()), _place(message)
                if id in ids:
                    seen.add(id)
                    if number < len(until) and offset < until[number]:
                        newest[id] = message
            yield PageResult()
        found = list(newest.values())
        for at in range(0, len(found), _AT_ONCE):
            out, now = PageResult(), _now()
            self._take(found[at : at + _AT_ONCE], now, out)
            self._maker.flush(now, out)
            yield out
        out, now = PageResult(), _now()
        for id in sorted(ids - seen):
            self._maker.absent(id, now, out)
        yield out

    def _scan(self) -> Iterator[Sequence[Change | RejectedRecord]]:
        """Each record's newest event, with nothing published before. Two passes: of all, only offsets are kept."""
        self._events = self._reading()
        self._maker.begin()
        newest: dict[bytes, tuple[int, int]] = {}
        for messages in self._topic.all_messages(_SLICE):
            newest.update((bytes_of(message.key()), _place(message)) for message in messages)
        for messages in self._topic.all_messages(_SLICE):
            out, now = PageResult(), _now()
            self._take([one for one in messages if newest.get(bytes_of(one.key())) == _place(one)], now, out)
            yield [*(one for one in out.changes if one.data is not None), *out.rejects]
        out, now = PageResult(), _now()
        self._maker.finish(now, out, is_whole=False)
        yield [*(one for one in out.changes if one.data is not None), *out.rejects]


def _maker(system: BoundSystem, source: BoundSource, earlier: EarlierRecords | None) -> Maker:
    step = source.options
    assert isinstance(step, StepSource)
    return GroupMaker(source, system.name) if step.per else SingleMaker(source, system.name, earlier)


def _fits(condition: StepCondition, event: SourceEvent) -> bool:
    """Whether a record fits; one that can't be decided is taken as one that was there before."""
    try:
        return event.error is not None or condition.is_met(event)
    except PermanentError:
        return True


def _is_same(stored: Position, topic: SourceTopic) -> bool:
    """Whether the topic holds every record that it held: the same one, with nothing cut off."""
    now = topic.position()
    return stored["id"] == now["id"] and stored["begins"] == now["begins"]


def _place(message: Message) -> tuple[int, int]:
    _, number = partition_of(message)
    return number, offset_of(message)


def _now() -> int:
    return time.time_ns() // 1000
