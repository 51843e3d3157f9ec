"""Waiting until a flow has applied what its owner held at a moment: before that, a difference is a change in flight."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from confluent_kafka import KafkaError, Message

from sorbus.bus.controls import ControlReader
from sorbus.bus.kafka import admin, all_partitions, as_error, bytes_of, kafka_errors, topic_reader
from sorbus.bus.names import Names
from sorbus.bus.positions import opened_position
from sorbus.checksums import SupportsMarks
from sorbus.connector import BoundFlow, BoundSystem, Position
from sorbus.ops.monitoring.committed import Committed
from sorbus.ops.monitoring.consumer_lag import Span, UnreadReader
from sorbus.ops.monitoring.offsets import Part, ends, partitions_of
from sorbus.ops.reconcile.finding import Behind
from sorbus.settings import Settings

_ASK_EVERY = 0.1
_SHORTEST = 1.0
_LOOK_AGAIN = 10.0
"""Seconds: about what a change takes that nothing holds up; how often to look whether the flow has caught up."""


class Patience:
    """Waits for a flow again and again, at most `seconds` for what doesn't come; then it only looks now and then."""

    def __init__(self, barrier: FlowBarrier, seconds: float) -> None:
        self._barrier, self._left = barrier, seconds
        self._behind: Behind | None = None
        self._until = 0.0

    def __call__(self) -> Behind | None:
        """See `FlowBarrier.pass_now`."""
        began = time.monotonic()
        if self._behind is not None and began < self._until:
            return self._behind
        self._behind = self._barrier.pass_now(max(self._left, _SHORTEST))
        if self._behind is not None:
            ended = time.monotonic()
            self._left -= ended - began
            self._until = ended + _LOOK_AGAIN
        return self._behind


class FlowBarrier:
    """Waits for one flow: its owner's producer, then its consumer."""

    def __init__(self, flow: BoundFlow, owner: BoundSystem, producer: SupportsMarks | None, settings: Settings) -> None:
        """`producer` None: only what is published counts. TransientError, AuthError."""
        self._flow, self._owner, self._producer = flow, owner, producer
        self._names = Names(flow.system.topic_prefix)
        self._position: Position | None = None
        self._admin = admin(settings)
        self._committed = Committed(settings)
        self._unread = UnreadReader(settings)
        self._controls = ControlReader(settings, self._names)
        self._positions = topic_reader(settings, f"reconcile-{flow.flow.id}")
        topic = self._names.positions
        with kafka_errors(f"reading {topic}"):
            # A mark makes the producer store its position, so only what is stored from now on matters.
            parts = all_partitions(self._positions, topic)
            for part in parts:
                part.offset = self._positions.get_watermark_offsets(part, timeout=15.0)[1]
            self._positions.assign(parts)

    def pass_now(self, seconds: float, beat: Callable[[], None] = lambda: None) -> Behind | None:
        """Waits until everything that the owner held when this was called is in the target, at most `seconds`.

        None when it is; otherwise who is behind. Calls `beat` while it waits.
        """
        deadline = time.monotonic() + seconds
        data_type = self._flow.flow.data_type
        if self._producer is not None:
            mark = self._producer.mark(self._owner)
            while self._position is None or not self._producer.has_passed(self._position, mark, data_type):
                if time.monotonic() > deadline:
                    return Behind("producer_behind", f"the producer of {self._owner.name} hasn't published it yet")
                beat()
                self._follow()
        group, topic = self._names.group(self._flow.flow.id), self._names.topic(data_type)
        parts = partitions_of(self._admin, [topic]).get(topic, [])
        until = ends(self._admin, parts)
        while behind := self._behind(group, until):
            if (pause := self._controls.of(self._flow.flow.id).pause) is not None:
                told = f"flow {self._flow.flow.id} is {pause.words}; it is {behind:,} messages behind"
                return Behind("flow_paused", told)
            if time.monotonic() > deadline:
                return Behind("flow_behind", f"flow {self._flow.flow.id} is {behind:,} messages behind{self._when()}")
            beat()
            time.sleep(_ASK_EVERY)
        return None

    def close(self) -> None:
        """Disconnects."""
        with kafka_errors("closing readers"):
            self._positions.close()
        self._unread.close()
        self._controls.close()
        self._committed.close()

    def _when(self) -> str:
        """When it delivers, unless that is always."""
        id, times = self._flow.flow.id, self._flow.times
        words = "" if times is None else times.words(datetime.now(UTC))
        return f"; {words}, or now with `sorbus sync {id}`" if words else ""

    def _behind(self, group: str, until: dict[Part, int]) -> int:
        """Messages before `until` that the group has yet to deliver."""
        committed = self._committed.ask({group: list(until)})[group]
        left = {}
        for part, end in until.items():
            place = committed.get(part)
            if end > (0 if place is None else place.offset):
                left[part] = Span(0 if place is None else place.offset, end)
        found = self._unread.look(group, left) if left else {}
        return sum(unread.records for unread in found.values())

    def _follow(self) -> None:
        """Takes the positions stored meanwhile."""
        with kafka_errors(f"reading {self._names.positions}"):
            messages = self._positions.consume(100, _ASK_EVERY)
        for message in messages:
            if (failure := message.error()) is None:
                self._take(message)
            elif failure.code() != KafkaError._PARTITION_EOF:
                raise as_error(failure, f"reading {self._names.positions}")

    def _take(self, message: Message) -> None:
        if bytes_of(message.key()).decode(errors="replace") == self._owner.name:
            value = message.value()
            if value is None:
                self._position = None
            elif (position := opened_position(bytes_of(value))) is not None:
                self._position = position
