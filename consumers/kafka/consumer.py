"""The consumer of a topic for others: a batch is written to Kafka, then its versions to the state.

In that order: a crash in between writes the batch again, and whoever reads by key sees the same states.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

from pydantic import BaseModel, JsonValue

from sorbus import __version__
from sorbus.abilities import Erased, Preview, older_preview
from sorbus.avro.decode import read_bytes
from sorbus.bus.cluster import KafkaConnection
from sorbus.bus.kafka import admin
from sorbus.bus.registry import open_registry
from sorbus.bus.topic_settings import compacted_by
from sorbus.connector import BoundFlow, Delivery, RejectedDelivery, Step
from sorbus.consumers.kafka.columns import Columns
from sorbus.consumers.kafka.connect_types import Wire
from sorbus.consumers.kafka.encodings import AvroEncoding, Encoding, JsonEncoding
from sorbus.consumers.kafka.options import KafkaTarget
from sorbus.consumers.kafka.plan import place_of, plan_topic, require_registry, require_same_topic, versions_of
from sorbus.consumers.kafka.record_messages import Op, Origin, RecordMessages, Struct
from sorbus.consumers.kafka.topic_records import TopicRecords, states_of
from sorbus.consumers.kafka.topic_retention import retention_warnings
from sorbus.consumers.kafka.topic_writer import RecordOfTopic, TopicWriter
from sorbus.consumers.written_versions import WrittenRecord, WrittenSession
from sorbus.dry_run import DryRunReads, ListReading
from sorbus.errors import PermanentError, SorbusError
from sorbus.event import occurred_at, open_frame
from sorbus.settings import Settings
from sorbus.state import plan_state

_CHECK_EVERY = 10.0
_log = logging.getLogger(__name__)
"""Seconds after which a flow that delivers looks at its topic's id."""


class _Wanted(NamedTuple):
    """A delivery that is newer than what was written. `row` None: a delete."""

    place: int
    id: str
    delivery: Delivery
    key: Struct
    row: Mapping[str, Wire] | None
    op: Op


class KafkaConsumer:
    """Delivers one flow to one topic."""

    Connection: type[BaseModel] = KafkaConnection
    Target: type[BaseModel] = KafkaTarget

    def __init__(self, flow: BoundFlow) -> None:
        """MapError where the mapping doesn't fit."""
        options, connection = flow.options, flow.system.connection
        assert isinstance(options, KafkaTarget)
        assert isinstance(connection, KafkaConnection)
        self._flow, self._options, self._connection = flow, options, connection
        require_registry(flow)
        self._columns = Columns(flow)
        self._messages = RecordMessages(self._columns, options, flow.flow.data_type, __version__)
        self._versions = versions_of(flow)
        self._outcomes: Counter[str] = Counter()
        self._writer: TopicWriter | None = None
        self._there: TopicRecords | None = None
        self._encoding: Encoding | None = None
        self._checked_at = 0.0

    @classmethod
    def plan(cls, flow: BoundFlow) -> list[Step]:
        """The state, and the topic."""
        return [*plan_state(Settings().database, flow.system.topic_prefix), *plan_topic(flow)]

    @classmethod
    def resources_of(cls, options: BaseModel) -> dict[str, str]:
        """The topic."""
        assert isinstance(options, KafkaTarget)
        return {"": options.resource}

    @classmethod
    def place_of(cls, flow: BoundFlow) -> str:
        """See `sorbus.abilities.NeedsOwnPlace`: keys are ids alone, and so two data types' records would be one."""
        return place_of(flow)

    @classmethod
    def can_be_silent(cls, flow: BoundFlow) -> bool:  # noqa: ARG003 - whichever the flow
        """See `sorbus.abilities.SupportsSilence`: a known state is written as one, with op `r`."""
        return True

    @classmethod
    def target_warnings(cls, flow: BoundFlow) -> list[str]:
        """Fields that are left out, and a topic that loses records."""
        left_out = [
            f"{flow.flow.id}: {name} is left out, as `nested: omit` says; `nested: json` writes it as JSON text"
            for name in Columns(flow).left_out
        ]
        return [*left_out, *retention_warnings(flow)]

    def open(self) -> None:
        """Looks whether the topic is there, and registers its schemas. TransientError, AuthError, SchemaError."""
        settings = self._connection.settings()
        self._open_encoding(settings)
        self._writer = TopicWriter(settings, self._options.topic, f"{self._flow.system.name}-{self._options.topic}")
        self.check()
        for warning in retention_warnings(self._flow):
            _log.warning("%s", warning)

    def _open_encoding(self, settings: Settings) -> None:
        if self._encoding is not None:
            return
        if self._options.encoding == "avro":
            registry = open_registry(settings)
            assert registry is not None
            self._encoding = AvroEncoding(self._messages, registry, self._options.topic)
        else:
            self._encoding = JsonEncoding(self._messages, with_schema=self._options.encoding == "connect-json")

    def check(self) -> None:
        """Whether the topic is there, and the one that was written to. TransientError, AuthError."""
        assert self._writer is not None
        assert self._encoding is not None
        key = self._encoding.key(self._messages.key(b"0"))
        now = self._writer.check()._replace(keys=blake2b(key, digest_size=8).hexdigest())
        require_same_topic(self._flow, self._versions, now)
        self._checked_at = time.monotonic()

    def close(self) -> None:
        """Drops what Kafka hasn't confirmed."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def apply(
        self,
        deliveries: Sequence[Delivery],
        *,
        again: bool = False,
        alone: bool = False,  # noqa: ARG002 - always locks
    ) -> list[RejectedDelivery]:
        """Writes all that is newer. TransientError: some of it may be there, and is written again."""
        if time.monotonic() - self._checked_at > _CHECK_EVERY:
            self.check()
        refused: list[RejectedDelivery] = []
        rows = self._rows(deliveries, refused)
        failed = {refusal.place for refusal in refused}
        fault: SorbusError | None = None
        with self._versions.session() as session:
            known = session.find([one.id.decode(errors="replace") for one in deliveries])
            wanted = [
                found
                for place, one in enumerate(deliveries)
                if place not in failed
                and (found := self._wanted(place, one, rows[place], known, again=again)) is not None
            ]
            try:
                refused += self._write(session, wanted)
            except SorbusError as error:  # of Kafka, and not of the state: the session ends as it should
                fault = error
        if fault is not None:
            raise fault
        self._outcomes["skipped"] += len(deliveries) - len(failed) - len(wanted)
        return refused

    def _rows(
        self, deliveries: Sequence[Delivery], refused: list[RejectedDelivery]
    ) -> dict[int, tuple[Struct, Mapping[str, Wire] | None]]:
        """Place -> key and fields."""
        rows: dict[int, tuple[Struct, Mapping[str, Wire] | None]] = {}
        for place, delivery in enumerate(deliveries):
            try:
                row = None if delivery.deleted else self._columns.values(delivery)
                rows[place] = (self._messages.key(delivery.id), row)
            except PermanentError as error:
                refused.append(RejectedDelivery(place, error))
        return rows

    def _wanted(
        self,
        place: int,
        one: Delivery,
        made: tuple[Struct, Mapping[str, Wire] | None],
        known: Mapping[str, WrittenRecord],
        *,
        again: bool,
    ) -> _Wanted | None:
        id = one.id.decode(errors="replace")
        before = known.get(id)
        if before is not None and before.is_ahead_of(one, again=again):
            return None
        key, row = made
        there = before is not None and before.key is not None
        op: Op = "d" if row is None else "r" if one.historical else "u" if there else "c"
        return _Wanted(place, id, one, key, row, op)

    def _write(self, session: WrittenSession, wanted: Sequence[_Wanted]) -> list[RejectedDelivery]:
        """Messages, then versions; those that can't be written or that Kafka refuses."""
        assert self._writer is not None
        silent = self._flow.flow.deletes == "ignore"
        records: list[RecordOfTopic] = []
        refused: list[RejectedDelivery] = []
        for one in wanted:
            if silent and one.row is None:
                continue
            try:
                records.append(self._record(one))
            except (ValueError, OverflowError) as error:
                refused.append(RejectedDelivery(one.place, _unwritable(one, error)))
        by_kafka = self._writer.write(records) if records else {}
        refused += [RejectedDelivery(record.place, _refused(record, by_kafka[record.place]))
                    for record in records if record.place in by_kafka]  # fmt: skip
        failed = {refusal.place for refusal in refused}
        kept = [one for one in wanted if one.place not in failed]
        session.put({one.id: WrittenRecord(one.delivery.version, _held(one)) for one in kept})
        for one in kept:
            self._outcomes[_outcome(one, silent=silent)] += 1
        return refused

    def _record(self, one: _Wanted) -> RecordOfTopic:
        assert self._encoding is not None
        value = self._messages.value(one.key, one.row, one.op, self._origin(one.delivery))
        values = [self._encoding.value(value)] if value is not None else []
        tombstone = [None] if one.row is None else []
        return RecordOfTopic(one.place, self._encoding.key(one.key), [*values, *tombstone], one.delivery.version)

    def _origin(self, delivery: Delivery) -> Origin:
        """Undecodable where the event is damaged."""
        if not delivery.data:  # a tombstone, which names a version and nothing else
            owners = self._flow.data_type.system_of_record
            owner = self._flow.flow.source or (owners if isinstance(owners, str) else ",".join(owners or ()))
            return Origin(owner, delivery.version, time.time_ns() // 1000)
        at = open_frame(delivery.data).at
        system = read_bytes(delivery.data, at)[0].decode()
        return Origin(system, delivery.version, occurred_at(delivery.data, at))

    def take_outcomes(self) -> dict[str, int]:
        """See `sorbus.abilities.SupportsOutcomes`."""
        found, self._outcomes = self._outcomes, Counter()
        return dict(found)

    def newer(self, deliveries: Sequence[Delivery]) -> dict[bytes, int]:
        """See `sorbus.abilities.SupportsVersions`."""
        return self._versions.newer(deliveries)

    def versions(self, deliveries: Sequence[Delivery]) -> dict[bytes, int]:
        """See `sorbus.abilities.SupportsAppliedVersions`."""
        return self._versions.of(deliveries)

    def erase(self, id: str, *, dry_run: bool = False) -> Erased:  # noqa: ARG002 - compaction erases, in its time
        """See `sorbus.abilities.SupportsErasure`: what the topic still holds of a record, and until when."""
        assert self._encoding is not None
        settings, topic = self._connection.settings(), self._options.topic
        has, older = states_of(settings, topic, self._encoding, id)
        if has:
            why = "`deletes: ignore` leaves it" if self._flow.flow.deletes == "ignore" else "another program wrote it"
            return Erased(0, f"topic {topic} still has the record ({why}): write a tombstone for its key")
        if not older:
            return Erased(0)
        by = compacted_by(admin(settings), topic)
        when = f"which compaction takes by {by}" if by else "which stay until the topic's own settings remove them"
        return Erased(0, f"topic {topic} has {older} older states of it, {when}; then come the readers' own copies")

    def preview(self, delivery: Delivery) -> Preview:
        """The message that would be written. TransientError."""
        return self._previewed([delivery], again=False)[0]

    def begin_dry_run(self, reads: DryRunReads) -> ListReading:  # noqa: ARG002 - a topic is read whole
        """Reads the topic; nothing is written by `preview_all`."""
        settings = self._connection.settings()
        self._open_encoding(settings)
        assert self._encoding is not None
        self._there = TopicRecords(settings, self._options.topic, self._encoding)
        return ListReading(len(self._there))

    def listed_links(self) -> Iterator[str]:
        """See `sorbus.dry_run.SupportsLinkListing`."""
        assert self._there is not None
        return self._there.ids()

    def preview_all(self, deliveries: Sequence[Delivery]) -> list[Preview]:
        """See `sorbus.dry_run.SupportsDryRun`."""
        return self._previewed(deliveries, again=True)

    def _previewed(self, deliveries: Sequence[Delivery], *, again: bool) -> list[Preview]:
        refused: list[RejectedDelivery] = []
        rows = self._rows(deliveries, refused)
        errors = {refusal.place: refusal.error for refusal in refused}
        known = self._versions.find([one.id.decode(errors="replace") for one in deliveries])
        return [
            Preview("refuse", str(errors[place]))
            if place in errors
            else self._preview(place, one, rows[place], known, again=again)
            for place, one in enumerate(deliveries)
        ]

    def _preview(
        self,
        place: int,
        one: Delivery,
        made: tuple[Struct, Mapping[str, Wire] | None],
        known: Mapping[str, WrittenRecord],
        *,
        again: bool,
    ) -> Preview:
        before = known.get(one.id.decode(errors="replace"))
        wanted = self._wanted(place, one, made, known, again=again)
        if wanted is None:
            assert before is not None
            if before.version > one.version:
                return older_preview(one.version, before.version)
            return Preview("nothing", "this version has been written")
        there = before is not None and before.key is not None
        if self._there is not None:
            record = self._record(wanted)
            there = self._there.has(record.key)
            value = record.values[0]
            if value is not None and wanted.row is not None and self._there.agrees(record.key, value):
                return Preview("nothing", "the topic has it already")
        if wanted.row is None:
            if self._flow.flow.deletes == "ignore":
                return Preview("nothing", "deletes are ignored")
            if not there:
                return Preview("nothing", "the topic has no such record")
            return Preview("delete", f"a delete and a tombstone would be written to {self._options.topic}")
        fields: JsonValue = {name: _shown(value) for name, value in {**wanted.key, **wanted.row}.items()}
        why = f"a message would be written to {self._options.topic}"
        return Preview("update" if there else "create", why, fields)


def _held(one: _Wanted) -> str | None:
    return None if one.row is None else one.id


def _outcome(one: _Wanted, *, silent: bool) -> str:
    if one.row is None:
        return "skipped" if silent else "deleted"
    return "created" if one.op == "c" else "written" if one.op == "r" else "updated"


def _refused(record: RecordOfTopic, words: str) -> PermanentError:
    size = sum(len(value or b"") for value in record.values)
    return PermanentError(
        f"Kafka refuses the message of {size:,} bytes: {words}; map less, or change the topic's settings"
        " (max.message.bytes)",
        reason="too large" if "size" in words.lower() else "refused by Kafka",
    )


def _unwritable(one: _Wanted, error: ValueError | OverflowError) -> PermanentError:
    """What no check of a single field found: such as half of a surrogate pair, which UTF-8 can't hold."""
    for name, value in {**one.key, **(one.row or {})}.items():
        if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
            return PermanentError(
                f"field {name}: it has half of a character, which UTF-8 can't hold: correct it in its source, or map it"
                " with a rule",
                reason="a value that the topic's type can't hold",
                field=name,
                value=value,
            )
    return PermanentError(f"the message can't be made: {error}", reason="a value that the topic's type can't hold")


def _shown(value: object) -> JsonValue:
    return value if isinstance(value, str | bool | int | float) or value is None else str(value)
