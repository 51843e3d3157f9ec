"""What a target refused: deferred, or a dead letter, before offsets move; and letters that are closed in turn."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from confluent_kafka import Message

from sorbus.bus.deserialize import DecodedBatch
from sorbus.bus.kafka import headers_of
from sorbus.bus.late_copies import LateCopies
from sorbus.bus.letters import Letters
from sorbus.consumers.paused_retry import PausedRetry
from sorbus.consumers.target import TargetWriter
from sorbus.consumers.waiting import FlowWaiting
from sorbus.deadletter import LETTER
from sorbus.errors import PermanentError
from sorbus.settings import Settings
from sorbus.telemetry.metrics import ConsumerMetrics

_log = logging.getLogger(__name__)


class Rejections:
    """One flow's way to its dead letters and its waiting records."""

    def __init__(
        self,
        flow: str,
        letters: Letters,
        waiting: FlowWaiting,
        target: TargetWriter,
        retry: PausedRetry,
        settings: Settings,
        metrics: ConsumerMetrics,
        copies: LateCopies,
    ) -> None:
        self._copies = copies
        self._flow, self._letters, self._waiting, self._target, self._retry = flow, letters, waiting, target, retry
        self._settings, self._metrics = settings, metrics
        self._is_loaded = False

    def load(self) -> None:
        """Reads which letters of the flow are open, unless that is known; closes those that the target has passed."""
        if self._is_loaded:
            return
        self._is_loaded = True
        self._retry.run(partial(self._letters.recall, self._settings))
        if asked := self._letters.versions():
            self._letters.overtaken(self._retry.run(partial(self._target.versions, asked)))
            self._retry.run(self._letters.flush)

    def unload(self) -> None:
        """Another process may have written letters: a member whose partitions have come, or a replay."""
        self._is_loaded = False
        self._waiting.look()

    def file(
        self, refused: Sequence[tuple[Message, PermanentError]], taken: DecodedBatch, requeued: Sequence[Message]
    ) -> int:
        """How many became dead letters. What must wait is stored, and dead letters are on the bus, when this returns.

        Letters and waiting states that have landed or are obsolete are closed. So is the letter of a state that is
        older than one that waits.
        """
        dead = self._retry.run(partial(self._waiting.admit, refused))
        rejected = {id(message) for message, _ in dead}
        waits = [message for message, _ in refused if id(message) not in rejected]
        for message, error in dead:
            letter = self._letters.write(message, error)
            self._metrics.dead_letter(error.reason)
            _log.warning("%s is a dead letter of flow %s: %s", letter.id, self._flow, letter.message)
        waiting = {id(message) for message in waits}  # each closes its letter when it lands
        self._letters.supersede(message for message in taken.messages if id(message) not in rejected)
        for message in requeued:
            if id(message) not in rejected and id(message) not in waiting:
                self._letters.close(dict(headers_of(message)).get(LETTER))
        self._retry.run(self._letters.flush)
        self._retry.run(partial(self._waiting.settle, taken, waits, rejected, self._copy))
        return len(dead)

    def _copy(self, landed: Sequence[Message]) -> None:
        """For a target that is in an earlier state later on, where that would be noticed."""
        if self._target.keeps_progress:
            self._copies.write(landed)
