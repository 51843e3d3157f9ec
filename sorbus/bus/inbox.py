"""A system's inbox: notices of its webhooks, kept in Kafka until the system's producer has fetched each record.

The webhook service only writes here; the system's producer reads, and its offsets are part of its position.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from pydantic import JsonValue

from sorbus.abilities import Notice
from sorbus.bus.kafka import (
    MAX_MESSAGE_BYTES,
    all_partitions,
    as_error,
    base_config,
    kafka_errors,
    offset_of,
    partition_of,
    topic_reader,
)
from sorbus.bus.names import Names
from sorbus.bus.sending import Single
from sorbus.errors import SorbusError, TransientError
from sorbus.mapfile.model import Map
from sorbus.settings import Settings
from sorbus.telemetry.metrics import INBOX_MALFORMED

POSITION_KEY = "sorbus.inbox"
"""The key of a producer's position that holds its inbox's offsets."""
_MOST = 1000
_log = logging.getLogger(__name__)


def with_inbox(company: Map) -> list[str]:
    """The systems of record whose webhooks the map enables, by a `webhook_secret` in the connection."""
    return [
        name
        for name, system in company.systems.items()
        if system.kind in ("http", "webhook") and system.connection.get("webhook_secret") and company.owned_by(name)
    ]


class MissingInbox(TransientError):
    """The inbox's topic doesn't exist: webhooks were enabled, and `sorbus apply` hasn't run since."""


class Inbox:
    """Reads one system's notices, starting at its producer's last committed position."""

    def __init__(self, settings: Settings, names: Names, system: str, position: Mapping[str, JsonValue] | None) -> None:
        """`position` is an earlier `position()`; None: from the beginning, which the retention bounds.

        TransientError without Kafka; MissingInbox without the topic. What Kafka has removed is skipped, and sets
        `has_lost`.
        """
        self.has_lost = False
        self._system, self._topic = system, names.inbox(system)
        self._next: dict[int, int] = {}
        self._consumer = topic_reader(settings, f"inbox-{system}", wait_ms=50)
        try:
            partitions = all_partitions(self._consumer, self._topic)
            if not partitions:
                raise MissingInbox(f"there is no topic {self._topic} yet; run `sorbus apply`")
            for part in partitions:
                offset = (position or {}).get(str(part.partition))
                if isinstance(offset, int):
                    part.offset = self._next[part.partition] = offset
                    with kafka_errors(f"reading where {self._topic} begins and ends"):
                        first, end = self._consumer.get_watermark_offsets(part, timeout=10.0)
                    self.has_lost = self.has_lost or not first <= offset <= end
            with kafka_errors(f"reading {self._topic}"):
                self._consumer.assign(partitions)
        except SorbusError:
            self.close()
            raise

    def read(self, wait: float) -> list[Notice]:
        """Notices that arrive within `wait` seconds, or are waiting; only the newest of each record. TransientError."""
        deadline = time.monotonic() + wait
        newest: dict[tuple[str, str], Notice] = {}
        while not newest:
            left = deadline - time.monotonic()
            with kafka_errors(f"reading {self._topic}"):
                messages = self._consumer.consume(1, max(0.0, left))
                if messages:  # consume waits for as many as requested: waiting messages arrive at once
                    messages += self._consumer.consume(_MOST - 1, 0.01)
            for message in messages:
                self._take(message, newest)
            if left <= 0:
                break
        return list(newest.values())

    def position(self) -> dict[str, JsonValue]:
        """Partition -> the offset after the last message that `read` has returned or skipped."""
        return {str(partition): offset for partition, offset in sorted(self._next.items())}

    def close(self) -> None:
        with kafka_errors("closing a reader"):
            self._consumer.close()

    def _take(self, message: Message, newest: dict[tuple[str, str], Notice]) -> None:
        if failure := message.error():
            if failure.code() != KafkaError._PARTITION_EOF:
                raise as_error(failure, f"reading {self._topic}")
            return
        partition = partition_of(message)[1]
        self._next[partition] = offset_of(message) + 1
        notice = notice_of(message.value())
        if notice is None:
            INBOX_MALFORMED.labels(self._system).inc()
            _log.warning(
                "skipped offset %d of %s: it is not a notice; check what else writes there",
                offset_of(message),
                self._topic,
            )
            return
        newest.pop((notice.resource, notice.id), None)  # a repeated notice moves to the end
        newest[notice.resource, notice.id] = notice


class InboxWriter:
    """Puts notices into inboxes; thread-safe. Many callers' notices share one request to Kafka."""

    def __init__(self, settings: Settings, names: Names, *, patience: float = 3.0) -> None:
        """`patience`: seconds until a message that Kafka has not confirmed counts as failed."""
        # Not idempotent: duplicate notices are harmless; an idempotent producer can end up needing a restart.
        self.names = names
        config = {
            "acks": "all",
            "compression.type": "lz4",
            "linger.ms": 1,
            "max.in.flight.requests.per.connection": 1,  # a request that is sent again must not follow a later one
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "queue.buffering.max.messages": 100_000,
            "message.timeout.ms": int(patience * 1000),
            **base_config(settings, "webhooks"),
            "log_level": 2,  # failures are raised as errors
        }
        self._producer = Producer(config)
        self._is_closing = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="inbox-writer", daemon=True)
        self._poller.start()

    def put(self, system: str, notices: Sequence[Notice], delivery_id: str = "") -> Future[None]:
        """Done once Kafka has every notice; fails with TransientError or AuthError, and then some may be written."""
        messages = []
        for notice in notices:
            headers = [("delivery_id", delivery_id), ("received_at", str(notice.received_at))]
            key = f"{notice.resource}:{notice.id}".encode()
            messages.append(Single(self.names.inbox(system), key, value_of(notice), headers))
        return self.send(messages, f"putting a notice into {self.names.inbox(system)}")

    def send(self, messages: Sequence[Single], doing: str) -> Future[None]:
        """Likewise for any messages."""
        done: Future[None] = Future()
        if not messages:
            done.set_result(None)
            return done
        pending = _Pending(done, len(messages), doing)
        for topic, key, value, headers, partition in messages:
            try:
                self._producer.produce(
                    topic, value, key, partition, headers=list(headers), on_delivery=pending.delivered
                )
            except BufferError:
                pending.fail(TransientError(f"{pending.doing}: too many messages are waiting for Kafka"))
                break
            except KafkaException as error:
                pending.fail(as_error(error.args[0], pending.doing))
                break
        return done

    def close(self) -> None:
        """Waits for pending messages, at most `patience` seconds."""
        self._is_closing.set()
        self._poller.join()
        self._producer.flush(5.0)

    def _poll(self) -> None:
        while not self._is_closing.is_set():
            self._producer.poll(0.1)


class _Pending:
    """One `put` until its last message is confirmed or its first has failed; also called from the poller's thread."""

    def __init__(self, done: Future[None], left: int, doing: str) -> None:
        self.doing = doing
        self._done, self._left, self._lock = done, left, threading.Lock()

    def delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self.fail(as_error(error, self.doing))
            return
        with self._lock:
            self._left -= 1
            if self._left == 0 and not self._done.done():
                self._done.set_result(None)

    def fail(self, error: SorbusError) -> None:
        with self._lock:
            if not self._done.done():
                self._done.set_exception(error)


def value_of(notice: Notice) -> bytes:
    """A notice as a message's value: small JSON, open to new fields."""
    return json.dumps(notice._asdict(), separators=(",", ":"), ensure_ascii=False).encode()


def notice_of(value: str | bytes | None) -> Notice | None:
    """The notice in a message's value; None if it isn't one."""
    try:
        found = json.loads(value or b"")
    except (ValueError, RecursionError):  # UnicodeDecodeError is one
        return None
    if not isinstance(found, dict):
        return None
    resource, id, deleted, at = (found.get(name) for name in Notice._fields)
    if not (isinstance(resource, str) and isinstance(id, str) and isinstance(deleted, bool) and type(at) is int):
        return None
    return Notice(resource, id, deleted, at) if resource and id else None
