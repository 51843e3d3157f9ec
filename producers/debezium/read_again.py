"""The newest message of records that are to be published again: from the topic's beginning up to where it was read.

Two passes, so that of all records only an offset is kept, and none is published in an older state.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sorbus.bus.topic_reader import TopicMessage, TopicReader
from sorbus.errors import PermanentError
from sorbus.producers.debezium.change_event import AllGone, NoChange, RowChange, event_of, id_of
from sorbus.producers.debezium.formats import Content, Formats
from sorbus.producers.debezium.topic_stream import TopicStream
from sorbus.settings import Settings

_WAIT = 0.5


class Emptied(NamedTuple):
    """Where a topic tells that its table was emptied, and when that was, in microseconds since 1970."""

    partition: int
    offset: int
    at: int

    def follows(self, message: TopicMessage, at: int) -> bool:
        """Whether the table was emptied after what a message tells, which happened at `at`.

        What happened within the same transaction, such as a table that is filled again, has the same time.
        """
        return message.offset < self.offset if message.partition == self.partition else at < self.at


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
    emptied: list[Emptied] = []
    for message in _messages(settings, stream.options.topic, begins, until):
        if message is None:
            yield None
            continue
        found = _ids_or_end(message, stream, formats)
        if isinstance(found, AllGone):
            emptied.append(Emptied(message.partition, message.offset, found.occurred_at or message.at))
            continue
        for id in found:
            known = newest.get(id)
            is_newer = known is None or known.partition == message.partition or known.at <= message.at
            if (ids is None or id in ids) and is_newer:
                newest[id] = message._replace(key=None, value=None)
    wanted = {
        (one.partition, one.offset)
        for one in newest.values()
        if not any(one.partition == end.partition and one.offset < end.offset for end in emptied)
    }
    for message in _messages(settings, stream.options.topic, begins, until) if wanted else ():
        if message is None:
            yield None
        elif (message.partition, message.offset) in wanted:
            others = [end for end in emptied if end.partition != message.partition]
            if not others or not any(end.follows(message, _moment(message, stream, formats)) for end in others):
                yield message


def _ids_or_end(message: TopicMessage, stream: TopicStream, formats: Formats) -> list[bytes] | AllGone:
    """Which records a message is of: two where a column of `key:` changed; or that the table was emptied."""
    known, key, was = None, None, None
    try:
        key = formats.read(message.key) if message.key is not None else None
        if message.value is not None and (stream.options.key or not _has_id(key, stream)):
            event = event_of(formats.read(message.value), stream.options)
            if isinstance(event, AllGone):
                return event
            if isinstance(event, RowChange):
                known, was = event.known, stream.id_before(event)
        return [id_of(key, known, stream.options), *([was] if was is not None else [])]
    except PermanentError:
        return [f"no-id:{message.partition}:{message.offset}".encode()]


def _moment(message: TopicMessage, stream: TopicStream, formats: Formats) -> int:
    """When what a message tells happened."""
    try:
        event = event_of(formats.read(message.value), stream.options) if message.value is not None else NoChange()
    except PermanentError:
        return message.at
    return getattr(event, "occurred_at", None) or message.at


def _has_id(key: Content | None, stream: TopicStream) -> bool:
    try:
        return bool(id_of(key, None, stream.options))
    except PermanentError:
        return False


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
