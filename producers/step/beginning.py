"""How a step with `begin: now` begins: it notes every record that its topic holds, and what comes after that is new."""

from __future__ import annotations

import logging
import time
from collections.abc import Container

from sorbus.errors import PermanentError
from sorbus.producers.step.earlier_records import EarlierRecords
from sorbus.producers.step.maker import StepCondition
from sorbus.producers.step.source_event import SourceEvent, SourceEvents
from sorbus.producers.step.source_topic import SourceTopic

_AT_ONCE = 2000
_SLICE = 0.5
"""Seconds of reading after which the loop gets its turn."""
_log = logging.getLogger(__name__)


class Beginning:
    """One step's. What fails can be tried again: nothing counts as read before it is noted here."""

    def __init__(
        self,
        step: str,
        topic: SourceTopic,
        events: SourceEvents,
        condition: StepCondition,
        earlier: EarlierRecords,
        made: Container[bytes],
    ) -> None:
        """`made`: records that are made already, by a step of another name; they go on."""
        self._step, self._topic, self._events, self._condition = step, topic, events, condition
        self._earlier = earlier
        self._made = made
        self._seen: dict[bytes, tuple[int, bool | None]] = {}
        """Id -> version, and whether it fits; None: it is deleted."""

    def advance(self) -> bool:
        """Reads a part of the topic; True once all of it is noted in the database. TransientError, LostPosition."""
        if self._topic.check() or self._topic.has_grown:
            self._topic.rewind()
            self._seen.clear()
        if not self._topic.is_at_end:
            messages = self._topic.read(_SLICE, _AT_ONCE)
            for event in [self._events.read(message, time.time_ns() // 1000) for message in messages]:
                if 0 < event.version < self._seen.get(event.id, (0, None))[0]:
                    continue  # in another partition than the newer one: the topic got more of them
                if event.record is None and event.error is None:
                    self._seen[event.id] = event.version, None
                else:
                    self._seen[event.id] = event.version, event.id not in self._made and _fits(self._condition, event)
            self._topic.taken(len(messages))
            return False
        if not self._earlier.has_begun():  # else the answer of a commit was lost
            there = [(id, version, fits) for id, (version, fits) in self._seen.items() if fits is not None]
            count, fitting = self._earlier.begin(there), sum(fits for *_, fits in there)
            _log.info("%s begins now: of %d records, %d fit and make nothing", self._step, count, fitting)
        return True


def _fits(condition: StepCondition, event: SourceEvent) -> bool:
    """Whether a record fits; one that can't be decided is taken as one that was there before."""
    try:
        return event.error is not None or condition.is_met(event)
    except PermanentError:
        return True
