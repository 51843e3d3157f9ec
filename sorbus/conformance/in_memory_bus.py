"""A topic and a loop in memory: publishes a producer's batches by the rules of the real ones."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

from sorbus.abilities import PublishedState, SupportsState
from sorbus.conformance.sample_type import NAME, Thing, decode, difference, retained
from sorbus.conformance.source import Source
from sorbus.connector import Batch, Position, Producer
from sorbus.errors import TransientError, Unfinished

_NOTICED = 10.0
"""Seconds within which a source notices that a producer has died."""


class RetainedState(NamedTuple):
    """The last event of a record: `data` None if it was deleted."""

    version: int
    occurred_at: int
    data: bytes | None


class InMemoryBus:
    """The published events, and the position published with them. Fails if a batch breaks a rule."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.states: dict[str, RetainedState] = {}
        self.rejected: dict[str, str] = {}
        self.position: Position | None = None
        self.events: list[tuple[str, RetainedState]] = []
        self._producer: Producer | None = None
        self._has_crashed = False

    def copy(self) -> InMemoryBus:
        """A copy of what is published so far, for another producer."""
        other = InMemoryBus(self.source)
        other.states, other.rejected = dict(self.states), dict(self.rejected)
        other.position, other.events = self.position, list(self.events)
        return other

    def producer(self) -> Producer:
        """The running producer, opened at the published position."""
        # The source may need a moment to notice that the previous one is dead.
        deadline = time.monotonic() + (_NOTICED if self._has_crashed else 0.0)
        while self._producer is None:
            try:
                self._producer = self._begin()
                self._has_crashed = False
            except TransientError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.05)
        return self._producer

    def _begin(self) -> Producer:
        producer = self.source.producer()
        if isinstance(producer, SupportsState):
            producer.remember(NAME, self._published())
        try:
            producer.open(self.position)
        except BaseException:
            producer.close()
            raise
        return producer

    def read(self, wait: float = 0.2) -> Batch | None:
        """The next batch, not published."""
        return self.producer().read(wait)

    def publish(self, batch: Batch) -> None:
        """Publishes a batch with its position, and confirms it to the producer."""
        for sweep in batch.sweeps:
            for id, state in list(self.states.items()):
                spared = sweep.spares_rejected and id in self.rejected
                if state.data is not None and state.version < sweep.version and not spared:
                    self._take(id, RetainedState(sweep.version, sweep.occurred_at, None))
        for change in batch.changes:
            assert change.data_type == NAME, f"a change of {change.data_type!r}, which this source doesn't own"
            assert isinstance(change.id, bytes), f"the id {change.id!r} isn't bytes"
            assert change.id, "a change without an id"
            assert 946_684_800_000_000 <= change.occurred_at < 4_102_444_800_000_000, (
                f"occurred_at is {change.occurred_at}, but must be in microseconds since 1970"
            )
            self._take(change.id.decode(), RetainedState(change.version, change.occurred_at, change.data))
        for reject in batch.rejects:
            if self.states.get(reject.id.decode(), RetainedState(-1, 0, None)).version < reject.version:
                self.rejected[reject.id.decode()] = str(reject.error)
        text = json.dumps(batch.position)
        self.position = cast("Position", json.loads(text))
        if self._producer is not None:
            self._producer.confirm(self.position)

    def step(self) -> bool:
        """Reads and publishes once; False if nothing new arrived. A transient error closes the producer."""
        try:
            batch = self.read()
        except Unfinished as error:
            time.sleep(max(0.0, min(error.retry_after, 0.2)))
            return True
        except TransientError:
            if not isinstance(self._producer, SupportsState):  # a poll is called again without reopening
                self.close()
            raise
        if batch is None:
            return False
        self.publish(batch)
        return bool(batch.changes or batch.rejects or batch.sweeps) or not batch.caught_up

    def until(self, is_so: Callable[[], bool], missing: Callable[[], str]) -> None:
        """Reads and publishes until `is_so`; transient errors are retried, as in the loop."""
        deadline = time.monotonic() + self.source.patience
        last: TransientError | None = None
        while True:
            try:
                more = self.step()
            except TransientError as error:
                last, more = error, False
                time.sleep(0.05)
            if not more and is_so():
                return
            assert time.monotonic() < deadline, f"after {self.source.patience:.0f} s: {missing()}" + (
                f"\nlast fault: {last}" if last else ""
            )

    def until_live(self, things: Mapping[str, Thing]) -> None:
        """Until exactly these things are on the topic."""
        wanted = retained(things, self.source.fields)
        self.until(lambda: self.live() == wanted, lambda: difference(self.live(), wanted))

    def live(self) -> dict[str, dict[str, object]]:
        """The things currently on the topic."""
        found = {id: decode(state.data) for id, state in self.states.items() if state.data is not None}
        return retained(found, self.source.fields)

    def crash(self) -> None:
        """The producer dies, with whatever it had read."""
        self._has_crashed = self._producer is not None
        self.close()

    def close(self) -> None:
        """Closes the producer."""
        if self._producer is not None:
            self._producer.close()
            self._producer = None

    def _take(self, id: str, state: RetainedState) -> None:
        before = self.states.get(id)
        assert before is None or state.version > before.version, (
            f"{id} went from version {before.version if before else None} to {state.version}: versions only grow"
        )
        assert state.version > 0, f"{id} has version {state.version}"
        if state.data is not None:
            decode(state.data)
        self.states[id] = state
        self.rejected.pop(id, None)
        self.events.append((id, state))

    def _published(self) -> list[PublishedState]:
        return [
            PublishedState(id.encode(), state.version, state.occurred_at, b"" if id in self.rejected else state.data)
            for id, state in self.states.items()
            if state.data is not None
        ]
