"""People's requests to running producers to read records again. They are lost with the process, so commands ask only
one that runs (`sorbus.bus.status.require_running`); at its start it rereads every record that has an open dead letter.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from typing import NamedTuple, get_args

from confluent_kafka import Consumer, KafkaError, Message

from sorbus.bus.kafka import all_partitions, as_error, bytes_of, kafka_errors, offset_of, partition_of, topic_reader
from sorbus.bus.names import Names
from sorbus.bus.sending import Single
from sorbus.deadletter import DeadLetter
from sorbus.errors import SorbusError
from sorbus.settings import Settings
from sorbus.snapshot_control import SnapshotAction

_EVERY, _TIMEOUT = 0.5, 10.0


class BackfillRequest(NamedTuple):
    """What a person asks of a data type's snapshot; `where`: a condition, with `start`."""

    data_type: str
    action: SnapshotAction
    where: str


class RereadRequests:
    """Requests to one system's producer since it was first opened: it outlives the producer's sessions, so that those
    that are made while its source is away are read later.
    """

    def __init__(self, settings: Settings, names: Names, system: str) -> None:
        self._settings, self._system, self._topic = settings, system, names.requests
        self._consumer: Consumer | None = None
        self._looked_at = time.monotonic()
        self._backfills: list[BackfillRequest] = []
        self._next: dict[int, int] = {}
        """Partition -> the offset of the first message that wasn't read."""
        self.outstanding: set[tuple[str, bytes]] = set()
        """(Data type, id) of the records whose events haven't been published since they were asked for."""

    def open(self) -> None:
        """Reads on where it was, at first from now. TransientError without Kafka. Without the topic (`sorbus apply`
        creates it), `read` returns nothing.
        """
        if self._consumer is not None:
            return
        consumer = topic_reader(self._settings, f"requests-{self._system}", wait_ms=5000)
        try:
            partitions = all_partitions(consumer, self._topic)
            with kafka_errors(f"reading {self._topic}"):
                for part in partitions:  # not "the end", which would be looked up later than a request may be sent
                    if part.partition not in self._next:
                        self._next[part.partition] = consumer.get_watermark_offsets(part, timeout=_TIMEOUT)[1]
                    part.offset = self._next[part.partition]
                consumer.assign(partitions)
        except SorbusError:
            consumer.close()
            raise
        if partitions:
            self._consumer = consumer
        else:
            consumer.close()

    def unanswered(self, data_types: Collection[str]) -> list[tuple[str, list[bytes]]]:
        """What an earlier session was asked for and didn't publish, by data type; others than these are forgotten."""
        self.outstanding = {(name, id) for name, id in self.outstanding if name in data_types}
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
                after[partition_of(message)[1]] = offset_of(message) + 1
                if bytes_of(message.key()).decode(errors="replace") != self._system:
                    continue
                if (asked := _backfill(message)) is not None:
                    backfills.append(asked)
                else:
                    data_type, id = _asked(message)
                    found.setdefault(data_type, {})[id] = None
        except SorbusError:
            self.close()  # the next session opens it again, and reads these messages again
            raise
        self._next |= after
        self._backfills += backfills
        return {data_type: list(ids) for data_type, ids in found.items()}

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


def _asked(message: Message) -> tuple[str, bytes]:
    try:
        found = json.loads(message.value() or b"{}")
        return str(found["data_type"]), str(found["id"]).encode("utf-8", "surrogateescape")
    except (ValueError, KeyError, TypeError):
        return "", b""
