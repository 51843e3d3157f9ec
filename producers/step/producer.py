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
from sorbus.errors import LostPosition, TransientError, Unfinished
from sorbus.producers.polling.poll_state import PageResult
from sorbus.producers.step.beginning import Beginning
from sorbus.producers.step.decisive_events import DecisiveEvents
from sorbus.producers.step.earlier_records import EarlierRecords
from sorbus.producers.step.group_maker import GroupMaker
from sorbus.producers.step.made_by import KEY, is_outdated, made_by, outdated_words, stored_position
from sorbus.producers.step.maker import Maker, StepCondition, put
from sorbus.producers.step.options import StepConnection, StepSource
from sorbus.producers.step.requested_records import RequestedRecords
from sorbus.producers.step.single_maker import SingleMaker
from sorbus.producers.step.source_event import SourceEvents, event_version, is_older, known_apart
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
        self._topic = SourceTopic(
            self._settings, topic, step.id, may_reread=step.on_lost_events == "reread", needs_all=bool(step.per)
        )
        self._events: SourceEvents | None = None
        self._is_whole = False
        """While everything is read: whether what doesn't come isn't there any more."""
        self._is_reading_all = False
        self._decisive: DecisiveEvents | None = None
        """While everything is read, unless groups are made, which are all made at the end of it."""
        self._is_first = False
        """Whether what is made of everything repeats what is known, and reports no change."""
        self._made = 0
        self._is_again = False
        """Whether a person asked for everything that is being read to be made again."""
        self._is_partial = False
        """Whether the topic has lost events: until everything is asked for again, what isn't there may still exist."""
        self._made_by = made_by(self._source)
        self._beginning: Beginning | None = None
        self._requested = RequestedRecords(self._topic)
        self._asked: set[bytes] = set()
        """Records that people asked for, of which nothing has been said since."""
        self._is_reading = False
        """Whether anything was read since `open`: what is asked for before that, nobody has asked for."""
        self._unsaved: Batch | None = None

    @classmethod
    def plan(cls, system: BoundSystem, sources: Sequence[BoundSource]) -> list[Step]:  # noqa: ARG003 - the interface's
        """Topics are planned for every data type: there is nothing else to create."""
        return []

    @classmethod
    def source_warnings(cls, system: BoundSystem, sources: Sequence[BoundSource]) -> list[str]:
        """Whether it has made records by other rules than it has now. TransientError, AuthError."""
        (source,) = sources
        is_old = is_outdated(source, stored_position(system, system.name))
        return [outdated_words(source)] if is_old else []

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
        self._is_partial, self._made = bool(stored.get("is_partial")), 0
        if is_outdated(self._source, stored):
            self._made_by = str(stored[KEY])
            _log.warning("%s", outdated_words(self._source))
        place = cast("Position | None", stored.get("topic"))
        why = self._topic.open(place)
        is_same = place is not None and _is_same(place, self._topic)
        if why:
            _log.warning("%s: %s: it is read from its beginning", self._step.id, why)
            self._is_partial |= not is_same
        if self._earlier is not None and not self._earlier.has_begun():
            self._begin(self._earlier, is_first=place is None)
        elif place is None or why or stored.get("is_reading_all") or self._step.per or self._topic.has_grown:
            was_first = bool(stored.get("is_reading_all") and stored.get("is_first") and not why)
            is_first = was_first or (place is None and self._earlier is None)  # what begins now makes what is new
            if stored.get("is_again"):
                self._make_again()
            self._read_all(is_whole=is_same and not self._is_partial, is_first=is_first)

    def resnapshot(self, data_types: Sequence[str]) -> None:  # noqa: ARG002 - there is one
        """Everything is made again."""
        self._is_partial &= not self._is_reading  # a person says that the topic holds everything
        self._make_again()
        if self._beginning is None:
            self._read_all(is_whole=not self._is_partial, is_first=True)

    def _make_again(self) -> None:
        self._is_again = True
        self._maker.again(None)

    def reread(self, data_type: str, ids: Sequence[bytes]) -> None:  # noqa: ARG002 - there is one
        """These are made again."""
        self._maker.again(ids)
        if self._is_reading:
            self._asked.update(ids)
        self._requested.add(self._maker.sources(ids), are_named=self._is_reading)

    def read(self, wait: float) -> Batch | None:
        """What the next events make; None if nothing came within `wait` seconds. TransientError, LostPosition."""
        self._is_reading = True
        if self._unsaved is not None:
            return self._saved(self._unsaved)
        if self._beginning is not None:
            return self._begun(self._beginning)
        if why := self._topic.check():
            _log.warning("%s: %s: it is read from its beginning", self._step.id, why)
            self._read_all(is_whole=False)
            self._is_partial = True
        if self._topic.has_grown:
            _log.warning("%s: %s has more partitions: it is read from its beginning", self._step.id, self._topic.topic)
            self._read_all(is_whole=not self._is_partial, is_first=self._is_reading_all and self._is_first)
        if self._requested and not self._is_reading_all:
            return self._made_again()
        if self._decisive is not None and not self._decisive.advance():
            raise Unfinished(f"{self._step.id}: looking which events of {self._topic.topic} count", retry_after=0.0)
        messages, is_known = known_apart(self._topic.read(wait, _AT_ONCE))
        out, now, is_historical = PageResult(), _now(), is_known or (self._is_reading_all and self._is_first)
        self._take(messages, now, out)
        self._topic.taken(len(messages))
        if has_ended := self._is_reading_all and self._topic.is_at_end:
            self._is_reading_all = self._is_again = False
            self._made_by, self._decisive = made_by(self._source), None
            self._requested.all_have_come()
            self._maker.finish(now, out, is_whole=self._is_whole)
        self._maker.flush(now, out)
        self._answer(now, out)
        has_more = has_ended or messages or out.changes or out.rejects or out.resolved
        if not has_more and not self._topic.is_due():
            return None
        return self._saved(self._batch(out, is_historical=is_historical))

    def confirm(self, position: Position) -> None:
        """Offsets are kept with what was made."""

    def lag(self) -> int | None:
        """Nothing is held back for it: its topic keeps every record anyway."""
        return None

    def close(self) -> None:
        """Disconnects."""
        self._topic.close()
        self._beginning = self._decisive = None

    def _reading(self) -> SourceEvents:
        assert self._source.reads is not None
        names = Names(self._system.topic_prefix)
        return SourceEvents(self._source.reads, SchemaResolver(self._settings, names, [self._source.reads]))

    def _read_all(self, *, is_whole: bool, is_first: bool = False) -> None:
        self._topic.rewind()
        self._maker.begin()
        self._is_reading_all, self._is_whole, self._is_first = True, is_whole, is_first
        self._decisive = None if self._step.per else self._decisive_events()
        self._made = 0
        self._requested.search_again()

    def _decisive_events(self) -> DecisiveEvents:
        assert self._events is not None
        condition = StepCondition(self._source, self._step)
        keeps = self._step.on_leave == "keep"
        return DecisiveEvents(self._topic, self._events, condition, self._earlier, keeps=keeps)

    def _take(self, messages: Sequence[Message], now: int, out: PageResult) -> None:
        """All of them, or none: what can fail is asked before."""
        assert self._events is not None
        decisive = self._decisive
        events = [self._events.read(one, now) for one in messages if decisive is None or decisive.takes(one)]
        if self._earlier is not None and events:
            self._earlier.load(events)
        for event in events:
            self._maker.take(event, now, out)

    def _batch(self, out: PageResult, *, is_historical: bool = False) -> Batch:
        name = self._source.name
        position: Position = {
            "topic": self._topic.position(),
            "is_reading_all": self._is_reading_all,
            "is_first": self._is_first,
            "is_again": self._is_again,
            "is_partial": self._is_partial,
            KEY: self._made_by,
            "deleted_version": self._maker.deleted_version,
        }
        resolved = [(name, id) for id in out.resolved]
        is_caught_up = self._topic.is_at_end and not self._requested
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

    def _begin(self, earlier: EarlierRecords, *, is_first: bool) -> None:
        """Notes what is there. LostPosition where that was done before, and is not known any more."""
        if not is_first:
            raise LostPosition(
                f"{self._step.id} has begun before, and Sorbus's database (SORBUS_DATABASE) doesn't know which records"
                " were there then: restore the database, or write `begin: beginning` under the step if it began so"
            )
        assert self._events is not None
        condition = StepCondition(self._source, self._step)
        self._beginning = Beginning(self._step.id, self._topic, self._events, condition, earlier, self._maker)

    def _begun(self, beginning: Beginning) -> Batch:
        if not beginning.advance():
            raise Unfinished(f"{self._step.id}: noting which records were there before", retry_after=0.0)
        self._beginning, self._is_again = None, False
        return self._batch(PageResult())

    def _made_again(self) -> Batch:
        """A part of what was asked for. Unfinished while it is searched for."""
        out, now = PageResult(), _now()
        try:
            if self._earlier is not None:
                self._earlier.ask(self._requested.named)
            found = self._requested.find(_AT_ONCE)
            if found is None:
                raise Unfinished(f"{self._step.id}: {self._topic.topic} is being read again", retry_after=0.0)
            self._take(found.messages, now, out)
        except TransientError:
            self._requested.search_again()
            raise
        for id in found.absent:
            self._maker.absent(id, now, out)
        self._requested.done(found)
        self._maker.flush(now, out)
        self._answer(now, out)
        return self._saved(self._batch(out))

    def _answer(self, now: int, out: PageResult) -> None:
        """Once all that was asked for has been searched for: the rest isn't made."""
        if not self._asked:
            return
        changed, refused = (one.id for one in out.changes), (one.id for one in out.rejects)
        self._asked.difference_update(changed, refused, out.resolved)
        if not self._is_reading_all and not self._requested:
            for id in sorted(self._asked):
                put(out, self._maker.nothing(id, now), now)
            self._asked.clear()

    def _scan(self) -> Iterator[Sequence[Change | RejectedRecord]]:
        """Each record's newest event, with nothing published before. Two passes: of all, only offsets are kept."""
        self._events = self._reading()
        self._maker.begin()
        newest: dict[bytes, tuple[tuple[int, int], int | None]] = {}
        for messages in self._topic.all_messages(_SLICE):
            for message in messages:
                id, version = bytes_of(message.key()), event_version(message)
                if id not in newest or not is_older(version, newest[id][1]):
                    newest[id] = _place(message), version
        for messages in self._topic.all_messages(_SLICE):
            out, now = PageResult(), _now()
            wanted = [one for one in messages if newest.get(bytes_of(one.key()), (None,))[0] == _place(one)]
            self._take(wanted, now, out)
            yield [*(one for one in out.changes if one.data is not None), *out.rejects]
        out, now = PageResult(), _now()
        self._maker.finish(now, out, is_whole=False)
        yield [*(one for one in out.changes if one.data is not None), *out.rejects]


def _maker(system: BoundSystem, source: BoundSource, earlier: EarlierRecords | None) -> Maker:
    step = source.options
    assert isinstance(step, StepSource)
    return GroupMaker(source, system.name) if step.per else SingleMaker(source, system.name, earlier)


def _is_same(stored: Position, topic: SourceTopic) -> bool:
    """Whether the topic holds every record that it held: the same one, with nothing cut off."""
    now = topic.position()
    begins = cast("list[int]", stored["begins"])
    return stored["id"] == now["id"] and begins == cast("list[int]", now["begins"])[: len(begins)]


def _place(message: Message) -> tuple[int, int]:
    _, number = partition_of(message)
    return number, offset_of(message)


def _now() -> int:
    return time.time_ns() // 1000
