"""Copies of records that had waited, on their flow's requeue topic once they have landed.

A record that waited lands later than its place on its topic says, so that place doesn't show whether a target that was
put back has it. The copy's place does: it is written after the record has landed, and the flow reads it like any other.
It changes nothing in a target that has the record.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from confluent_kafka import Message, Producer

from sorbus.bus.deserialize import without_replayed
from sorbus.bus.kafka import bytes_of
from sorbus.bus.sending import Single, TooLarge, send

_log = logging.getLogger(__name__)


class LateCopies:
    """One flow's. `requeue`: its topic of letters that are sent again."""

    def __init__(self, flow: str, requeue: str, make_producer: Callable[[], Producer]) -> None:
        """`make_producer` is called once there is one: in most flows nothing waits."""
        self._flow, self._requeue, self._make_producer = flow, requeue, make_producer
        self._producer: Producer | None = None

    def write(self, landed: Sequence[Message]) -> None:
        """When it returns, Kafka has them. TransientError."""
        if not landed:
            return
        if self._producer is None:
            self._producer = self._make_producer()
        try:
            send(self._producer, map(self._copy, landed), "copying records that had waited")
        except TooLarge as error:
            _log.warning(
                "flow %s: %s; a backup that is older than now lacks %d records, and needs `sorbus replay %s` once it is"
                " put back",
                self._flow,
                error,
                len(error.keys),
                self._flow,
            )

    def _copy(self, message: Message) -> Single:
        value = message.value()
        frame = None if value is None else bytes_of(value)
        return Single(self._requeue, bytes_of(message.key()), frame, without_replayed(message))
