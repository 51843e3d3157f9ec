"""Replay: one flow's target is brought up to date from the topic: all of it, from a place on, or some records.

It reads beside the flow's consumer, not in its place: no offsets are touched, and the version guard makes it safe while
the consumer runs. An event of the version that the target says it has is written once more (that rebuilds an emptied
table), an older one is not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from confluent_kafka import OFFSET_END, Message, TopicPartition
from confluent_kafka import Consumer as KafkaConsumer

from sorbus import abilities
from sorbus.abilities import KeepsProgress
from sorbus.bus.kafka import bytes_of, kafka_errors, offset_of, partition_of, read_to_end, topic_reader
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.connector import BoundFlow, Consumer, Delivery
from sorbus.drift.watch import has_state
from sorbus.erased import ErasedRecords
from sorbus.errors import AuthError
from sorbus.ops.replay.job import ReplayCounts, ReplayJob
from sorbus.ops.replay.selection import Chosen, Selection, choose, start_of
from sorbus.ops.replay.topic_delivery import BATCH, Progress, Rejects, TopicDelivery
from sorbus.settings import Settings
from sorbus.state.database import State

_SAVE_EVERY = 1.0
_OF_ONE = 2**40
"""What a target notes of a replay is an offset, plus this for each replay before: of a later one it is higher."""
_log = logging.getLogger(__name__)


class Replay:
    """One replay of one flow, in place. `close` it."""

    def __init__(
        self,
        flow: BoundFlow,
        make: Callable[[], Consumer],
        settings: Settings,
        selection: Selection,
        progress: Progress = lambda _doing, _done, _total: None,
        rejects: Rejects | None = None,
    ) -> None:
        self._flow, self._make, self._settings = flow, make, settings
        self._selection, self._progress, self._rejects = selection, progress, rejects
        names = Names(flow.system.topic_prefix)
        self._topic = names.topic(flow.flow.data_type)
        self.book = SchemaResolver(settings, names, [flow.schema])
        self.reader: KafkaConsumer = topic_reader(settings, f"replay-{flow.flow.id}")
        self.chosen: Chosen | None = None
        self.counts = ReplayCounts()
        self.offsets: dict[int, int] = {}
        self._job: ReplayJob | None = None
        self._delivery: TopicDelivery | None = None
        self._saved_at = 0.0
        self._met: set[bytes] = set()
        state = State.of(flow.system.topic_prefix) if has_state(settings) else None
        self._erased = ErasedRecords(state, settings, names, flow.flow.data_type)

    @property
    def unknown(self) -> list[bytes]:
        """After `run`: ids that were named and have no event where it read; none where it was resumed."""
        is_whole = self._job is None or not self._job.stored.offsets
        return sorted((self._selection.ids or frozenset()) - self._met) if is_whole else []

    def choose(self) -> Chosen:
        """Looks for the records that are meant, each with its last event. TransientError, UsageError."""
        begin = self.begin()
        total = expected(self.reader, begin)
        doing = "looking for records"
        self.chosen = choose(
            self.reader, begin, self._flow, self.book, self._selection, lambda n: self._progress(doing, n, total)
        )
        return self.chosen

    def begin(self) -> list[TopicPartition]:
        """Where it begins, by partition."""
        return start_of(self.reader, self._topic, self._selection)

    def run(self, job: ReplayJob | None = None, first: Sequence[Delivery] = ()) -> ReplayCounts:
        """Applies what is meant, after what is to come `first`; resumes where the job stopped.

        TransientError, AuthError, ReplayCancelled.
        """
        self._job = job
        target = self._make()
        delivery = self._delivery = TopicDelivery(self._flow, target, self._settings, self.book, self._rejects)
        begin = self.begin()
        self._erased.read()
        target.open()
        if self._selection.where or self._selection.until or getattr(target, "compares", False):
            self.choose()
        if job is not None and job.stored.offsets:
            self._resume(begin, job, target)
        self.counts = self.counts._replace(total=self.counts.events + expected(self.reader, begin))
        delivery.bring_back(first)
        self._read(begin, delivery)
        self._save()
        return self.counts

    def catch_up(self) -> int:
        """After `run`: applies what has come since; how many events that were. TransientError, ReplayCancelled."""
        assert self._delivery is not None
        before = self.counts.events
        begin = [TopicPartition(self._topic, number, offset) for number, offset in sorted(self.offsets.items())]
        self._read(begin, self._delivery)
        self._save()
        return self.counts.events - before

    def close(self) -> None:
        """Disconnects."""
        self.reader.close()
        if self._delivery is not None:
            self._delivery.target.close()

    def _resume(self, begin: list[TopicPartition], job: ReplayJob, target: Consumer) -> None:
        """Where it stopped; or where the target says that it was, if that was put back to before."""
        self.counts = job.stored.counts
        reached = {int(number): offset for number, offset in job.stored.offsets.items()}
        if isinstance(target, KeepsProgress):
            noted = {number: divmod(at.offset, _OF_ONE) for number, at in target.progress(self._noted_as).items()}
            has = {number: offset for number, (job_number, offset) in noted.items() if job_number == job.stored.number}
            reached = {number: min(offset, has[number]) for number, offset in reached.items() if number in has}
        for part in begin:
            part.offset = reached.get(part.partition, part.offset)
            if part.offset >= 0:
                self.offsets[part.partition] = part.offset

    def _read(self, begin: list[TopicPartition], delivery: TopicDelivery) -> None:
        batch: list[Message] = []
        wanted: list[Message] = []
        ends: dict[tuple[str, int], int] = {}
        for message in read_to_end(self.reader, begin, ends=ends):
            batch.append(message)
            self._note(message)
            if self._is_wanted(message):
                wanted.append(message)
            if len(wanted) >= delivery.most or len(batch) >= BATCH:
                self._deliver(batch, wanted, delivery)
                batch, wanted = [], []
        self._deliver(batch, wanted, delivery)
        self.offsets |= {number: end for (_, number), end in ends.items()}

    def _deliver(self, batch: Sequence[Message], wanted: Sequence[Message], delivery: TopicDelivery) -> None:
        if wanted := self._erased.without(wanted):
            done = delivery.deliver(wanted)
            self.counts = self.counts._replace(
                applied=self.counts.applied + done.applied,
                refused=self.counts.refused + done.refused,
                waiting=self.counts.waiting + done.waiting,
            )
        events = self.counts.events + len(batch)
        self.counts = self.counts._replace(events=events, total=max(events, self.counts.total))
        self.offsets |= {partition_of(message)[1]: offset_of(message) + 1 for message in batch}
        self._progress(f"replaying {self._flow.flow.id}", events, self.counts.total)
        if time.monotonic() - self._saved_at >= _SAVE_EVERY:
            self._save()

    def _is_wanted(self, message: Message) -> bool:
        if self.chosen is not None:
            return self.chosen.takes(message)
        ids = self._selection.ids
        return ids is None or bytes_of(message.key()) in ids

    def _note(self, message: Message) -> None:
        """Of the records that were named, notes those that there are."""
        if self._selection.ids is not None and (key := bytes_of(message.key())) in self._selection.ids:
            self._met.add(key)

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        if self._job is None:
            return
        target: object = self._delivery.target if self._delivery is not None else None
        if isinstance(target, KeepsProgress) and self.offsets:
            first, now = self._job.stored.number * _OF_ONE, time.time()
            noted = {number: abilities.Progress(first + offset, now) for number, offset in self.offsets.items()}
            try:
                target.note_progress(self._noted_as, noted)
            except AuthError as error:  # it begins again where it is resumed
                _log.debug("the target notes nothing of the replay: %s", error)
        self._job.save(self.offsets, self.counts)

    @property
    def _noted_as(self) -> str:
        return f"{self._topic} replay"


def expected(reader: KafkaConsumer, partitions: list[TopicPartition]) -> int:
    """How many messages there are from these offsets on, at most."""
    total = 0
    with kafka_errors("measuring the topic"):
        for part in partitions:
            low, high = reader.get_watermark_offsets(part, timeout=15.0)
            begin = high if part.offset == OFFSET_END else max(low, part.offset)
            total += max(0, high - begin)
    return total
