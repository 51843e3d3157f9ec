"""A flow's target as the loop sees it: its connector is opened when needed, closed after a fault, and opened again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sorbus.abilities import (
    KeepsProgress,
    Progress,
    SupportsAppliedVersions,
    SupportsHealthCheck,
    SupportsOutcomes,
    SupportsVersions,
    TellsSubmitted,
)
from sorbus.connector import Consumer, Delivery, RejectedDelivery
from sorbus.consumers.batch_size import BatchSize
from sorbus.errors import AuthError, TransientError
from sorbus.obsolete import still_needed
from sorbus.privacy.errors import Privacy
from sorbus.schema import RecordSchema
from sorbus.waiting.complete import Completing

_AT_ONCE = 1000
_NO_RECORD = RecordSchema("none", (), {"type": "record", "name": "none", "fields": []})
_log = logging.getLogger(__name__)


class TargetWriter:
    """Applies deliveries by a connector that `make` makes."""

    def __init__(self, make: Callable[[], Consumer], flow: str, privacy: Privacy, size: BatchSize) -> None:
        self._make, self._flow, self._privacy, self._size = make, flow, privacy, size
        self._consumer: Consumer | None = None
        self.session = 0
        """Counts how often it was opened."""
        self.on_opened: Callable[[], None] = lambda: None
        """Called each time that it was opened. Its TransientError and AuthError close it again."""
        self.on_submitted: Callable[[], None] | None = None
        """Called once all of a batch has been sent to the target, where it tells so."""

    def open(self) -> Consumer:
        """The connector, opened; one whose opening failed is never kept. TransientError, AuthError, MapError."""
        if self._consumer is None:
            consumer = self._make()
            try:
                consumer.open()
            except BaseException:
                consumer.close()
                raise
            self._consumer = consumer
            self.session += 1
            self._size.bound(getattr(consumer, "batch", self._size.limit))
            self.on_opened()
        return self._consumer

    def apply(
        self, deliveries: Sequence[Delivery], *, alone: bool, again: bool = False
    ) -> tuple[int, list[RejectedDelivery]]:
        """Applies the first of them, all unless the target asked for less at a time: how many, and what it refused.

        What is older than the target's state isn't among the refused: it changes nothing. `alone`, `again`: as for
        `Consumer.apply`. TransientError, AuthError, Unfinished.
        """
        consumer = self.open()
        if isinstance(consumer, TellsSubmitted):
            consumer.on_submitted = self.on_submitted
        part = self._size.part(deliveries)
        began = time.monotonic()
        try:
            rejected = consumer.apply(part, again=again, alone=alone)
            rejected = still_needed(consumer, part, rejected, again=again)
        except (TransientError, AuthError) as error:
            if isinstance(error, TransientError) and error.smaller:
                self._size.too_large(len(part))
            self.close()
            raise self._privacy.fault(error, part) from None
        self._size.applied(len(part), time.monotonic() - began)
        return len(part), rejected

    def newer(self, deliveries: Sequence[Delivery]) -> Mapping[bytes, int] | None:
        """Of applied deliveries, the ids of which the target has newer versions, with these; None: it can't tell."""
        consumer: object = self._consumer
        if not isinstance(consumer, SupportsVersions):
            return None
        try:
            return consumer.newer(deliveries)
        except TransientError as error:  # what landed has landed
            _log.debug("flow %s: the target's versions can't be read: %s", self._flow, error)
            return None

    def versions(self, records: Iterable[tuple[bytes, int]]) -> dict[bytes, int]:
        """Of records (id, any version): id -> the version that the target has, where it can tell. TransientError,
        AuthError.
        """
        consumer: object = self.open()
        if not isinstance(consumer, SupportsAppliedVersions):
            return {}
        asked = [Delivery(id, version, True, _NO_RECORD, b"", 0) for id, version in records]
        found: dict[bytes, int] = {}
        with self._closed_by_faults():
            for at in range(0, len(asked), _AT_ONCE):
                found |= consumer.versions(asked[at : at + _AT_ONCE])
        return found

    def lacks(self, applied: Mapping[bytes, int]) -> bool:
        """Whether it has less than these versions, which it was seen to have. TransientError, AuthError."""
        has = self.versions(applied.items())
        return any(has.get(id, -1) < version for id, version in applied.items())

    @property
    def keeps_progress(self) -> bool:
        """Whether an earlier state of the open target is to be noticed."""
        return isinstance(self._consumer, KeepsProgress)

    @property
    def is_open(self) -> bool:
        return self._consumer is not None

    def progress(self, topic: str) -> Mapping[int, Progress] | None:
        """What the open target has noted of a topic; None: it notes nothing. TransientError, AuthError."""
        consumer: object = self._consumer
        if not isinstance(consumer, KeepsProgress):
            return None
        with self._closed_by_faults():
            return consumer.progress(topic)

    def note_progress(self, topic: str, offsets: Mapping[int, Progress]) -> None:
        """Has the target, which `keeps_progress`, note these. TransientError, AuthError: it hasn't."""
        consumer: object = self._consumer
        assert isinstance(consumer, KeepsProgress)
        consumer.note_progress(topic, offsets)

    def outcomes(self) -> Mapping[str, int] | None:
        """What was done since the last call; None: the target can't tell."""
        consumer: object = self._consumer
        return consumer.take_outcomes() if isinstance(consumer, SupportsOutcomes | Completing) else None

    def check(self) -> None:
        """Notices a target that goes away while nothing is to be delivered. TransientError, AuthError."""
        consumer = self.open()
        if not isinstance(consumer, SupportsHealthCheck):
            return
        with self._closed_by_faults():
            consumer.check()

    def close(self) -> None:
        """Disconnects, until it is needed again."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    @contextmanager
    def _closed_by_faults(self) -> Iterator[None]:
        try:
            yield
        except (TransientError, AuthError):
            self.close()
            raise
