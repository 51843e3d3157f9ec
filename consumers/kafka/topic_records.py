"""What a topic holds, as who reads it by key sees it: the last message of each record."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from sorbus.bus.kafka import all_partitions, bytes_of, read_to_end, topic_reader
from sorbus.consumers.kafka.encodings import Encoding
from sorbus.settings import Settings


class TopicRecords:
    """Read whole when made; of each record its key and 16 bytes are kept, some 300 in all where keys have schemas.

    TransientError, AuthError.
    """

    def __init__(self, settings: Settings, topic: str, encoding: Encoding) -> None:
        self._encoding = encoding
        self._found: dict[bytes, bytes] = {}
        reader = topic_reader(settings, f"reconcile-{topic}")
        try:
            for message in read_to_end(reader, all_partitions(reader, topic)):
                key, value = bytes_of(message.key()), message.value()
                row = None if value is None else encoding.row(bytes_of(value))
                if row is not None:
                    self._found[key] = _digest(row)
                elif value is None or encoding.is_delete(bytes_of(value)):
                    self._found.pop(key, None)
                else:
                    self._found[key] = b""  # another program's, or written in an earlier form
        finally:
            reader.close()

    def __len__(self) -> int:
        return len(self._found)

    def has(self, key: bytes) -> bool:
        """Whether the record is there."""
        return key in self._found

    def agrees(self, key: bytes, value: bytes) -> bool:
        """Whether the record's last message has the fields that this one has."""
        row = self._encoding.row(value)
        return row is not None and self._found.get(key) == _digest(row)

    def ids(self) -> Iterator[str]:
        """Ids of the records that are there; keys of other programs are left out."""
        for key in self._found:
            if (id := self._encoding.id(key)) is not None:
                yield id


def states_of(settings: Settings, topic: str, encoding: Encoding, id: str) -> tuple[bool, int]:
    """Reads a whole topic: whether a record is there, and how many older messages hold a state of it.

    TransientError, AuthError.
    """
    there, older = False, 0
    reader = topic_reader(settings, f"forget-{topic}")
    try:
        for message in read_to_end(reader, all_partitions(reader, topic)):
            if encoding.id(bytes_of(message.key())) != id:
                continue
            older += there
            value = message.value()
            there = value is not None and not encoding.is_delete(bytes_of(value))
    finally:
        reader.close()
    return there, older


def _digest(row: bytes) -> bytes:
    return blake2b(row, digest_size=16).digest()
