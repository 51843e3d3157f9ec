"""The newest message of records that are to be published again: from the topic's beginning up to where it was read.

Two passes, so that of all records only an offset is kept, and none is published in an older state.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sorbus.bus.topic_reader import TopicMessage, TopicReader
from sorbus.connector import StaleRecordDeletion
from sorbus.errors import PermanentError
from sorbus.producers.debezium.change_event import AllGone, NoChange, RowChange, event_of, id_of
from sorbus.producers.debezium.formats import Content, Formats
from sorbus.producers.debezium.row_keys import digest
from sorbus.producers.debezium.topic_stream import Outcome, TopicStream
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


class Newest(NamedTuple):
    """A message that tells the newest state of the records `ids`, but of none else that it is about."""

    message: TopicMessage
    ids: frozenset[bytes]

    def only(self, made: Outcome) -> Outcome:
        """What the message means for these: where a column of `key:` changed, it is about two records."""
        if made.gone is None or made.found is None or isinstance(made.found, StaleRecordDeletion):
            return made
        gone = made.gone if made.gone.id in self.ids else None
        return made._replace(found=made.found if made.found.id in self.ids else None, gone=gone)


class _Told(NamedTuple):
    """Where a record's state is told: in which message, of which row, when it happened; whether it is that row's."""

    partition: int
    offset: int
    at: int
    row: str
    happened: int
    is_gone: bool

    def follows(self, other: _Told) -> bool:
        """Whether it is newer. In one transaction, a row that takes a key outlasts the one that leaves it."""
        if self.row != other.row and self.happened == other.happened and self.is_gone != other.is_gone:
            return other.is_gone
        return self.partition == other.partition or other.at <= self.at


def read_again(
    settings: Settings,
    stream: TopicStream,
    begins: list[int],
    until: list[int],
    ids: frozenset[bytes] | None,
    formats: Formats,
) -> Iterator[Newest | None]:
    """Each record's newest message below the offsets `until`; None now and then, for others to have their turn.

    `ids`: only of these; None: of all.
    """
    newest: dict[bytes, _Told] = {}
    emptied: list[Emptied] = []
    deleted: dict[int, str] = {}
    for message in _messages(settings, stream.options.topic, begins, until):
        if message is None:
            yield None
            continue
        row, before = digest(message.key), deleted.pop(message.partition, "")
        if message.value is None and row == before:
            continue  # the tombstone that follows a delete
        found = _told(message, stream, formats)
        if isinstance(found, AllGone):
            emptied.append(Emptied(message.partition, message.offset, found.occurred_at or message.at))
            continue
        if all(told.is_gone for told in found.values()):
            deleted[message.partition] = row
        for id, told in found.items():
            known = newest.get(id)
            if (ids is None or id in ids) and (known is None or told.follows(known)):
                newest[id] = told
    wanted: dict[tuple[int, int], list[bytes]] = {}
    for id, told in newest.items():
        if not any(told.partition == end.partition and told.offset < end.offset for end in emptied):
            wanted.setdefault((told.partition, told.offset), []).append(id)
    newest.clear()
    for message in _messages(settings, stream.options.topic, begins, until) if wanted else ():
        if message is None:
            yield None
        elif of := wanted.get((message.partition, message.offset)):
            others = [end for end in emptied if end.partition != message.partition]
            if not others or not any(end.follows(message, _moment(message, stream, formats)) for end in others):
                yield Newest(message, frozenset(of))


def _told(message: TopicMessage, stream: TopicStream, formats: Formats) -> dict[bytes, _Told] | AllGone:
    """Which records a message is of: two where a column of `key:` changed; or that the table was emptied."""
    known, key, was, happened, is_gone = None, None, None, message.at, message.value is None
    try:
        key = formats.read(message.key) if message.key is not None else None
        if message.value is not None and (stream.options.key or not _has_id(key, stream)):
            event = event_of(formats.read(message.value), stream.options)
            if isinstance(event, AllGone):
                return event
            if isinstance(event, RowChange):
                known, was = event.known, stream.id_before(event)
                happened, is_gone = event.occurred_at or message.at, event.row is None
        id = id_of(key, known, stream.options)
    except PermanentError:
        id = f"no-id:{message.partition}:{message.offset}".encode()
    row = digest(message.key) if stream.options.key else ""
    told = _Told(message.partition, message.offset, message.at, row, happened, is_gone)
    return {**({was: told._replace(is_gone=True)} if was is not None else {}), id: told}


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
