"""The producer of a system that is asked what it has: polls its data types in turn, looks first at what was named."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

from sorbus.abilities import Notice, PublishedState
from sorbus.connector import Batch, BoundSystem, Position
from sorbus.drift.watch import DriftWatch
from sorbus.errors import LostPosition, PartialOutage, TransientError, Unfinished
from sorbus.http_api.interface import Api
from sorbus.producers.http.own_states import Published
from sorbus.producers.http.poll_position import PollPosition
from sorbus.producers.http.request_pool import RequestPool
from sorbus.producers.http.stream_poller import StreamPoller
from sorbus.producers.polling.poll_state import PageResult, parts_left

_APPLICATION, _OWN = "sorbus.application", "sorbus.own"
_OWN_EVERY = 0.2
"""Seconds between two looks at what Sorbus has written."""
_SHOW_LIFE = 0.5
"""Seconds of reading without a result after which the loop gets its turn: to commit, to hear, to be seen alive."""


_NOTE = 1.0
"""Seconds between two batches that bring nothing but a position."""


class ApiProducer(ABC):
    """Captures what an `Api` shows. What it has published it is reminded of: only what differs is an event."""

    def __init__(self, system: BoundSystem, tracks: Sequence[StreamPoller], identity: str) -> None:
        """`identity`: which system, and whose account in it; another one's position doesn't count."""
        self._system, self._tracks, self._identity = system, tracks, identity
        self._drift: DriftWatch | None = None
        self._apis: Mapping[str, Api] = {}
        self._stored: Position = {}
        self._asker = RequestPool()
        self._turn = 0
        self._noted_at = self._own_at = 0.0

    @classmethod
    def has_listed(cls, position: Position, data_type: str) -> bool:
        """See `SupportsFirstList`."""
        return PollPosition.from_json(position.get(data_type)).state.compared_at is not None

    @abstractmethod
    def _connect(self, position: Position) -> Mapping[str, Api]:
        """Data type -> where its records are asked for. AuthError, TransientError, MapError."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Ends all connections; may come without `_connect`."""

    def remember(self, data_type: str, published: Iterable[PublishedState]) -> None:
        """What is on the data type's topic."""
        for track in self._tracks:
            if track.name == data_type:
                track.remember(published)

    def take_over(self, floors: Mapping[str, int]) -> None:
        """These data types are listed anew, above these versions; what is gone is deleted as at any other time."""
        for track in self._tracks:
            if track.name in floors:
                track.take_over(floors[track.name])

    def open(self, position: Position | None) -> None:
        """Prepares to go on; the first request is the first `read`'s. LostPosition for another application."""
        position = self._same_application(position)
        self._drift = DriftWatch.of(self._system.name, self._system.topic_prefix)
        for track in self._tracks:
            own = position.get(_OWN)
            if track.own is not None:
                known = own.get(track.name) if isinstance(own, dict) else None
                track.own.restore(known if isinstance(known, int) else None)
            track.restore(position.get(track.name))
            track.begin(self._drift)
        self._stored = position
        self._apis = self._connect(position)

    def hear(self, notices: Sequence[Notice]) -> None:
        """The next `read` looks at these records."""
        for notice in notices:
            for track in self._tracks:
                if track.resource == notice.resource:
                    track.hear(notice.id, deleted=notice.deleted)

    def list_anew(self) -> None:
        """Lists every data type now."""
        for track in self._tracks:
            track.list_anew()

    def reread(self, data_type: str, ids: Sequence[bytes]) -> None:
        """Looks at these records next; where there are many, reads all."""
        for track in self._tracks:
            if track.name == data_type:
                track.reread(ids)

    def read(self, wait: float) -> Batch | None:
        """What a page or a look brought; None when nothing came within `wait` seconds.

        PartialOutage where a data type can't be read for now: the others go on. Unfinished while answers are awaited.
        """
        assert self._apis
        began = time.monotonic()
        while True:
            self._attend()
            if (batch := self._own_writes()) is not None:
                return batch
            if (batch := self._stepped() or self._noted()) is not None:
                return batch
            now, is_busy = time.monotonic(), any(track.is_busy for track in self._tracks)
            left = began + (max(wait, _SHOW_LIFE) if is_busy else wait) - now
            if left <= 0:
                if is_busy:
                    raise Unfinished(f"{self._system.name} is being read", retry_after=0.0)
                return None
            soonest = min((track.due_at() for track in self._tracks if not track.is_busy), default=float("inf"))
            if any(track.own is not None for track in self._tracks):
                left = min(left, _OWN_EVERY)
            self._asker.wait(max(0.0, min(left, soonest - time.monotonic())))

    def _own_writes(self) -> Batch | None:
        """What Sorbus has written into the application, of data types that are two-way."""
        if time.monotonic() - self._own_at < _OWN_EVERY:
            return None
        for track in self._tracks:
            if track.own is not None and (found := track.own_writes()) is not None:
                return self._published(found, None)
        self._own_at = time.monotonic()
        return None

    def _stepped(self) -> Batch | None:
        """One turn of each data type, until one has found something."""
        for _ in self._tracks:
            track = self._tracks[self._turn % len(self._tracks)]
            while not track.is_busy or track.is_answered:
                if not track.is_busy and track.due_at() > time.monotonic():
                    break
                try:
                    found = track.step(self._apis[track.name], self._asker)
                except TransientError as error:
                    outage = PartialOutage(str(error), retry_after=error.retry_after)
                    outage.dependency = error.dependency
                    raise outage from error
                batch = self._batch([found] if found else [], track.name)
                if batch is not None:
                    self._turn += 1
                    return batch
                if track.is_done:  # up to date with this one, whatever there still is to list
                    self._turn += 1
                    return None if self._is_idle() else Batch((), (), (), self._stored, True)
            self._turn += 1
        return None

    @property
    def owes(self) -> bool:
        """Whether records that `hear` or `reread` named are still to be looked at."""
        return any(track.is_told for track in self._tracks)

    @property
    def problem(self) -> str | None:
        """What can't be read just now, None for nothing."""
        return "; ".join(said for track in self._tracks if (said := track.problem)) or None

    def confirm(self, position: Position) -> None:
        """What Sorbus has noted of its own writes and is on the topic is forgotten."""
        own = position.get(_OWN)
        for track in self._tracks:
            published = own.get(track.name) if isinstance(own, dict) else None
            if track.own is not None and isinstance(published, int):
                track.own.forget(published)

    def resnapshot(self, data_types: Sequence[str]) -> None:
        """Publishes every record of these data types again, with their next list."""
        for track in self._tracks:
            if track.name in data_types:
                track.resnapshot()

    def lag(self) -> int | None:
        """An application holds nothing back."""
        return None

    def close(self) -> None:
        """Ends its connections."""
        if self._drift is not None:
            self._drift.close()
        self._disconnect()

    def _same_application(self, position: Position | None) -> Position:
        """The position, if it is one in this application: compared with another's, every record would be gone."""
        before = (position or {}).get(_APPLICATION)
        if before is None or before == self._identity:
            return dict(position or {})
        if self._system.system.on_lost_slot == "resnapshot":
            return {}
        name = self._system.name
        raise LostPosition(
            f"what is published of {name} came from another address or account ({before}), the map now says"
            f" {self._identity}: put that back, or, if it holds the same records and what it lacks is to be deleted,"
            f" write `on_lost_slot: resnapshot` under {name} in the map and start it once"
        )

    def _attend(self) -> None:  # noqa: B027 - most systems say nothing between two questions
        """Takes what the system said meanwhile; called before each step. AuthError."""

    def _more_position(self) -> Position:
        """What else a restart needs."""
        return {}

    def _noted(self) -> Batch | None:
        """A batch with nothing but a newer position, now and then."""
        now, more = time.monotonic(), self._more_position()
        if all(self._stored.get(name) == value for name, value in more.items()) or now < self._noted_at + _NOTE:
            return None
        self._noted_at = now
        self._stored = {_APPLICATION: self._identity, **self._stored, **more}
        return Batch((), (), (), self._stored, self._is_idle())

    def _is_idle(self) -> bool:
        """Whether nothing is due, and no answer awaited."""
        now = time.monotonic()
        return not any(track.is_busy or track.due_at() <= now for track in self._tracks)

    def _batch(self, found: Sequence[PageResult], data_type: str) -> Batch | None:
        """What was found, with the position after it; None when neither is new."""
        copied = next(((data_type, *one.copied) for one in found if one.copied), None)
        track = next(each for each in self._tracks if each.name == data_type)
        return self._published(track.translated(found), copied)

    def _published(self, found: Published, copied: tuple[str, int, int] | None) -> Batch | None:
        position: Position = {_APPLICATION: self._identity, **self._more_position()}
        position |= {track.name: track.position() for track in self._tracks}
        position |= parts_left(self._stored, position)
        if own := {track.name: track.own.applied for track in self._tracks if track.own is not None}:
            position[_OWN] = own  # type: ignore[assignment]  # a dict of numbers is JSON
        if not found.changes and not found.rejects and copied is None and position == self._stored:
            return None
        self._stored = position
        return Batch(found.changes, found.rejects, (), position, self._is_idle(), copied, (), found.delivered)
