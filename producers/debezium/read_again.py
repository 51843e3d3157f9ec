"""The newest message of records that are to be published again: from the topic's beginning up to where it was read.

Two passes, so that of all records only an offset is kept, and none is published in an older state.
"""

from __future__ import annotations

from collections.abc import Iterator

from sorbus.bus.topic_reader import TopicMessage, TopicReader
from sorbus.errors import PermanentError
from sorbus.producers.debezium.change_event import AllGone, event_of, id_of
from sorbus.producers.debezium.formats import Content, Formats
from sorbus.producers.debezium.topic_stream import TopicStream
from sorbus.settings import Settings

_WAIT = 0.5


def read_again(
    settings: Settings,
    stream: TopicStream,
    begins: list[int],
    until: list[int],
    ids: frozenset[bytes] | None,
    formats: Formats,
) -> Iterator[TopicMessage | None]:
    """Each record's newest message below the offsets `until`; None now and then, for others to have their turn.

    `ids`: only of these; None: of all.
    """
    newest: dict[bytes, TopicMessage] = {}
    emptied: list[TopicMessage] = []
    for message in _messages(settings, stream.options.topic, begins, until):
        if message is None:
            yield None
        elif isinstance(found := _id_or_end(message, stream, formats), AllGone):
            emptied.append(message._replace(key=None, value=None))
        elif ids is None or found in ids:
            newest[found] = message._replace(key=None, value=None)
    wanted = {
        (one.partition, one.offset) for one in newest.values() if not any(_is_before(one, end) for end in emptied)
    }
    for message in _messages(settings, stream.options.topic, begins, until) if wanted else ():
        if message is None or (message.partition, message.offset) in wanted:
            yield message


def _id_or_end(message: TopicMessage, stream: TopicStream, formats: Formats) -> bytes | AllGone:
    """Which record a message is of; or that the table was emptied."""
    known, key = None, None
    try:
        key = formats.read(message.key) if message.key is not None else None
        if message.value is not None and (stream.options.key or not _has_id(key, stream)):
            event = event_of(formats.read(message.value), stream.options)
            if isinstance(event, AllGone):
                return event
            known = getattr(event, "known", None)
        return id_of(key, known, stream.options)
    except PermanentError:
        return f"no-id:{message.partition}:{message.offset}".encode()


def _has_id(key: Content | None, stream: TopicStream) -> bool:
    try:
        return bool(id_of(key, None, stream.options))
    except PermanentError:
        return False


def _is_before(one: TopicMessage, end: TopicMessage) -> bool:
    """Whether the table was emptied after this message; other partitions are ordered by time alone."""
    return one.offset < end.offset if one.partition == end.partition else one.at <= end.at


def _messages(settings: Settings, topic: str, begins: list[int], until: list[int]) -> Iterator[TopicMessage | None]:
    reader = TopicReader(settings, f"again-{topic}", {topic: begins}, may_skip=True)
    left = {number for number, (begin, end) in enumerate(zip(begins, until, strict=True)) if begin < end}
    try:
        while left and not reader.is_at_end:
            for _, message in reader.read(_WAIT):
                if message.offset >= until[message.partition] - 1:
                    left.discard(message.partition)
                if message.offset < until[message.partition]:
                    yield message
            yield None
    finally:
        reader.close()
