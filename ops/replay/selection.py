"""Which events of a topic a replay takes: from where, and of which records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from confluent_kafka import OFFSET_END, Message, TopicPartition
from confluent_kafka import Consumer as KafkaConsumer

from sorbus.avro.decode import Undecodable, read_record
from sorbus.bus.deserialize import decode_batch
from sorbus.bus.kafka import all_partitions, bytes_of, kafka_errors, offset_of, partition_of, read_to_end
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.connector import BoundFlow, Delivery
from sorbus.errors import PermanentError, TransientError, UsageError
from sorbus.mapping.condition import compile_condition
from sorbus.mapping.default import Defaults
from sorbus.mapping.rule import Rule, RuleError

_BATCH = 5000
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Selection:
    """What is replayed. `offsets`: partition -> first offset. `ids` None: every record. `where`: a condition."""

    since: datetime | None = None
    until: datetime | None = None
    """Records whose newest event is later are left out."""
    offsets: Mapping[int, int] = field(default_factory=dict)
    ids: frozenset[bytes] | None = None
    where: str = ""
    cause: str = ""

    def to_json(self) -> dict[str, object]:
        """As `Selection.from_json` reads it."""
        return {
            "since": None if self.since is None else self.since.astimezone(UTC).isoformat(),
            "until": None if self.until is None else self.until.astimezone(UTC).isoformat(),
            "offsets": {str(partition): offset for partition, offset in sorted(self.offsets.items())},
            "ids": None if self.ids is None else sorted(id.decode("utf-8", "surrogateescape") for id in self.ids),
            "where": self.where,
            "cause": self.cause,
        }

    @property
    def words(self) -> str:
        """For people: `from 2026-11-01 08:00, where country == "DE"`."""
        parts = []
        if self.since is not None:
            parts.append(f"from {self.since.astimezone():%Y-%m-%d %H:%M:%S}")
        if self.until is not None:
            parts.append(f"to {self.until.astimezone():%Y-%m-%d %H:%M:%S}")
        if self.offsets:
            parts.append("from " + ", ".join(f"{number}:{offset}" for number, offset in sorted(self.offsets.items())))
        if self.cause:
            parts.append(f"dead letters of cause {self.cause}")
        elif self.ids is not None:
            parts.append(f"{len(self.ids):,} records by id")
        if self.where:
            parts.append(f"where {self.where}")
        return ", ".join(parts) or "everything"


@dataclass(slots=True)
class Chosen:
    """The records that a selection found. `newest`: id -> partition, offset and version of its last event.

    `undecided`: ids of records for which the condition gives an error; they are not replayed.
    """

    newest: dict[bytes, tuple[int, int, int]] = field(default_factory=dict)
    deleted: int = 0
    undecided: dict[bytes, str] = field(default_factory=dict)

    def takes(self, message: Message) -> bool:
        """Whether this is the last event of a chosen record."""
        place = self.newest.get(bytes_of(message.key()))
        return place is not None and place[:2] == (partition_of(message)[1], offset_of(message))

    @property
    def words(self) -> str:
        """The undecided records, for people; "" if there are none."""
        if not self.undecided:
            return ""
        shown = "; ".join(f"{id.decode(errors='replace')}: {why}" for id, why in [*self.undecided.items()][:_SHOWN])
        more = ", ..." if len(self.undecided) > _SHOWN else ""
        return f"{len(self.undecided):,} records are left out, since the condition can't be decided ({shown}{more})"


def condition_of(flow: BoundFlow, text: str) -> Rule | None:
    """The condition, checked against the data type's fields; None for "". UsageError says what is wrong with it."""
    if not text:
        return None
    fields = {"id": "string", **{one.name: one.type.kind for one in flow.schema.fields}}
    try:
        return compile_condition(text, lookups=flow.lookups, fields=fields)
    except RuleError as error:
        raise UsageError(f"--where {text!r}: {error}") from None


def start_of(reader: KafkaConsumer, topic: str, selection: Selection) -> list[TopicPartition]:
    """Each partition of the topic with its first offset. TransientError; UsageError for a partition it lacks."""
    partitions = all_partitions(reader, topic)
    if not partitions:
        raise TransientError(f"there is no topic {topic} yet; run `sorbus apply`")
    if unknown := sorted(selection.offsets.keys() - {part.partition for part in partitions}):
        raise UsageError(f"{topic} has no partition {unknown[0]}; it has 0 to {len(partitions) - 1}")
    if selection.offsets:
        # A partition that isn't named is left out: the caller named where to begin.
        return [
            TopicPartition(topic, part.partition, selection.offsets.get(part.partition, OFFSET_END))
            for part in partitions
        ]
    if selection.since is None:
        return partitions
    at = int(selection.since.timestamp() * 1000)
    with kafka_errors(f"looking for {selection.since.isoformat()} in {topic}"):
        wanted = [TopicPartition(part.topic, part.partition, at) for part in partitions]
        return list(reader.offsets_for_times(wanted, timeout=15.0))


def choose(
    reader: KafkaConsumer,
    partitions: list[TopicPartition],
    flow: BoundFlow,
    book: SchemaResolver,
    selection: Selection,
    progress: Callable[[int], None],
) -> Chosen:
    """The chosen records, each by its last event: an older state that fits a condition doesn't count.

    TransientError, AuthError. Memory grows with the records chosen, about 200 bytes each.
    """
    rule = condition_of(flow, selection.where)
    chosen = Chosen()
    deleted: set[bytes] = set()
    defaults = Defaults(flow.schema.fields)
    for events, batch in _batches(reader, partitions, selection.ids):
        taken = decode_batch(batch, book)
        for one, message in zip(taken.deliveries, taken.messages, strict=True):
            known = chosen.newest.get(one.id)
            if known is not None and known[2] > one.version:
                continue
            chosen.undecided.pop(one.id, None)
            try:
                fits = rule is None or _fits(rule, one, defaults)
            except (RuleError, Undecodable) as error:
                fits = False
                chosen.undecided[one.id] = str(getattr(error, "fix", "")) or type(error).__name__
            if not (fits and _is_before(message, selection.until)):
                chosen.newest.pop(one.id, None)
                deleted.discard(one.id)
                continue
            chosen.newest[one.id] = partition_of(message)[1], offset_of(message), one.version
            (deleted.add if one.deleted else deleted.discard)(one.id)
        for message, unreadable in taken.refused:
            _note_undecodable(chosen, message, unreadable, has_condition=rule is not None)
        progress(events)
    chosen.deleted = len(deleted)
    return chosen


def _note_undecodable(chosen: Chosen, message: Message, error: PermanentError, *, has_condition: bool) -> None:
    """An event that can't be decoded becomes a dead letter again, unless a condition would have to look into it."""
    id = bytes_of(message.key())
    if has_condition:
        chosen.undecided[id] = error.reason
        chosen.newest.pop(id, None)
    else:
        chosen.newest[id] = partition_of(message)[1], offset_of(message), 0


def _is_before(message: Message, until: datetime | None) -> bool:
    """By the time that `since` goes by: when Kafka had it."""
    return until is None or message.timestamp()[1] <= until.timestamp() * 1000


def _fits(rule: Rule, one: Delivery, defaults: Defaults) -> bool:
    if one.deleted:
        return False  # it has no fields any more
    record, _ = read_record(one.schema, one.data, one.at)
    return rule(None, defaults.fill(record, id=one.id.decode(errors="replace"))) is True


def _batches(
    reader: KafkaConsumer, partitions: list[TopicPartition], ids: frozenset[bytes] | None
) -> Iterable[tuple[int, list[Message]]]:
    """Messages of these records, with how many of all were read by then."""
    batch: list[Message] = []
    events = 0
    for message in read_to_end(reader, partitions):
        events += 1
        if ids is None or bytes_of(message.key()) in ids:
            batch.append(message)
        if len(batch) >= _BATCH or events % _BATCH == 0:
            yield events, batch
            batch = []
    yield events, batch
