"""Replay: one flow's target is brought up to date from the topic, from the beginning or a point in time.

It reads beside the flow's consumer, not in its place: no offsets are touched, and the version guard makes it safe while
the consumer runs. An event of the version that the target says it has is written once more (that rebuilds an emptied
table), an older one is not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from confluent_kafka import OFFSET_END, Message, TopicPartition
from confluent_kafka import Consumer as KafkaConsumer

from sorbus.bus.deserialize import DecodedBatch, decode_batch
from sorbus.bus.kafka import all_partitions, idempotent_producer, kafka_errors, read_to_end, topic_reader
from sorbus.bus.letters import Letters
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.connector import BoundFlow, Consumer, Delivery, RejectedDelivery, consumer_connector
from sorbus.errors import AuthError, MustWait, TransientError, Unfinished
from sorbus.mapfile.timing import parse_duration
from sorbus.privacy.errors import Privacy, flow_privacy
from sorbus.settings import Settings
from sorbus.state.database import State
from sorbus.waiting.events import held
from sorbus.waiting.store import WaitingStore

_BATCH = 5000


class Replayed(NamedTuple):
    """What a replay did: events read, of them newest states applied, dead letters written."""

    events: int
    applied: int
    refused: int
    waiting: int = 0
    """Records that lack something, or refer to one that isn't in the target: they are kept as waiting records."""


def replay(
    flow: BoundFlow,
    make: Callable[[], Consumer],
    settings: Settings,
    *,
    since: datetime | None,
    first: Sequence[Delivery] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Replayed:
    """Applies everything on the topic from `since` (None: its beginning) up to now, after what is to come `first`.

    TransientError, AuthError; PermanentError where the target refuses one of the first.
    """
    names = Names(flow.system.topic_prefix)
    reader = topic_reader(settings, f"replay-{flow.flow.id}")
    target = make()
    book = SchemaResolver(settings, names, [flow.schema])
    resources = consumer_connector(flow.system.system.kind).resources_of(flow.options)
    privacy = flow_privacy(flow, book.schema, resources)
    letters = Letters(idempotent_producer(settings, f"replay-{flow.flow.id}"), names, flow, privacy)
    room = WaitingStore(State.of(flow.system.topic_prefix), flow.flow.id, flow.flow.data_type, flow.system.name)
    limit = parse_duration(flow.flow.wait_limit)

    def hold(waits: Sequence[tuple[Message, MustWait]]) -> None:
        room.put([held(message, error, privacy) for message, error in waits], limit=limit)

    events = applied = refused = waiting = 0
    try:
        partitions = _start(reader, names.topic(flow.flow.data_type), since)
        total = _expected(reader, partitions)
        target.open()
        letters.recall(settings)
        _bring_back(target, first)
        most = min(_BATCH, getattr(target, "batch", _BATCH))
        batch: list[Message] = []
        for message in read_to_end(reader, partitions):
            batch.append(message)
            events += 1
            if len(batch) >= most:
                done, bad, late = _apply(batch, book, target, letters, privacy, hold)
                applied, refused, waiting, batch = applied + done, refused + bad, waiting + late, []
                if progress:
                    progress(events, total)
        if batch:
            done, bad, late = _apply(batch, book, target, letters, privacy, hold)
            applied, refused, waiting = applied + done, refused + bad, waiting + late
        if progress:
            progress(events, events)
    finally:
        reader.close()
        target.close()
    return Replayed(events, applied, refused, waiting)


def _bring_back(target: Consumer, first: Sequence[Delivery]) -> None:
    """States before deletes: a batch holds one event of a record."""
    for part in ([one for one in first if not one.deleted], [one for one in first if one.deleted]):
        for at in range(0, len(part), _BATCH):
            for refusal in target.apply(part[at : at + _BATCH], again=True, alone=True):
                raise refusal.error


def _apply(
    batch: list[Message],
    book: SchemaResolver,
    target: Consumer,
    letters: Letters,
    privacy: Privacy,
    hold: Callable[[Sequence[tuple[Message, MustWait]]], None],
) -> tuple[int, int, int]:
    taken = decode_batch(batch, book)
    refusals = _finish(target, taken, privacy) if taken.deliveries else []
    refused = [*taken.refused, *((taken.messages[refusal.place], refusal.error) for refusal in refusals)]
    waits = [(message, error) for message, error in refused if isinstance(error, MustWait)]
    hold(waits)
    dead = [(message, error) for message, error in refused if not isinstance(error, MustWait)]
    bad = {id(message) for message, _ in dead}
    for message, error in dead:
        letters.write(message, error)
    letters.supersede(message for message in taken.messages if id(message) not in bad)
    letters.flush()
    return len(taken.deliveries) - len(refusals), len(dead), len(waits)


def _finish(target: Consumer, taken: DecodedBatch, privacy: Privacy) -> list[RejectedDelivery]:
    while True:
        try:
            return target.apply(taken.deliveries, again=True, alone=True)
        except Unfinished as error:
            time.sleep(error.retry_after)
        except (TransientError, AuthError) as error:
            raise privacy.fault(error, taken.deliveries) from None


def _start(reader: KafkaConsumer, topic: str, since: datetime | None) -> list[TopicPartition]:
    partitions = all_partitions(reader, topic)
    if not partitions:
        raise TransientError(f"there is no topic {topic} yet; run `sorbus apply`")
    if since is None:
        return partitions
    at = int(since.timestamp() * 1000)
    with kafka_errors(f"looking for {since.isoformat()} in {topic}"):
        wanted = [TopicPartition(part.topic, part.partition, at) for part in partitions]
        return list(reader.offsets_for_times(wanted, timeout=15.0))


def _expected(reader: KafkaConsumer, partitions: list[TopicPartition]) -> int:
    total = 0
    with kafka_errors("measuring the topic"):
        for part in partitions:
            low, high = reader.get_watermark_offsets(part, timeout=15.0)
            begin = high if part.offset == OFFSET_END else max(low, part.offset)
            total += max(0, high - begin)
    return total
