"""The letters' index: the dead letter topics, read on from where somebody last stopped, in PostgreSQL.

The topics stay the truth. The index can be dropped, and is read again from their beginning when that is needed: when a
topic was made anew, or when nobody has read it for so long that Kafka may have cleaned away which letters were closed.
Any number of processes may call `catch_up`: a batch is applied with its position in one transaction, which begins by
locking that position.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, cast

from confluent_kafka import Consumer, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from psycopg import Cursor

from sorbus.audit import AuditTrail
from sorbus.bus.kafka import (
    admin,
    all_partitions,
    bytes_of,
    headers_of,
    kafka_errors,
    offset_of,
    partition_of,
    read_to_end,
    topic_reader,
)
from sorbus.bus.letters import version_in
from sorbus.bus.names import Names
from sorbus.calendar_limits import moment_of
from sorbus.deadletter import CLOSED, CLOSED_BY, DeadLetter
from sorbus.dlq.closures import Closed, note_closed
from sorbus.dlq.statements import statement
from sorbus.errors import SorbusError
from sorbus.postgres.connection import Connection
from sorbus.settings import Settings
from sorbus.state.database import State

BATCH, BATCH_BYTES = 1_000, 16_000_000
TRUSTED = timedelta(days=29)
"""How long a position is good for: the topics keep what closed a letter for 30 days (`delete.retention.ms`)."""
_LONGEST_ID = 500
_TIMEOUT = 30.0
_TOUCH = timedelta(hours=1)
_NUMBER = re.compile(r"-?[0-9]{1,30}")
_log = logging.getLogger(__name__)
Part = tuple[str, int]
Progress = Callable[[int], None]


class _Position(NamedTuple):
    next: int
    topic_id: str
    read_at: datetime
    rebuilding_since: datetime | None


class _Failure(NamedTuple):
    """The last call's, if it failed."""

    at: float
    error: SorbusError


class _Moved(Exception):
    """Somebody has the topic read again from its beginning."""


class LetterIndex:
    """Brings the letters of a map's data types into its state. TransientError and AuthError, of Kafka and the state."""

    def __init__(self, state: State, settings: Settings, names: Names, data_types: Iterable[str]) -> None:
        self._state, self._settings, self._audit = state, settings, AuditTrail(state)
        self._topics = {names.dead_letters(data_type): data_type for data_type in data_types}
        self._lock = threading.RLock()
        self._reader: Consumer | None = None
        self._admin: AdminClient | None = None
        self._failure: _Failure | None = None

    def catch_up(self, progress: Progress | None = None) -> int:
        """Applies all that the topics have by now; how many messages that were. `progress`: told of each batch.

        One thread at a time. Who would wait for one that only finds out whether a failure lasts, shares the failure.
        """
        asked, failure = time.monotonic(), self._failure
        if failure is None:
            self._lock.acquire()
        elif not self._lock.acquire(blocking=False):
            raise copy(failure.error)
        try:
            if self._failure is not None and self._failure.at > asked:
                raise copy(self._failure.error)
            count = self._all_of_it(progress)
        except SorbusError as error:
            self._failure = _Failure(time.monotonic(), error)
            raise
        finally:
            self._lock.release()
        self._failure = None
        return count

    def rebuild(self, progress: Progress | None = None) -> int:
        """Reads the topics once more from their beginning; how many messages that were."""
        with self._lock:
            for spot, topic_id in self._parts().items():
                self._begin(spot, topic_id)
            return self.catch_up(progress)

    def close(self) -> None:
        """Gives the connections to Kafka back; they come again when needed."""
        with self._lock:
            reader, self._reader, self._admin = self._reader, None, None
        if reader is not None:
            with kafka_errors("closing a reader"):
                reader.close()

    def _all_of_it(self, progress: Progress | None) -> int:
        while True:
            try:
                return self._catch_up(progress)
            except _Moved:
                continue

    def _catch_up(self, progress: Progress | None) -> int:
        parts = self._parts()
        known = self._positions()
        ends = {spot: self._end(spot) for spot in parts}
        for topic in self._topics:
            mine = [spot for spot in parts if spot[0] == topic]
            if any(_is_useless(known.get(spot), parts[spot], ends[spot]) for spot in mine):
                for spot in mine:
                    self._begin(spot, parts[spot])
                known = self._positions()
        behind = [spot for spot in parts if known[spot].next < ends[spot]]
        count = self._read([TopicPartition(*spot, known[spot].next) for spot in behind], progress) if behind else 0
        for spot in parts.keys() - set(behind):
            if abs(datetime.now(UTC) - known[spot].read_at) > _TOUCH:  # a clock may have been ahead
                self._move(spot, known[spot].next, known[spot].next)
        for topic in self._topics:
            since = [found for spot in parts if spot[0] == topic and (found := known[spot].rebuilding_since)]
            if since:
                self._finish(topic, min(since), [spot for spot in parts if spot[0] == topic])
        return count

    def _read(self, starts: Sequence[TopicPartition], progress: Progress | None) -> int:
        count, ends, reached = 0, dict[Part, int](), dict[Part, int]()
        # One partition after the other: a batch has one position.
        for start in starts:
            spot = start.topic, start.partition
            reached[spot] = start.offset
            arriving = read_to_end(self._consumer, [start], ends=ends)
            for messages in _batches(arriving):
                self._apply(messages)
                reached[spot] = offset_of(messages[-1]) + 1
                count += len(messages)
                if progress is not None:
                    progress(len(messages))
        for spot, end in ends.items():
            self._move(spot, reached[spot], end)
        return count

    def _apply(self, messages: Sequence[Message]) -> None:
        """One batch and its position, all or nothing; what somebody else has applied already is left out."""
        spot = partition_of(messages[0])
        data_type = self._topics[spot[0]]
        with self._state.connection() as connection:
            at, is_rebuilding = _lock(connection, spot)
            if at is None or at < offset_of(messages[0]):
                raise _Moved
            changes = _newest(message for message in messages if offset_of(message) >= at)
            with connection.cursor() as cursor:
                cursor.executemany(
                    statement("open"), [_row(opened, data_type) for opened, _ in changes if opened is not None]
                )
                closings = [_closing(closed) for _, closed in changes if closed is not None]
                left = [one for one in closings if one["how"] != "forgotten"]
                cursor.executemany(statement("close"), left, returning=True)
                if left and not is_rebuilding:  # what is read once more was told when it happened
                    note_closed(connection, self._audit, _results(cursor))
                cursor.executemany(statement("forget"), [one for one in closings if one["how"] == "forgotten"])
            if offset_of(messages[-1]) >= at:
                _set(connection, spot, offset_of(messages[-1]) + 1)

    def _move(self, spot: Part, reached: int, next: int) -> None:
        """Past what is no message, or only to say that somebody has looked; not where others read what we `reached`."""
        with self._state.connection() as connection:
            at, _ = _lock(connection, spot)
            if at is None or at < reached:
                raise _Moved
            _set(connection, spot, max(at, next))

    def _begin(self, spot: Part, topic_id: str) -> None:
        _log.info("reading dead letters of %s from the beginning", spot[0])
        values = {"topic": spot[0], "partition": spot[1], "topic_id": topic_id}
        self._state.run(statement("begin").encode(), values)

    def _finish(self, topic: str, since: datetime, spots: Sequence[Part]) -> None:
        with self._state.connection() as connection:
            for spot in spots:
                row = connection.execute(statement("lock"), _named(spot)).fetchone()
                if row is None or row[1] is None or cast("datetime", row[1]) > since:
                    return  # somebody has finished it, or begun again
            connection.execute(statement("unmet"), {"data_type": self._topics[topic], "since": since})
            for spot in spots:
                connection.execute(statement("rebuilt"), _named(spot))

    def _positions(self) -> dict[Part, _Position]:
        rows = self._state.run(statement("positions").encode(), {"topics": list(self._topics)})
        return {cast("Part", row[:2]): _Position(*row[2:]) for row in rows}  # type: ignore[arg-type]

    def _parts(self) -> dict[Part, str]:
        """Every partition there is, with its topic's id; nothing of topics that are still to be made."""
        spots = [
            (part.topic, part.partition) for topic in self._topics for part in all_partitions(self._consumer, topic)
        ]
        if self._admin is None:
            self._admin = admin(self._settings)
        topics = sorted({topic for topic, _ in spots})
        with kafka_errors("looking up dead letter topics"):
            asked = self._admin.describe_topics(TopicCollection(topics)) if topics else {}
            ids = {topic: str(future.result(_TIMEOUT).topic_id) for topic, future in asked.items()}
        return {spot: ids[spot[0]] for spot in spots}

    def _end(self, spot: Part) -> int:
        with kafka_errors(f"asking for the end of {spot[0]}"):
            return self._consumer.get_watermark_offsets(TopicPartition(*spot), timeout=_TIMEOUT)[1]

    @property
    def _consumer(self) -> Consumer:
        if self._reader is None:
            self._reader = topic_reader(self._settings, "letters")
        return self._reader


def _results(cursor: Cursor[tuple[object, ...]]) -> list[Closed]:
    """What each statement of an executemany gave."""
    found = [Closed.of(row) for row in cursor.fetchall()]
    while cursor.nextset():
        found += [Closed.of(row) for row in cursor.fetchall()]
    return found


def _is_useless(known: _Position | None, topic_id: str, end: int) -> bool:
    if known is None or known.topic_id != topic_id or known.next > end:
        return True
    return datetime.now(UTC) - known.read_at > TRUSTED


def _named(spot: Part) -> dict[str, object]:
    return {"topic": spot[0], "partition": spot[1]}


def _lock(connection: Connection, spot: Part) -> tuple[int | None, bool]:
    """The position, None if there is none; and whether the topic is being read from its beginning."""
    row = connection.execute(statement("lock"), _named(spot)).fetchone()
    return (None, False) if row is None else (cast("int", row[0]), row[1] is not None)


def _set(connection: Connection, spot: Part, next: int) -> None:
    connection.execute(statement("move"), {**_named(spot), "next": next})


def _batches(messages: Iterable[Message]) -> Iterator[list[Message]]:
    batch, size = list[Message](), 0
    for message in messages:
        batch.append(message)
        size += len(message)
        if len(batch) == BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _newest(messages: Iterable[Message]) -> list[tuple[Message | None, Message | None]]:
    """For each letter, in order: the last that opened it, and what closed it after that.

    Who closes it first is right: a letter that is closed can't be closed. Only forgetting is never too late.
    """
    found: dict[bytes, tuple[Message | None, Message | None]] = {}
    for message in messages:
        key = bytes_of(message.key())
        opened, closed = found.pop(key, (None, None))
        if message.value() is not None:
            found[key] = message, None
        elif closed is None or _how(message) == "forgotten":
            found[key] = opened, message
        else:
            found[key] = opened, closed
    return list(found.values())


def _how(message: Message) -> str:
    return (dict(headers_of(message)).get(CLOSED) or b"").decode(errors="replace")


def _closing(message: Message) -> dict[str, object]:
    by = (dict(headers_of(message)).get(CLOSED_BY) or b"").decode(errors="replace")
    return {
        "id": _id(bytes_of(message.key()).decode(errors="replace")),
        "how": _how(message),
        "by": _within(int(by), 63) if _NUMBER.fullmatch(by) else None,
        "at": _moment(message.timestamp()[1] * 1000),
    }


def _row(message: Message, data_type: str) -> dict[str, object]:
    """A letter as open.sql takes it: no NUL in texts, numbers and times as large as columns are."""
    key = bytes_of(message.key())
    letter = DeadLetter.from_message(key, bytes_of(message.value()), headers_of(message))
    version = version_in(letter.value, letter.headers) if letter.flow else None
    texts = ("system", "flow", "reason", "message", "field", "rule", "words", "topic")
    return {
        **{name: _text(getattr(letter, name)) for name in texts},
        "id": _id(letter.id),
        "key": key,
        "data_type": data_type,
        "partition": _within(letter.partition, 31),
        "offset": _within(letter.offset, 63),
        "attempts": _within(letter.attempts, 31),
        "first_at": _moment(letter.first_at),
        "last_at": _moment(letter.last_at),
        "record_id": letter.record_id,
        "version": None if version is None else _within(version, 63),
        "cause": letter.cause,
        "frame": letter.value,
        "header_names": [_text(name) for name, _ in letter.headers],
        "header_values": [content for _, content in letter.headers],
    }


def _text(text: str) -> str:
    return text.replace("\0", "\ufffd")


def _id(id: str) -> str:
    """The letter's id; one that is too long for the index, which only others write, with a hash for its end."""
    whole = _text(id)
    if len(whole) <= _LONGEST_ID:
        return whole
    return f"{whole[:_LONGEST_ID]}~{hashlib.sha256(whole.encode()).hexdigest()}"


def _within(number: int, bits: int) -> int:
    return max(-(1 << bits), min((1 << bits) - 1, number))


def _moment(micros: int) -> datetime:
    return moment_of(max(0, micros))
