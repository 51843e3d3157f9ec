"""librdkafka's settings for each role, and its errors as Sorbus's."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as NoAnswer
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import TypeVar, cast
from weakref import WeakValueDictionary

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from sorbus.bus.client_log import LOGGER
from sorbus.bus.closing import ClosingConsumer, TopicConsumer, ended_within
from sorbus.bus.kafka_token import token_login
from sorbus.bus.reachable import Reachable
from sorbus.errors import AuthError, SorbusError, TransientError, UsageError, missing, refused_login
from sorbus.settings import Settings

Config = dict[str, object]
Partition = tuple[str, int]
"""A topic's name, and which partition of it."""
Client = TypeVar("Client", Producer, Consumer, AdminClient)
MAX_MESSAGE_BYTES = 8_000_000
_BATCH = 1_000_000
_LETTER_BYTES = MAX_MESSAGE_BYTES + 60_000
"""Of a dead letter: the event as it is, and what is said of it. Topics take as much, and what compressing adds."""

_FENCED = {KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED}
_LOGIN = {KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._AUTHENTICATION}
RIGHTS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "DESCRIBE, DESCRIBE_CONFIGS, READ and WRITE on the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "READ on the consumer group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "CREATE on the cluster, or on topics with the map's prefix",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "WRITE and DESCRIBE on the transactional id",
}
"""What a denial means that this login needs."""
_SILENT = {KafkaError._TIMED_OUT, KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT_QUEUE}
_AWAY = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE}


_log = logging.getLogger(__name__)
_admins: WeakValueDictionary[str, AdminClient] = WeakValueDictionary()
_admins_lock = threading.Lock()
_LEAVING = 2.0
_PATIENCE = 30.0
"""Seconds within which what a reader waits for has to come."""
_PROMPT = 1.0
_REFUSED_FOR = 60.0
_refused: tuple[float, str] | None = None
"""When (monotonic seconds) and with which message a broker last rejected a client of this process."""


def base_config(settings: Settings, role: str) -> Config:
    """Settings that every client shares; the operator's own take precedence."""
    return {
        "logger": LOGGER,
        "error_cb": _note_refusal,
        "bootstrap.servers": settings.kafka,
        "client.id": f"sorbus-{role}",
        "topic.metadata.refresh.interval.ms": 30_000,
        "reconnect.backoff.ms": 20,  # half of it passes before a new client connects to the brokers it was told of
        "reconnect.backoff.max.ms": 2_000,
        **(token_login(settings.kafka_token) if settings.kafka_token else {}),
        **settings.kafka_config,
    }


class Oversized(TransientError):
    """Kafka takes no message, or batch of them, as large as one that was sent: nothing of its transaction is there."""


def transactional_producer(
    settings: Settings, transactional_id: str, reachable: Reachable | None = None, *, batch: int = _BATCH
) -> Producer:
    """An idempotent, transactional producer with large batches: a batch costs one request whatever its size.

    `batch`: bytes of the largest batch of several messages.
    """
    return _made(
        Producer,
        {
            "transactional.id": transactional_id,
            "transaction.timeout.ms": 60_000,
            "enable.idempotence": True,
            "delivery.report.only.error": True,  # the commit says what arrived
            "compression.type": "lz4",
            "linger.ms": 20,
            "batch.size": min(batch, _BATCH),
            "batch.num.messages": 20_000,
            "queue.buffering.max.messages": 100_000,
            "queue.buffering.max.kbytes": 32 * 1024,
            "message.max.bytes": MAX_MESSAGE_BYTES,
            **base_config(settings, transactional_id),
            **(reachable.settings if reachable else {}),
        },
    )


def idempotent_producer(settings: Settings, role: str) -> Producer:
    """A producer for single messages outside transactions: dead letters and their closing."""
    config = {"enable.idempotence": True, "compression.type": "lz4", "linger.ms": 5}
    return _made(Producer, {**config, "message.max.bytes": _LETTER_BYTES, **base_config(settings, role)})


def direct_producer(settings: Settings, role: str, failed: Callable[[KafkaError | None, Message], None]) -> Producer:
    """An idempotent producer that sends each message when it comes, in order; `failed` is told of failures."""
    config = {
        "enable.idempotence": True,
        "delivery.report.only.error": True,
        "on_delivery": failed,
        "message.timeout.ms": 120_000,  # DirectPublisher gives up before, all at once: no message may overtake another
        "compression.type": "lz4",
        "linger.ms": 0,
        "queue.buffering.max.messages": 10_000,
        "queue.buffering.max.kbytes": 16 * 1024,
        "message.max.bytes": MAX_MESSAGE_BYTES,
    }
    return _made(Producer, {**config, **base_config(settings, role)})


def prompt_id(producer: Producer, topic: str) -> None:
    """Has a new producer get its producer id now: without one it sends nothing.

    librdkafka looks for one every half second, and after each answer about a topic. Asked twice, since the first answer
    may come from a bootstrap server, whose connection it then closes. A missing answer shows in what is done next.
    """
    with suppress(KafkaException):
        for _ in range(2):
            producer.list_topics(topic, timeout=_PROMPT)


def group_consumer(settings: Settings, group: str, reachable: Reachable | None = None) -> Consumer:
    """A member of a flow's consumer group; offsets are committed manually, after the target's commit."""
    return _made(
        ClosingConsumer,
        {
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",  # events removed before they were read must not be skipped silently
            "enable.partition.eof": True,
            "partition.assignment.strategy": "cooperative-sticky",
            "queued.min.messages": 20_000,
            "queued.max.messages.kbytes": 8 * 1024,
            "fetch.queue.backoff.ms": 10,  # the default pauses a full queue for a second, though it soon drains
            "fetch.max.bytes": 2_000_000,  # compressed; a larger single message is still delivered
            "fetch.wait.max.ms": 500,  # how often an idle flow asks; what is there is sent at once
            "fetch.error.backoff.ms": 100,
            "session.timeout.ms": 15_000,
            **base_config(settings, group),
            **(reachable.settings if reachable else {}),
        },
    )


def leave(ending: Callable[[], None]) -> None:
    """Runs `ending`, which commits a group member's offsets and closes it, for two seconds at most.

    librdkafka waits for Kafka's responses, five seconds when leaving the group and a minute for a commit, in C, where
    no signal interrupts it. By then the requests are sent; if Kafka didn't receive them, the session times out and
    events with uncommitted offsets are redelivered.
    """
    try:
        has_left = ended_within(_LEAVING, ending)
    except (SorbusError, KafkaException) as error:
        _log.info("leaving a group: %s", error)
        return
    if not has_left:
        _log.warning(
            "Kafka did not confirm within %.0f s that the consumer left its group:"
            " uncommitted events will be redelivered",
            _LEAVING,
        )


def topic_reader(settings: Settings, role: str, *, committed: bool = True, wait_ms: int = 10) -> Consumer:
    """A reader of whole topics, outside any group.

    `wait_ms`: how long a fetch waits when there is nothing, so how soon an end is told, and how often one asks there.
    """
    return _made(
        TopicConsumer,
        {
            "group.id": f"sorbus-reader-{role}",
            "isolation.level": "read_committed" if committed else "read_uncommitted",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": wait_ms,
            "queued.max.messages.kbytes": 16 * 1024,
            "fetch.queue.backoff.ms": 10,
            **base_config(settings, role),
        },
    )


def admin(settings: Settings) -> AdminClient:
    """An admin client, which all that use it in this process share; keep it referenced until its futures are done."""
    key = repr((settings.kafka, settings.kafka_config, settings.kafka_token))
    with _admins_lock:
        found = _admins.get(key)
        if found is None:
            # Failures are raised as errors; librdkafka would log them as well, twenty times a second.
            config = {"log_level": 2, **base_config(settings, "admin")}
            found = _admins[key] = _made(cast(Callable[[Config], AdminClient], AdminClient), config)
        return found


def cluster_id(client: AdminClient) -> str:
    """What Kafka calls its cluster. AuthError, TransientError."""
    with kafka_errors("asking for the cluster's id"):
        return str(client.describe_cluster().result(10).cluster_id or "")  # without what all topics are


def _made(client: Callable[[Config], Client], config: Config) -> Client:
    """A client; UsageError if librdkafka rejects a setting or its value."""
    try:
        return client(config)
    except (KafkaException, TypeError, ValueError) as error:
        found = error.args[0] if error.args else error
        words = found.str() if isinstance(found, KafkaError) else str(found)
        if "oauth_cb" in config and "OAuth token" in words:
            said = f"SORBUS_KAFKA_TOKEN gives no token ({words}); its own error is in the log"
            raise missing("kafka", TransientError(said)) from None
        raise UsageError(f"SORBUS_KAFKA_CONFIG can't be used: {words}; see librdkafka's CONFIGURATION.md") from None


def _note_refusal(error: KafkaError) -> None:
    """librdkafka's error callback: only here does it report a failed login; calls fail as if no broker were there."""
    global _refused
    if error.code() in _LOGIN:
        _refused = (time.monotonic(), error.str())


def as_error(error: KafkaError | None, doing: str) -> SorbusError:
    """A Kafka error as one of Sorbus's."""
    if error is None:
        return missing("kafka", TransientError(f"{doing}: Kafka failed without an error message"))
    if error.code() in _AWAY | _SILENT and _refused and time.monotonic() - _refused[0] < _REFUSED_FOR:
        words = f"{doing}: Kafka rejects our login: {_refused[1]}; correct the SASL settings in SORBUS_KAFKA_CONFIG"
        return refused_login(AuthError(words))
    if error.code() in _LOGIN:
        words = f"{doing}: Kafka denies access: {error.str()}; correct the SASL settings in SORBUS_KAFKA_CONFIG"
        return refused_login(AuthError(words))
    if (needs := RIGHTS.get(error.code())) is not None:
        fix = f"this login needs {needs}: add it to the broker's ACLs (docs/providers.md)"
        return AuthError(f"{doing}: Kafka denies access: {error.str()}; {fix}")
    if error.code() in _FENCED:
        return TransientError(f"{doing}: another process has taken over from this producer", retry_after=30.0)
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return missing("kafka", Oversized(f"{doing}: Kafka: {error.str()} (the topic's max.message.bytes)"))
    fix = "; check that Kafka runs at the address in SORBUS_KAFKA" if error.code() in _AWAY else ""
    if error.code() == KafkaError.INVALID_TIMESTAMP:  # all our messages have the time of our clock
        fix = "; set this machine's clock, or that of Kafka's brokers: they differ by more than Kafka allows"
    return missing("kafka", TransientError(f"{doing}: Kafka: {error.str()}{fix}"))


@contextmanager
def kafka_errors(doing: str) -> Iterator[None]:
    """Raises a KafkaException in its block, or a future that isn't answered, as AuthError or TransientError."""
    try:
        yield
    except KafkaException as error:
        found = error.args[0] if error.args and isinstance(error.args[0], KafkaError) else None
        raise as_error(found, doing) from error
    except NoAnswer as error:
        raise missing("kafka", TransientError(f"{doing}: Kafka hasn't answered")) from error


def read_to_end(
    consumer: Consumer,
    partitions: Sequence[TopicPartition],
    *,
    patience: float | None = None,
    ends: dict[tuple[str, int], int] | None = None,
    through: Mapping[tuple[str, int], int] = MappingProxyType({}),
) -> Iterator[Message]:
    """Every message from the given offsets to the partitions' current ends; TransientError if for `patience` seconds
    none arrives. A Kafka that throttles its readers is slow, and shows all of it.

    `ends` collects where each partition ended: past the transaction markers, which aren't messages. `through`: where
    each ends at least: a transaction whose commit was confirmed is part of it only once its markers are written.
    """
    patience = _PATIENCE if patience is None else patience
    wait = patience
    with kafka_errors("reading a topic"):
        consumer.assign(list(partitions))
        left: set[tuple[str, int]] = {(part.topic, part.partition) for part in partitions}
        while left:
            messages = consumer.consume(1, 1.0)
            if messages:  # consume waits for as many as requested: available messages arrive at once
                messages += consumer.consume(4999, 0.005)
            else:
                wait -= 1.0
                if wait <= 0:
                    why = "a transaction is open there; Kafka ends it within a minute if its producer is gone"
                    missing = why if left & through.keys() else "Kafka sent nothing for a while"
                    raise TransientError(f"reading {sorted(left)}: {missing}")
                continue
            for message in messages:
                failure = message.error()
                if failure is None:
                    wait = patience
                    yield message
                elif failure.code() == KafkaError._PARTITION_EOF:
                    if offset_of(message) < through.get(partition_of(message), 0):
                        continue
                    left.discard(partition_of(message))
                    if ends is not None:
                        ends[partition_of(message)] = offset_of(message)
                else:
                    raise as_error(failure, f"reading {message.topic()}")
        consumer.unassign()


def all_partitions(consumer: Consumer, topic: str, offset: int = OFFSET_BEGINNING) -> list[TopicPartition]:
    """A topic's partitions at `offset`; empty when there is no such topic. TransientError without Kafka."""
    with kafka_errors(f"looking up topic {topic}"):
        found = consumer.list_topics(topic, timeout=10).topics[topic]
    if found.error is not None:
        if found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return []
        raise as_error(found.error, f"looking up topic {topic}")
    return [TopicPartition(topic, number, offset) for number in sorted(found.partitions)]


def headers_of(message: Message) -> list[tuple[str, bytes | None]]:
    """A message's headers; confluent-kafka gives them as a list of text and bytes."""
    return cast("list[tuple[str, bytes | None]]", message.headers() or [])


def partition_of(message: Message) -> Partition:
    """A consumed message's topic and partition."""
    return cast("str", message.topic()), cast("int", message.partition())


def offset_of(message: Message) -> int:
    """A consumed message's offset."""
    return cast("int", message.offset())


def bytes_of(content: str | bytes | None) -> bytes:
    """A key or value as bytes; empty for none."""
    return content.encode() if isinstance(content, str) else content or b""
