"""Delivering messages of a topic to one flow's target beside its consumer, and filing what the target refuses."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import NamedTuple, Protocol

from confluent_kafka import Message, Producer

from sorbus.abilities import KeepsProgress
from sorbus.bus.deserialize import DecodedBatch, decode_batch, replayed
from sorbus.bus.kafka import bytes_of, idempotent_producer
from sorbus.bus.late_copies import LateCopies
from sorbus.bus.letters import Letters
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.bus.sending import Single, send
from sorbus.connector import BoundFlow, Consumer, Delivery, RejectedDelivery, consumer_connector
from sorbus.deadletter import FILED
from sorbus.drift.watch import has_state
from sorbus.errors import AuthError, MustWait, PermanentError, TransientError, Unfinished
from sorbus.obsolete import still_needed
from sorbus.privacy.errors import Privacy, flow_privacy
from sorbus.settings import Settings
from sorbus.state.database import State
from sorbus.timing.duration import parse_duration
from sorbus.waiting.events import held
from sorbus.waiting.store import WaitingStore

_log = logging.getLogger(__name__)
Refused = list[tuple[Message, PermanentError]]
BATCH = 5000


class Delivered(NamedTuple):
    """What a batch did: newest states applied, dead letters written, records that wait."""

    applied: int
    refused: int
    waiting: int


class Rejects(Protocol):
    """Where records go that the target refuses."""

    def file(self, taken: DecodedBatch, refused: Refused) -> tuple[int, int]:
        """Files them durably; how many are dead letters and how many wait. TransientError."""


class FlowRejects:
    """As the flow's consumer does it: dead letters on the topic, waiting records in Sorbus's database."""

    def __init__(self, flow: BoundFlow, privacy: Privacy, settings: Settings, *, keeps_progress: bool) -> None:
        """`keeps_progress`: what lands is copied where a dead letter said that it was missing; see `LateCopies`."""
        names = Names(flow.system.topic_prefix)
        self._privacy, self._requeue = privacy, names.requeue(flow.flow.id)
        self._make_producer = partial(idempotent_producer, settings, f"replay-{flow.flow.id}")
        self._letters = Letters(lambda: self._producer, names, flow, privacy)
        self._copies = LateCopies(flow.flow.id, self._requeue, lambda: self._producer) if keeps_progress else None
        self._letters.recall(settings)
        self._room: WaitingStore | None = None
        if has_state(settings) or flow.flow.on_incomplete != "pass":
            self._room = WaitingStore(
                State.of(flow.system.topic_prefix), flow.flow.id, flow.flow.data_type, flow.system.name
            )
        self._limit = parse_duration(flow.flow.wait_limit)

    def file(self, taken: DecodedBatch, refused: Refused) -> tuple[int, int]:
        """See `Rejects`; what landed closes the dead letters that it makes obsolete.

        The flow's consumer, if it runs, is told to look for what was filed.
        """
        waits: list[tuple[Message, MustWait]] = []
        dead: Refused = []
        for message, error in refused:
            if not isinstance(error, MustWait):
                dead.append((message, error))
            elif self._room is None:
                dead.append((message, error.refused or error))
            else:
                waits.append((message, error))
        if self._room is not None:
            self._room.put(
                [held(replayed(message), error, self._privacy) for message, error in waits], limit=self._limit
            )
        for message, error in dead:
            self._letters.write(replayed(message), error)
        bad, late = {id(message) for message, _ in dead}, {id(message) for message, _ in waits}
        closing = self._letters.supersede(message for message in taken.messages if id(message) not in bad)
        if self._copies is not None:
            self._copies.write([message for message in closing if id(message) not in late])
        self._letters.flush()
        if refused:
            send(self._producer, [Single(self._requeue, FILED.encode(), None, [(FILED, b"1")])], "telling the flow")
        return len(dead), len(waits)

    @cached_property
    def _producer(self) -> Producer:
        return self._make_producer()


class TopicDelivery:
    """Delivers batches to an open target. What it delivers is historical."""

    def __init__(
        self,
        flow: BoundFlow,
        target: Consumer,
        settings: Settings,
        book: SchemaResolver,
        rejects: Rejects | None = None,
    ) -> None:
        """`rejects` None: the flow's own. TransientError, AuthError."""
        self.target, self.book = target, book
        resources = consumer_connector(flow.system.system.kind).resources_of(flow.options)
        self._privacy = flow_privacy(flow, self.book.schema, resources)
        keeps_progress = isinstance(target, KeepsProgress)
        self._rejects = rejects or FlowRejects(flow, self._privacy, settings, keeps_progress=keeps_progress)
        self._keeps_deleted = flow.flow.deletes == "soft"
        self.most = min(BATCH, getattr(target, "batch", BATCH))

    def deliver(self, batch: Sequence[Message]) -> Delivered:
        """Applies the newest state of each record. TransientError, AuthError."""
        taken = decode_batch(batch, self.book, keeps_deleted=self._keeps_deleted)
        ahead = taken.ahead
        refusals = self._apply(taken.deliveries[:ahead])
        refusals += [one._replace(place=one.place + ahead) for one in self._apply(taken.deliveries[ahead:])]
        refused = [*taken.refused, *((taken.messages[one.place], one.error) for one in refusals)]
        dead, waiting = self._rejects.file(taken, refused)
        return Delivered(len(taken.deliveries) - len(refusals), dead, waiting)

    def bring_back(self, first: Sequence[Delivery]) -> None:
        """Deleted records that the target keeps: states before deletes, since a batch holds one event of a record.

        One whose last state the target refuses has no row, as in the flow; a warning names it.
        """
        refused: list[tuple[Delivery, PermanentError]] = []
        for part in ([one for one in first if not one.deleted], [one for one in first if one.deleted]):
            for at in range(0, len(part), BATCH):
                some = part[at : at + BATCH]
                refused += [(some[one.place], one.error) for one in self._apply(some)]
        if refused:
            example, error = refused[0]
            _log.warning(
                "%d deleted records aren't brought back, since the target refuses their last states: %s: %s",
                len(refused),
                example.id.decode(errors="replace"),
                self._privacy.error(error, example.id, example.data),
            )

    def _apply(self, found: Sequence[Delivery]) -> list[RejectedDelivery]:
        deliveries = [one._replace(historical=True) for one in found]
        while deliveries:
            try:
                rejected = self.target.apply(deliveries, again=True, alone=True)
                return still_needed(self.target, deliveries, rejected, again=True)
            except Unfinished as error:
                time.sleep(error.retry_after)
            except (TransientError, AuthError) as error:
                raise self._privacy.fault(error, deliveries) from None
        return []


Progress = Callable[[str, int, int], None]
"""Called with what is being done, how far it is, and how far it goes."""


def key_of(message: Message) -> bytes:
    """The record's id."""
    return bytes_of(message.key())
