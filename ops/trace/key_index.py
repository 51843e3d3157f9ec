"""Where a topic may hold a record's events: an index in Sorbus's database, made of what was read before.

It holds a filter for each stretch of 16,384 offsets, two bytes an event. Who searches reads the stretches that may hold
the key and those without a filter, and stores the filters of the latter, so that each is read in vain once. Compaction
only takes messages away: a filter stays true. It belongs to a topic's id in Kafka; a recreated topic begins anew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from sorbus.bus.kafka import admin, as_error, bytes_of, kafka_errors, offset_of, topic_reader
from sorbus.bus.record import partition_of_key
from sorbus.bus.topic_facts import TopicFacts, topic_facts
from sorbus.errors import SorbusError, TransientError
from sorbus.ops.trace.key_filter import WINDOW, filter_of, key_bits
from sorbus.settings import Settings
from sorbus.state.database import State

MOST = 1000
"""Events of one record that are kept: the newest."""
_FOLDER = Path(__file__).parent / "sql"
_FIND, _STORE = (_FOLDER / "find_windows.sql").read_bytes(), (_FOLDER / "store_windows.sql").read_bytes()
_AT_ONCE = 16
_PATIENCE = 30.0
_log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
"""Called with the events read so far, and how many there are to be read."""


class FoundMessages(NamedTuple):
    """A record's messages, oldest first; `unread`: what was not searched, in a sentence, "" where all was."""

    messages: list[Message]
    unread: str


class _Run(NamedTuple):
    """Offsets of a partition to be read, from `first` to before `stop`; `is_new`: they have no filters yet."""

    partition: int
    first: int
    stop: int
    is_new: bool


class KeyIndex:
    """One topic's. `state` None: nothing is known before, and nothing is stored."""

    def __init__(self, settings: Settings, state: State | None, topic: str) -> None:
        self._settings, self._state, self._topic = settings, state, topic

    def find(self, key: bytes, *, patience: float | None = None, progress: Progress | None = None) -> FoundMessages:
        """All messages of a key, its own partition first. TransientError without Kafka.

        Newest first, and no stretch is begun after `patience` seconds: what is left is named in `unread`.
        """
        facts = self._facts()
        if facts is None:
            return FoundMessages([], "")
        count = len(facts.begins)
        own = partition_of_key(self._settings, key, count)
        chosen = [[own], [part for part in range(count) if part != own]] if own is not None else [list(range(count))]
        deadline = None if patience is None else time.monotonic() + patience
        reader = topic_reader(self._settings, "trace")
        try:
            for partitions in chosen:
                found = self._find(reader, facts, partitions, key, deadline, progress)
                if found.messages or found.unread:
                    return found
        finally:
            reader.close()
        return FoundMessages([], "")

    def extend(self, *, pace: float) -> int:
        """Stores the filters that are missing, with a pause of `pace` seconds after each; how many.

        TransientError without Kafka or the state database.
        """
        facts = self._facts()
        if facts is None or self._state is None:
            return 0
        made, reader = 0, topic_reader(self._settings, "trace-index")
        try:
            for run in self._runs(facts, range(len(facts.begins)), b""):
                whole = run._replace(stop=run.stop // WINDOW * WINDOW)
                for first in range(whole.first, whole.stop, WINDOW) if whole.is_new else ():
                    part = whole._replace(first=first, stop=min(whole.stop, (first // WINDOW + 1) * WINDOW))
                    for _ in self._read(reader, facts, part):
                        pass
                    made += 1
                    time.sleep(pace)
        finally:
            reader.close()
        return made

    def _facts(self) -> TopicFacts | None:
        client = admin(self._settings)
        return topic_facts(client, [self._topic]).get(self._topic)

    def _find(
        self,
        reader: Consumer,
        facts: TopicFacts,
        partitions: Sequence[int],
        key: bytes,
        deadline: float | None,
        progress: Progress | None,
    ) -> FoundMessages:
        runs = self._runs(facts, partitions, key)
        total, done, left = sum(run.stop - run.first for run in runs), 0, ""
        found: list[Message] = []
        for run in sorted(runs, key=lambda run: run.stop - facts.ends[run.partition], reverse=True):
            if (deadline is not None and time.monotonic() > deadline) or len(found) >= MOST:
                left = f"older events of it may be on {self._topic}: {total - done:,} messages were not searched"
                break
            for messages in self._read(reader, facts, run):
                found += [message for message in messages if message.key() == key]
                if progress is not None:
                    progress(done + offset_of(messages[-1]) + 1 - run.first, total)
            done += run.stop - run.first
        found.sort(key=lambda one: (one.timestamp()[1], one.partition() or 0, one.offset() or 0))
        return FoundMessages(found[-MOST:], left)

    def _runs(self, facts: TopicFacts, partitions: Sequence[int], key: bytes) -> list[_Run]:
        """What is to be read: neighbours are one run."""
        may_hold = self._known(facts, partitions, key)
        runs: list[_Run] = []
        for partition in partitions:
            begin, end = facts.begins[partition], facts.ends[partition]
            for number in range(begin // WINDOW, -(-end // WINDOW)):
                known = may_hold.get((partition, number))
                if known is False:
                    continue
                first, stop = max(begin, number * WINDOW), min(end, (number + 1) * WINDOW)
                last = runs[-1] if runs else None
                if last and (last.partition, last.stop, last.is_new) == (partition, first, known is None):
                    runs[-1] = last._replace(stop=stop)
                elif first < stop:
                    runs.append(_Run(partition, first, stop, known is None))
        return runs

    def _known(self, facts: TopicFacts, partitions: Sequence[int], key: bytes) -> dict[tuple[int, int], bool]:
        if self._state is None:
            return {}
        first, second = key_bits(key)
        wanted = {"topic_id": facts.id, "partitions": list(partitions), "first": first, "second": second}
        try:
            rows = cast("list[tuple[int, int, bool]]", self._state.run(_FIND, wanted))
        except SorbusError as error:  # it is only slower without
            _log.info("the index of %s can't be read: %s", self._topic, error)
            return {}
        return {(partition, number): may for partition, number, may in rows}

    def _read(self, reader: Consumer, facts: TopicFacts, run: _Run) -> Iterator[list[Message]]:
        """A run's messages, as they come; the filters of its whole stretches are stored."""
        keys: dict[int, set[bytes]] = {}
        through, number = run.first, -(-run.first // WINDOW)
        if run.first == facts.begins[run.partition]:
            number = run.first // WINDOW  # what was before its first offset is gone
        with kafka_errors(f"reading {self._topic}"):
            reader.assign([TopicPartition(self._topic, run.partition, run.first)])
        patience, is_read = _PATIENCE, False
        while through < run.stop and not is_read:
            with kafka_errors(f"reading {self._topic}"):
                messages = reader.consume(1, 1.0)
                messages += reader.consume(4999, 0.01) if messages else []
            if not messages:
                patience -= 1.0
                if patience <= 0:
                    raise TransientError(f"reading {self._topic}: Kafka sent nothing for a while")
                continue
            patience, through = _PATIENCE, max(through, offset_of(messages[-1]))
            failures = [failure for message in messages if (failure := message.error()) is not None]
            for failure in failures:
                if failure.code() != KafkaError._PARTITION_EOF:
                    raise as_error(failure, f"reading {self._topic}")
                is_read = True
            if failures or through >= run.stop:
                messages = [one for one in messages if one.error() is None and offset_of(one) < run.stop]
            if run.is_new:
                for message in messages:
                    keys.setdefault(offset_of(message) // WINDOW, set()).add(bytes_of(message.key()))
                if len(keys) > _AT_ONCE:
                    number = self._store(facts, run, keys, number, through)
            if messages:
                yield messages
        self._store(facts, run, keys, number, through)

    def _store(self, facts: TopicFacts, run: _Run, keys: dict[int, set[bytes]], number: int, through: int) -> int:
        """Stores the filters of stretches from `number` on that were passed; the next number."""
        end = max(number, min(through, run.stop) // WINDOW)
        filters = [filter_of(keys.pop(n, ())) for n in range(number, end)]
        if filters and run.is_new and self._state is not None:
            values = {
                "topic": self._topic,
                "topic_id": facts.id,
                "partition": run.partition,
                "begin": facts.begins[run.partition] // WINDOW,
                "numbers": list(range(number, end)),
                "filters": filters,
            }
            try:
                self._state.run(_STORE, values)
            except SorbusError as error:
                _log.info("the index of %s can't be stored: %s", self._topic, error)
        return end
