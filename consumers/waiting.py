"""A flow's waiting records: which refused events may wait, which are due, which can be forgotten."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from confluent_kafka import Message

from sorbus.bus.deserialize import DecodedBatch
from sorbus.bus.kafka import Partition, partition_of
from sorbus.bus.names import Names
from sorbus.connector import BoundFlow
from sorbus.drift.watch import has_state
from sorbus.errors import AuthError, MustWait, PermanentError, SorbusError, TransientError
from sorbus.privacy.errors import Privacy
from sorbus.settings import Settings
from sorbus.state.database import State, is_not_made
from sorbus.timing.duration import parse_duration
from sorbus.waiting.events import held, message_of
from sorbus.waiting.store import Due, HeldBack, WaitingStore

LOOK = 1.0
"""Seconds between two searches for records that may resume; more where a search takes long."""
_SHARE = 0.05
_REST, _MORE = 60.0, 300.0
"""Seconds without a try, and those for which nothing is given up after that: what is needed was held up as long."""
_AGAIN = 60.0
"""Seconds until the state is asked again that refused the flow: each time is a login."""
_MAY_WAIT = ("http", "ldap", "webhook")
"""Kinds whose targets may take a record later than others."""
_log = logging.getLogger(__name__)


class FlowWaiting:
    """What waits of one flow. Any member of its group may try what is due.

    Without a state to keep it in, what must wait is a dead letter.
    """

    def __init__(self, flow: BoundFlow, privacy: Privacy, state: State | None = None) -> None:
        self._flow, self._id, self._privacy = flow, flow.flow.id, privacy
        self._limit = parse_duration(flow.flow.wait_limit)
        self._store: WaitingStore | None = WaitingStore(
            state or State.of(flow.system.topic_prefix), self._id, flow.flow.data_type, flow.system.name
        )
        kind = flow.system.system.kind
        self._events = Names(flow.system.topic_prefix).topic(flow.flow.data_type)
        self.uncounted: Collection[Partition] = ()
        """Partitions that are read again: what is deferred of them isn't counted."""
        self.on_deferred: Callable[[Mapping[int, int]], None] = lambda _: None
        """Called with how often records of partitions have been deferred."""
        self._is_needed = kind in _MAY_WAIT or flow.flow.on_incomplete != "pass"
        self._due: dict[int, Due] = {}
        self._look_at = 0.0
        self._may_hold = True
        self._is_awake = False
        """Whether all that waited at the start have been made due."""
        self._asked_at, self._goes_on_since = time.monotonic(), 0.0
        self._has_rested = False
        """Whether it had just rested when it tried last: where each turn takes as long, it is slow, and rests never."""
        self._is_steady = flow.times is None or flow.times.timing.is_real_time
        """Whether it tries all the time, unless it is paused, quiet, or its target is away."""

    def open(self) -> None:
        """Has all that wait be tried: the map may be another one by now. TransientError.

        A flow whose records seldom wait goes on while the state can't be reached, and has them tried once it can.
        """
        if self._store is None:
            return
        if not (self._is_needed or has_state(Settings())):
            self._store = None
            return
        try:
            self._wake(self._store)
        except SorbusError as error:
            if self._is_needed:
                raise
            self._without(error)

    def _without(self, error: SorbusError) -> None:
        """The flow goes on without the state for now."""
        if _is_refused(error):
            self._look_at = time.monotonic() + _AGAIN
            _log.warning("flow %s defers nothing, what should wait becomes a dead letter: %s", self._id, error)
        else:
            _log.warning("flow %s can't look at the records that wait, and tries again: %s", self._id, error)

    def _wake(self, store: WaitingStore) -> None:
        count = store.wake()
        self._goes_on_since = time.monotonic()
        self._is_awake, self._may_hold = True, self._is_needed or bool(count)
        if count:
            _log.info("%d records of flow %s wait; they are tried again", count, self._id)

    @property
    def is_needed(self) -> bool:
        """Whether the flow goes on only with the state."""
        return self._is_needed

    def counted(self) -> Mapping[int, int] | None:
        """How often records were deferred, by partition; None: nowhere. TransientError, AuthError."""
        return None if self._store is None else self._store.counted()

    def count(self, least: Mapping[int, int]) -> Mapping[int, int]:
        """Counts once more, to these at least; how often it was then. TransientError, AuthError."""
        return least if self._store is None else self._store.count(least)

    def look(self) -> None:
        """Another process may have let records in."""
        self._may_hold = True

    def due(self, most: int) -> list[Message]:
        """Those to be tried now, as if they had just arrived. TransientError.

        A flow whose records seldom wait asks only while some do, and goes on while the state can't be reached.
        """
        now = time.monotonic()
        has_rested = now - self._asked_at >= _REST
        if self._is_steady and has_rested and not self._has_rested:
            self._goes_on_since = now
        self._asked_at, self._has_rested = now, has_rested
        if self._store is None or not self._may_hold or now < self._look_at:
            return []
        try:
            if not self._is_awake:
                self._wake(self._store)
            found = self._store.take(most)
            self._may_hold = self._is_needed or bool(found) or not self._store.is_empty()
        except (TransientError, AuthError) as error:
            if self._is_needed:
                raise
            found = []
            self._without(error)
        self._look_at = max(self._look_at, now + max(LOOK, (time.monotonic() - now) / _SHARE))
        if len(found) == most:
            self._look_at = now
        messages = [message_of(due.event) for due in found]
        self._due = {id(message): due for message, due in zip(messages, found, strict=True)}
        return messages

    def admit(self, refused: Sequence[tuple[Message, PermanentError]]) -> list[tuple[Message, PermanentError]]:
        """Lets in what may wait, safely on disk, and returns the others: those are dead letters. TransientError."""
        waits: list[tuple[Message, MustWait, HeldBack]] = []
        others: list[tuple[Message, PermanentError]] = []
        for message, error in refused:
            due = self._due.get(id(message))
            if not isinstance(error, MustWait):
                others.append((message, error))
            elif self._store is None:
                others.append((message, error.refused or error))
            elif due is not None and due.is_over and error.why == "reference" and not self._least(error):
                others.append((message, self._given_up(error)))
            else:
                kept = held(message, error, self._privacy)
                kept = kept._replace(least=self._least(error), was_taken=due is not None)
                waits.append((message, error, kept))
        if waits and self._store is not None:
            try:
                places = {partition_of(message) for message, _, kept in waits if not kept.was_taken}
                of = [place[1] for place in places if place[0] == self._events and place not in self.uncounted]
                self.on_deferred(self._store.put([kept for _, _, kept in waits], limit=self._limit, of=of))
            except SorbusError as fault:
                if self._is_needed or not _is_refused(fault):
                    raise
                self._without(fault)
                return [*others, *((message, error.refused or error) for message, error, _ in waits)]
            self._may_hold = True
            _log.info("%d records of flow %s wait: %s", len(waits), self._id, waits[0][2].message)
        return others

    def settle(
        self,
        taken: DecodedBatch,
        waits: Sequence[Message],
        dead: Collection[int] = (),
        copy: Callable[[Sequence[Message]], None] = lambda _: None,
    ) -> None:
        """Of what has been taken in, all but `waits` has landed, or is `dead`: ids of messages. TransientError.

        `copy`: called with what had waited and has landed, before it is forgotten that it waited.
        """
        if self._store is None or not self._may_hold:
            return
        still = {id(message) for message in waits}
        settled = [
            ((delivery.id, delivery.version), message)
            for delivery, message in zip(taken.deliveries, taken.messages, strict=True)
            if id(message) not in still
        ]
        tried = [(due.event.key, due.event.version) for key, due in self._due.items() if key not in still]
        done = [*(state for state, _ in settled), *tried]
        self._due = {}
        try:
            if known := self._store.known(done):
                copy([message for state, message in settled if state in known and id(message) not in dead])
                self._store.settle(done)
        except (TransientError, AuthError) as error:
            if self._is_needed:
                raise
            # They are tried once more, and change nothing.
            _log.warning("flow %s can't forget yet that records which have landed waited: %s", self._id, error)

    def _least(self, error: MustWait) -> float:
        """Seconds for which a record isn't given up yet, since nothing was tried before."""
        limit = min(self._limit, error.limit or self._limit, _MORE)
        return max(0.0, self._goes_on_since + limit - time.monotonic())

    def _given_up(self, error: MustWait) -> PermanentError:
        if error.refused is not None:
            return error.refused
        told = f"{error}; it has waited for {self._flow.flow.wait_limit}"
        if not error.needs:
            then = f"{told}. Once that is put right, `sorbus dlq requeue` it"
            return PermanentError(then, reason="reference", field=error.field, rule=error.rule)
        (data_type, other, *_), system = error.needs[0], self._flow.system.name
        return PermanentError(
            f"{told}. See why {data_type} {other} doesn't reach"
            f" {system} (`sorbus dlq list`, `sorbus waiting`, the record at its owner), then `sorbus dlq requeue` this",
            reason="reference",
            field=error.field,
            value=other,
            rule=error.rule,
        )


def _is_refused(error: SorbusError) -> bool:
    """Whether the state takes nothing until a person has acted."""
    return isinstance(error, AuthError) or is_not_made(error)
