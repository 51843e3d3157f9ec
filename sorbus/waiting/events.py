"""Converts between Kafka messages and stored deferred events."""

from __future__ import annotations

from confluent_kafka import Message

from sorbus.bus.kafka import bytes_of, headers_of, offset_of, partition_of
from sorbus.errors import MustWait
from sorbus.event import EVENT_ID, read_head, version_of
from sorbus.privacy.errors import Privacy
from sorbus.waiting.store import HeldBack, WaitingEvent


def held(message: Message, error: MustWait, privacy: Privacy) -> HeldBack:
    """A decoded message and why it is deferred; the reason holds no personal values in the clear."""
    value, key, headers = message.value(), bytes_of(message.key()), headers_of(message)
    frame = None if value is None else bytes_of(value)
    version = version_of(dict(headers).get(EVENT_ID) or b"") if frame is None else read_head(frame)[3]
    event = WaitingEvent(key, version or 0, frame, headers, *partition_of(message), offset_of(message))
    return HeldBack(event, error.why, error.needs, str(privacy.error(error, key, frame)), error.limit)


def message_of(event: WaitingEvent) -> Message:
    """The original message."""
    return Message(
        topic=event.topic,
        partition=event.partition,
        offset=event.offset,
        key=event.key,
        value=event.frame,
        headers=list(event.headers),
    )
