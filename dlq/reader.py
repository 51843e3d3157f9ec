"""Reading dead letters: those still open, straight from their topics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sorbus.avro.decode import Undecodable, read_record
from sorbus.bus.letters import open_letters as read_open
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.deadletter import DeadLetter
from sorbus.errors import PermanentError, TransientError
from sorbus.event import data_at, open_frame
from sorbus.settings import Settings


def open_letters(settings: Settings, names: Names, data_types: Iterable[str]) -> list[DeadLetter]:
    """Every open letter of `data_types`, oldest first. TransientError when Kafka is out of reach."""
    found = read_open(settings, map(names.dead_letters, data_types), "dlq", lambda letter: letter)
    return sorted(found.values(), key=lambda letter: (letter.first_at, letter.id))


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a letter's bytes hold, as far as they can be read; `problem` says why no further."""

    record: dict[str, object] | None
    version: int | None
    problem: str | None


def decode(letter: DeadLetter, book: SchemaResolver) -> Decoded:
    """Opens a letter's bytes. A source row's letter holds JSON, which is shown as it is."""
    frame = letter.value or b""
    if not letter.flow:
        return Decoded({"row": frame.decode(errors="replace")}, None, None)
    version = None
    if not frame:
        return Decoded(None, None, "a tombstone: the record was deleted")
    try:
        head = open_frame(frame)
        version = head.version
        if head.deleted:
            return Decoded(None, version, None)
        record, _ = read_record(book.schema(head.prefix), frame, data_at(frame, head.at))
        return Decoded(record, version, None)
    except (Undecodable, PermanentError, TransientError) as error:
        return Decoded(None, version, str(error))
