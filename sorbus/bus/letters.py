"""Dead letters on the bus: reading open ones, writing a flow's, closing those that are delivered or obsolete."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

from confluent_kafka import Message, Producer

from sorbus.avro.decode import Undecodable
from sorbus.bus.kafka import (
    all_partitions,
    bytes_of,
    headers_of,
    offset_of,
    partition_of,
    read_to_end,
    topic_reader,
)
from sorbus.bus.names import Names
from sorbus.bus.sending import Single, TooLarge, send
from sorbus.connector import BoundFlow
from sorbus.deadletter import CLOSED, CLOSED_BY, LETTER, DeadLetter
from sorbus.errors import PermanentError
from sorbus.event import EVENT_ID, id_fault, open_frame, version_of
from sorbus.privacy.errors import Privacy
from sorbus.settings import Settings

T = TypeVar("T")
_NO_RECORD = b"the record is too large for a dead letter"


def open_letters(
    settings: Settings, topics: Iterable[str], role: str, keep: Callable[[DeadLetter], T | None]
) -> dict[bytes, T]:
    """The result of `keep` for each open dead letter on these topics, by id; letters for which it is None are left out.

    TransientError if Kafka is unreachable.
    """
    consumer = topic_reader(settings, role)
    found: dict[bytes, T] = {}
    try:
        partitions = [part for topic in topics for part in all_partitions(consumer, topic)]
        for message in read_to_end(consumer, partitions) if partitions else ():
            key, value = bytes_of(message.key()), message.value()
            found.pop(key, None)
            if value is not None:
                kept = keep(DeadLetter.from_message(key, bytes_of(value), headers_of(message)))
                if kept is not None:
                    found[key] = kept
    finally:
        consumer.close()
    return found


class _State(NamedTuple):
    """Which state of a record an event carries: its version, if it has one, and its position on its topic."""

    version: int | None
    topic: str
    partition: int
    offset: int

    def is_newer(self, other: _State) -> bool:
        """By version where both have one: a requeued or replayed event has another offset than the one it repeats."""
        if self.version is not None and other.version is not None:
            return self.version > other.version
        return (self.topic, self.partition) == (other.topic, other.partition) and self.offset > other.offset

    def covers(self, other: _State) -> bool:
        """Whether a target that has applied this event no longer needs the other one."""
        return self.is_newer(other) or (self.version is not None and self.version == other.version)


class _Open(NamedTuple):
    """An open dead letter, as its flow remembers it. `state`: of the event when first seen, even after a requeue."""

    record_id: bytes
    state: _State
    attempts: int
    first_at: int


class Letters:
    """Writes one flow's dead letters. Queued messages are sent by `flush`."""

    def __init__(self, make_producer: Callable[[], Producer], names: Names, flow: BoundFlow, privacy: Privacy) -> None:
        """`make_producer` is called for the first letter: most flows write none, and a client has three threads."""
        self._make_producer = make_producer
        self._producer: Producer | None = None
        self._flow = flow
        self._privacy = privacy
        self._topic = names.dead_letters(flow.flow.data_type)
        self._queued: dict[bytes, tuple[bytes | None, Sequence[tuple[str, bytes]]]] = {}
        self._open: dict[bytes, _Open] = {}
        self._of_record: dict[bytes, set[bytes]] = {}

    def recall(self, settings: Settings) -> None:
        """Reads which of the flow's dead letters are open, at start and when partitions come from another member."""
        self._open, self._of_record = {}, {}
        for key, letter in open_letters(settings, [self._topic], f"letters-{self._flow.flow.id}", self._ours).items():
            self._remember(key, letter)

    def write(self, message: Message, error: PermanentError) -> DeadLetter:
        """Queues a dead letter for a message that can't be delivered. `flush` before offsets are committed.

        Its bytes are the message's own; its description masks personal values. It closes the dead letters of the
        record's older states. If a newer state has one, this one is closed itself.
        """
        headers = headers_of(message)
        before = dict(headers).get(LETTER)
        former = DeadLetter.from_message(before, message.value(), headers) if before else None
        letter = DeadLetter.refused(
            self._privacy.error(error, bytes_of(message.key()), message.value()),
            data_type=self._flow.flow.data_type,
            system=self._flow.system.name,
            flow=self._flow.flow.id,
            origin=(*partition_of(message), offset_of(message)),
            record_id=bytes_of(message.key()),
            value=message.value(),
            headers=headers,
            before=former,
        )
        if former is None:
            letter = replace(letter, id=self._id_of(letter))
        key = letter.id.encode()
        if former is None and (known := self._open.get(key)):
            letter = letter.again(known.attempts, known.first_at)  # seen again by a replay or a redelivery
        self._queued[key] = (letter.value or b"", letter.to_headers())
        if ours := self._ours(letter):
            self._remember(key, ours)
            self._keep_newest(key, ours)
        return letter

    def _id_of(self, letter: DeadLetter) -> str:
        """The letter's id: that of the same state's open letter, and never that of another record's.

        A topic that was made again has its offsets once more, of which ids are made.
        """
        version = version_in(letter.value, letter.headers)
        for key in self._of_record.get(letter.record_id, ()):
            if version is not None and self._open[key].state.version == version:
                return key.decode()
        known = self._open.get(letter.id.encode())
        if known is None or (known.record_id, known.state.version) == (letter.record_id, version):
            return letter.id
        content = hashlib.sha256(b"%d " % len(letter.record_id) + letter.record_id + (letter.value or b""))
        return f"{letter.id}:{content.hexdigest()[:8]}"

    def _keep_newest(self, key: bytes, ours: _Open) -> None:
        for other in tuple(self._of_record[ours.record_id] - {key}):
            if ours.state.is_newer(self._open[other].state):
                self._close(other, b"superseded", ours.state.version)
            elif self._open[other].state.is_newer(ours.state):
                self._close(key, b"superseded", self._open[other].state.version)
                return

    def versions(self) -> list[tuple[bytes, int]]:
        """Record and version of the open letters that have one; one whose id no text can be is in no target."""
        return [
            (one.record_id, one.state.version)
            for one in self._open.values()
            if one.state.version is not None and not id_fault(one.record_id)
        ]

    def overtaken(self, applied: Mapping[bytes, int]) -> None:
        """Queues the closing of letters older than what the target has: record -> the version there."""
        for id, version in applied.items():
            for key in tuple(self._of_record.get(id, ())):
                state = self._open[key].state
                if state.version is not None and state.version < version:
                    self._close(key, b"superseded", version)

    def close(self, letter: bytes | None) -> None:
        """Queues the closing of a requeued dead letter that was delivered, unless a later message of it is queued.

        If it was requeued twice, it stays open if the copy that was delivered for both is rejected.
        """
        if letter and letter not in self._queued:
            self._close(letter, b"requeued")

    def supersede(self, landed: Iterable[Message]) -> list[Message]:
        """Queues the closing of dead letters that a delivered state of the same record has made obsolete: which did."""
        closing: list[Message] = []
        for message in landed if self._of_record else ():
            state, own = _state(message), dict(headers_of(message)).get(LETTER)
            for key in tuple(self._of_record.get(bytes_of(message.key()), ())):
                if key != own and state.covers(self._open[key].state):
                    self._close(key, b"superseded", state.version)
                    closing.append(message)
        return closing

    def flush(self) -> None:
        """Waits until Kafka has all messages. TransientError if it doesn't: call again.

        A letter that is larger than Kafka accepts is written without its record: it must not hold up the others.
        """
        if not self._queued:
            return
        try:
            self._send(self._queued)
        except TooLarge as error:  # Kafka refuses all that it was sent in one batch
            self._queued = {key: self._queued[key] for key in error.keys}
            for key in error.keys:
                self._send_alone(key)
                del self._queued[key]
        self._queued.clear()

    def _send_alone(self, key: bytes) -> None:
        written = self._queued[key]
        try:
            self._send({key: written})
        except TooLarge:
            self._queued[key] = _without_record(key, written[1])
            self._send({key: self._queued[key]})

    def _send(self, queued: Mapping[bytes, tuple[bytes | None, Sequence[tuple[str, bytes]]]]) -> None:
        if self._producer is None:
            self._producer = self._make_producer()
        messages = [Single(self._topic, key, *written) for key, written in queued.items()]
        send(self._producer, messages, "writing dead letters")

    def _ours(self, letter: DeadLetter) -> _Open | None:
        if letter.flow != self._flow.flow.id:
            return None
        at = letter.topic, letter.partition, letter.offset
        state = _State(version_in(letter.value, letter.headers), *at)
        return _Open(letter.record_id, state, letter.attempts, letter.first_at)

    def _remember(self, key: bytes, letter: _Open) -> None:
        self._open[key] = letter
        self._of_record.setdefault(letter.record_id, set()).add(key)

    def _close(self, key: bytes, why: bytes, version: int | None = None) -> None:
        by = [] if version is None else [(CLOSED_BY, str(version).encode())]
        self._queued[key] = (None, [(CLOSED, why), *by])
        if letter := self._open.pop(key, None):
            others = self._of_record[letter.record_id]
            others.discard(key)
            if not others:
                del self._of_record[letter.record_id]


def _without_record(key: bytes, headers: Sequence[tuple[str, bytes]]) -> tuple[bytes, Sequence[tuple[str, bytes]]]:
    """The letter with words in place of its record; sent back, they are refused as no event."""
    letter = DeadLetter.from_message(key, _NO_RECORD, headers)
    told = f"{letter.message} (without the record, which is too large for a dead letter: correct it at its owner)"
    return _NO_RECORD, replace(letter, message=told).to_headers()


def _state(message: Message) -> _State:
    return _State(version_in(message.value(), headers_of(message)), *partition_of(message), offset_of(message))


def version_in(frame: str | bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> int | None:
    """The version of an event, or of a tombstone by its headers; None if it has none that can be read."""
    if frame:
        try:
            return open_frame(bytes_of(frame)).version
        except Undecodable:
            return None
    return version_of(dict(headers).get(EVENT_ID) or b"")
