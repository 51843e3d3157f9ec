"""People's requests to running producers to read records again.

A producer's position says up to where requests belong to it, and which are still unanswered: those that come later are
read again after a restart. Commands ask only a producer that runs (`sorbus.bus.status.require_running`), so that the
answer comes soon; at its start it also rereads every record that has an open dead letter.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, cast, get_args

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, Message, TopicPartition
from pydantic import JsonValue

from sorbus.bus.kafka import all_partitions, as_error, bytes_of, kafka_errors, offset_of, partition_of, topic_reader
from sorbus.bus.names import Names
from sorbus.bus.sending import Single
from sorbus.connector import Position
from sorbus.deadletter import DeadLetter
from sorbus.errors import SorbusError
from sorbus.settings import Settings
from sorbus.snapshot_control import SnapshotAction

_KEY = "sorbus.requests"
"""Key of a producer's position that says which requests it has answered."""
_EVERY, _TIMEOUT = 0.5, 10.0
_LASTS = 86_400.0
"""Seconds after which a record that was asked for, and never came, isn't asked for again at a start."""


class BackfillRequest(NamedTuple):
    """What a person asks of a data type's snapshot; `where`: a condition, with `start`."""

    data_type: str
    action: SnapshotAction
    where: str


class RereadRequests:
    """Requests to one system's producer: `resume` in each of its sessions, then `read`.

    It outlives the sessions, so that those that are made while its source is away are read later.
    """

    def __init__(self, settings: Settings, names: Names, system: str) -> None:
        self._settings, self._system, self._topic = settings, system, names.requests
        self._consumer: Consumer | None = None
        self._looked_at = time.monotonic()
        self._backfills: list[BackfillRequest] = []
        self._first: dict[int, int] = {}
        """Partition -> its end when this process first saw it: where a position that says nothing begins."""
        self._done: dict[int, int] = {}
        """Partition -> the offset up to which the session's first position had all backfills."""
        self._at: dict[int, int] = {}
        """Partition -> the offset of the first message that the session hasn't read."""
        self._read: dict[int, int] = {}
        """Partition -> that of the first message that no session of this process has read."""
        self._places: dict[tuple[str, bytes], tuple[int, int]] = {}
        """(Data type, id) -> partition and offset of the first request that isn't answered."""
        self.outstanding: set[tuple[str, bytes]] = set()
        """(Data type, id) of the records whose events haven't been published since they were asked for."""

    def open(self) -> None:
        """From here on no request is missed. TransientError without Kafka. Without the topic (`sorbus apply` creates
        it), `read` returns nothing.
        """
        if self._consumer is not None:
            return
        consumer = topic_reader(self._settings, f"requests-{self._system}", wait_ms=5000)
        try:
            partitions = all_partitions(consumer, self._topic)
            with kafka_errors(f"reading {self._topic}"):
                for part in partitions:  # not "the end", which would be looked up later than a request may be sent
                    if part.partition not in self._first:
                        self._first[part.partition] = consumer.get_watermark_offsets(part, timeout=_TIMEOUT)[1]
        except SorbusError:
            consumer.close()
            raise
        if partitions:
            self._consumer = consumer
        else:
            consumer.close()

    def resume(self, position: Position | None) -> Position | None:
        """Reads on where the position, as `stored` made it, is; returns the producer's own. TransientError."""
        found = (position or {}).get(_KEY)
        stored = cast("dict[str, dict[str, int]]", found) if isinstance(found, dict) else {}
        self._done = {int(number): offset for number, offset in stored.get("next", {}).items()}
        begins = self._done | {int(number): offset for number, offset in stored.get("unanswered", {}).items()}
        self._backfills, self._at = [], {}
        if self._consumer is not None:
            parts = [TopicPartition(self._topic, number) for number in sorted(self._first)]
            try:
                with kafka_errors(f"reading {self._topic}"):
                    for part in parts:
                        low, high = self._consumer.get_watermark_offsets(part, timeout=_TIMEOUT)
                        at = begins.get(part.partition, self._first[part.partition])
                        if max(at, self._done.get(part.partition, 0)) > high:
                            at = low
                            self._begin_again(part.partition)
                        self._at[part.partition] = part.offset = max(low, at)
                    self._consumer.assign(parts)
            except SorbusError:
                self.close()
                raise
        return None if position is None else {key: value for key, value in position.items() if key != _KEY}

    def place(self) -> dict[int, int]:
        """Partition -> up to where backfills belong to what the producer gives next."""
        return self._done | {number: max(at, self._done.get(number, 0)) for number, at in self._at.items()}

    def stored(self, position: Position, place: Mapping[int, int], answered: Collection[tuple[str, bytes]]) -> Position:
        """The producer's position with the requests' part; `place`: of the time when it gave it.

        `answered`: the records whose answers are stored with it.
        """
        unanswered: dict[int, int] = {}
        for one, (number, offset) in self._places.items():
            if one not in answered:
                unanswered[number] = min(offset, unanswered.get(number, offset))
        part: dict[str, JsonValue] = {"next": {str(number): offset for number, offset in place.items()}}
        if older := {str(number): at for number, at in unanswered.items() if at < place.get(number, 0)}:
            part["unanswered"] = {**older}
        return {**position, _KEY: part} if place else position

    def answered(self, records: Iterable[tuple[str, bytes]]) -> None:
        """Something is stored that was found out about these since they were asked for."""
        if self._places:
            for one in records:
                self._places.pop(one, None)

    def unanswered(self, data_types: Collection[str]) -> list[tuple[str, list[bytes]]]:
        """What an earlier session was asked for and didn't publish, by data type; others than these are forgotten."""
        self.outstanding = {(name, id) for name, id in self.outstanding if name in data_types}
        self._places = {one: place for one, place in self._places.items() if one[0] in data_types}
        found: dict[str, list[bytes]] = {}
        for name, id in self.outstanding:
            found.setdefault(name, []).append(id)
        return list(found.items())

    def read(self) -> dict[str, list[bytes]]:
        """Data type -> ids of records to read again; returns at once, and reads at most twice a second."""
        now = time.monotonic()
        if self._consumer is None or now - self._looked_at < _EVERY:
            return {}
        self._looked_at = now
        found: dict[str, dict[bytes, None]] = {}
        backfills: list[BackfillRequest] = []
        after: dict[int, int] = {}
        try:
            with kafka_errors(f"reading {self._topic}"):
                messages = self._consumer.consume(1000, 0.0)
            for message in messages:
                if failure := message.error():
                    if failure.code() != KafkaError._PARTITION_EOF:
                        raise as_error(failure, f"reading {self._topic}")
                    continue
                number, offset = partition_of(message)[1], offset_of(message)
                if offset < after.get(number, self._at.get(number, 0)):
                    self._begin_again(number)
                after[number] = offset + 1
                if bytes_of(message.key()).decode(errors="replace") != self._system:
                    continue
                is_done = offset < self._done.get(number, 0)
                if (asked := _backfill(message)) is not None:
                    backfills += [] if is_done else [asked]
                elif offset >= self._read.get(number, 0) and not (is_done and _is_old(message)):
                    data_type, id = _asked(message)
                    found.setdefault(data_type, {})[id] = None
                    self._places.setdefault((data_type, id), (number, offset))
        except SorbusError:
            self.close()  # the next session opens it again, and reads these messages again
            raise
        self._at |= after
        self._read |= {number: max(at, self._read.get(number, 0)) for number, at in after.items()}
        self._backfills += backfills
        return {data_type: list(ids) for data_type, ids in found.items()}

    def _begin_again(self, number: int) -> None:
        """The topic was made again: nothing on it is known."""
        self._done.pop(number, None)
        self._read.pop(number, None)

    def backfills(self) -> list[BackfillRequest]:
        """The requests about snapshots that `read` has come across since the last call."""
        found, self._backfills = self._backfills, []
        return found

    def close(self) -> None:
        """Stops reading."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with kafka_errors("closing a reader"):
                consumer.close()


def backfill_message(names: Names, system: str, data_type: str, action: SnapshotAction, where: str = "") -> Single:
    """The message that requests reading a data type again beside the stream of its owner `system`."""
    value = {"data_type": data_type, "snapshot": action, "where": where}
    return Single(names.requests, system.encode(), json.dumps(value).encode())


def _backfill(message: Message) -> BackfillRequest | None:
    try:
        found = json.loads(message.value() or b"{}")
        action = found["snapshot"]
        if action not in get_args(SnapshotAction):
            return None
        return BackfillRequest(str(found["data_type"]), action, str(found.get("where", "")))
    except (ValueError, KeyError, TypeError):
        return None


def reread_request(names: Names, letter: DeadLetter) -> Single:
    """The message that requests a reread of the record of a source's dead letter."""
    return reread_message(names, letter.system, letter.data_type, letter.record_id)


def reread_message(names: Names, system: str, data_type: str, id: bytes) -> Single:
    """The message that requests a reread of a record from its owner `system`."""
    value = json.dumps({"data_type": data_type, "id": id.decode("utf-8", "surrogateescape")})
    return Single(names.requests, system.encode(), value.encode())


def _is_old(message: Message) -> bool:
    kind, at = message.timestamp()
    return kind != TIMESTAMP_NOT_AVAILABLE and at / 1000 < time.time() - _LASTS


def _asked(message: Message) -> tuple[str, bytes]:
    try:
        found = json.loads(message.value() or b"{}")
        return str(found["data_type"]), str(found["id"]).encode("utf-8", "surrogateescape")
    except (ValueError, KeyError, TypeError):
        return "", b""
