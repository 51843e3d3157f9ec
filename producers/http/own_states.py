"""A two-way data type in an application: which of its states Sorbus wrote, and under which ids its records are known.

Polls know records by the application's own ids; on the topic they have the data type's, by the crosswalk. One that is
linked to none is published as SYSTEM/ITS-ID: the merge tells people of it, should it stay alone.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sorbus.abilities import PublishedState
from sorbus.connector import BoundSource, Change, RejectedRecord
from sorbus.identity.crosswalk import Crosswalk
from sorbus.producers.http.options import HttpSource
from sorbus.producers.polling.change_detector import ChangeDetector
from sorbus.state.database import State
from sorbus.two_way.own_writes import OwnState, OwnWrites

_AT_ONCE = 500
_LATER = 1.0
"""Seconds until a record is looked at again on which a write of ours was under way."""
_FORGET_EVERY = 10.0


class Published(NamedTuple):
    """What goes to the topic. `delivered`: (data type, id, version) -> the version that Sorbus brought."""

    changes: list[Change]
    rejects: list[RejectedRecord]
    delivered: dict[tuple[str, bytes, int], int]


class OwnStates:
    """What one two-way data type's polls have to know of Sorbus's own writes. TransientError without the state."""

    def __init__(self, source: BoundSource, system: str, state: State) -> None:
        assert isinstance(source.options, HttpSource)
        self._name, self._system, self._names_records = source.name, system, source.names_records
        self._writes = OwnWrites(state, system, source.shows)
        self._crosswalk = Crosswalk(state, system, source.shows, source.options.resource)
        self._known_as: dict[bytes, bytes] = {}
        """The application's id -> the one on the topic; as long as it is published."""
        self._external: dict[bytes, bytes] = {}
        self._stray: list[tuple[bytes, int]] = []
        self._later: dict[bytes, float] = {}
        self.applied = 0
        """All states up to this number are published, or among what `take` returned."""
        self._forgot_at = 0.0

    def remember(self, published: Iterable[PublishedState]) -> Iterator[PublishedState]:
        """What is on the topic, by the application's ids."""
        chunk: list[PublishedState] = []
        for one in published:
            chunk.append(one)
            if len(chunk) == _AT_ONCE:
                yield from self._externals(chunk)
                chunk = []
        yield from self._externals(chunk)

    def restore(self, applied: int | None) -> None:
        """Resumes after that number; None: all is read from the application anew."""
        if applied is None:
            self._writes.begin_anew()
        self.applied = applied or 0

    def begin_anew(self) -> None:
        """Nothing that was published counts any more."""
        self._known_as.clear()
        self._external.clear()
        self._stray.clear()

    def fresh(self) -> list[OwnState]:
        """The states that followed our writes since the last call, in their order."""
        found, self.applied = self._writes.fresh(self.applied, _AT_ONCE)
        return found

    def news(self, memory: ChangeDetector, now: int) -> tuple[Published, list[str]]:
        """What our writes since the last call bring, as it is published, and the ids of records to be looked at.

        `now`: microseconds since 1970, by our clock. TransientError.
        """
        found, looks = Published(self.strays(now), [], {}), list[str]()
        for state in self.fresh():
            if state.record is not None:
                taken = self.take(state, memory, now)
                found.changes.extend(taken.changes)
                found.rejects.extend(taken.rejects)
                found.delivered.update(taken.delivered)
                continue
            if self.has_moved(id := state.external_id.encode()):
                memory.doubt([id])
            looks.append(state.external_id)
        return found, [*looks, *(id.decode(errors="replace") for id in self.due())]

    def forget(self, published: int) -> None:
        """States up to this number are on the topic."""
        if time.monotonic() - self._forgot_at >= _FORGET_EVERY:
            self._forgot_at = time.monotonic()
            self._writes.published(published)

    def touched(self, ids: Collection[bytes], after: int) -> set[bytes]:
        """On which of these records a write of ours was under way since `applied` was `after`."""
        return {one.encode() for one in self._writes.touched([id.decode() for id in ids], after)}

    def later(self, id: bytes) -> None:
        """It is looked at again in a while."""
        self._later[id] = time.monotonic() + _LATER

    def due(self) -> list[bytes]:
        """What is to be looked at again now."""
        now = time.monotonic()
        found = [id for id, at in self._later.items() if at <= now]
        for id in found:
            del self._later[id]
        return found

    def external(self, ids: Sequence[bytes]) -> list[bytes]:
        """The application's ids of records that are published; of others as they are."""
        return [self._external.get(id, id) for id in ids]

    def has_moved(self, id: bytes) -> bool:
        """Whether a published record is known as another one by now."""
        return id in self._known_as and self._ids([id])[id] != self._known_as[id]

    def take(self, state: OwnState, memory: ChangeDetector, now: int) -> Published:
        """Our own write, as it is published."""
        id, topic_id = state.external_id.encode(), state.id.encode()
        assert state.record is not None
        memory.doubt([id])
        judged = memory.judge(id, state.record, now, trusted=True)
        if isinstance(judged, RejectedRecord):
            return Published([], [judged._replace(id=topic_id)], {})
        if not isinstance(judged, Change):
            return Published([], [], {})
        changes = list(self._published(judged, topic_id, memory))
        told = {} if state.version is None else {(self._name, topic_id, changes[-1].version): state.version}
        return Published(changes, [], told)

    def translate(
        self, changes: Sequence[Change], rejects: Sequence[RejectedRecord], memory: ChangeDetector
    ) -> Published:
        """What polls have found, under the ids of the topic."""
        if not changes and not rejects:
            return Published([], [], {})
        ids = self._ids([*(one.id for one in changes), *(one.id for one in rejects)])
        found: list[Change] = []
        for change in changes:
            if change.data is not None:
                found += self._published(change, ids[change.id], memory)
            elif self._names_records:
                self._known_as.pop(change.id, None)
                self._external.pop(change.id, None)
                found.append(change)
            elif (topic_id := self._known_as.pop(change.id, None)) is not None and self._is_of(topic_id, change.id):
                self._external.pop(topic_id, None)
                found.append(change._replace(id=topic_id))
        return Published(found, [one._replace(id=ids[one.id]) for one in rejects], {})

    def strays(self, now: int) -> list[Change]:
        """Deletes of what is on the topic and linked to nothing in the application any more."""
        found, self._stray = self._stray, []
        return [Change(self._name, id, max(version + 1, now), now, None) for id, version in found]

    def _published(self, change: Change, topic_id: bytes, memory: ChangeDetector) -> Iterator[Change]:
        """A record's state, and the end of the one that it was known as before."""
        id, before = change.id, self._known_as.get(change.id)
        if before is not None and before != topic_id and self._external.get(before) == id:
            del self._external[before]
            yield Change(self._name, before, change.version, change.occurred_at, None)
        other = self._external.get(topic_id)
        if other is not None and other != id:  # another one was known as this
            memory.lift(id, memory.version(other) + 1)
            self._known_as.pop(other, None)
        self._known_as[id], self._external[topic_id] = topic_id, id
        yield change._replace(id=topic_id, version=memory.version(id))

    def _is_of(self, topic_id: bytes, id: bytes) -> bool:
        """Whether a record's end is that of the one on the topic: not so where another one is that by now."""
        if self._external.get(topic_id) != id:
            return False
        text = topic_id.decode(errors="replace")
        now = self._crosswalk.external_of([text]).get(text)
        return now is None or now == id.decode(errors="replace")

    def _ids(self, ids: Sequence[bytes]) -> dict[bytes, bytes]:
        if self._names_records:
            return {id: id for id in ids}
        known: Mapping[str, str] = self._crosswalk.known_of([id.decode(errors="replace") for id in ids])
        return {
            id: known[text].encode() if (text := id.decode(errors="replace")) in known else self._alone + id
            for id in ids
        }

    @property
    def _alone(self) -> bytes:
        return f"{self._system}/".encode()

    def _externals(self, chunk: Sequence[PublishedState]) -> Iterator[PublishedState]:
        links = {} if self._names_records else self._crosswalk.find([one.id.decode(errors="replace") for one in chunk])
        for one in chunk:
            if self._names_records:
                external = one.id
            elif (link := links.get(one.id.decode(errors="replace"))) is not None and link.external_id is not None:
                external = link.external_id.encode()
            elif one.id.startswith(self._alone):
                external = one.id.removeprefix(self._alone)
            else:
                self._stray.append((one.id, one.version))
                continue
            if external in self._known_as:  # it was linked when this one was still on the topic
                self._stray.append((one.id, one.version))
                continue
            self._known_as[external], self._external[one.id] = one.id, external
            yield one._replace(id=external)
