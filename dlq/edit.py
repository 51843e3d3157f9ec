"""A letter's record in other words: the form of what its bytes hold, and the bytes of what a person made of it."""

from __future__ import annotations

from collections.abc import Mapping

from sorbus.avro.decode import read_bytes, read_long
from sorbus.avro.encode import encoder
from sorbus.bus.kafka import MAX_MESSAGE_BYTES
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.dlq.form import FieldError, Form
from sorbus.dlq.reader import decode
from sorbus.dlq.store import Letter
from sorbus.errors import SorbusError
from sorbus.event import event_encoder, open_frame
from sorbus.map.loaded import LoadedMap


def form_of(letter: Letter, loaded: LoadedMap, book: SchemaResolver, *, hide: bool) -> Form:
    """The form of a flow's letter, by the map's schema. SorbusError that says what to do where it has no record."""
    dead = letter.dead
    if not dead.flow:
        raise SorbusError(
            f"{letter.id} holds a row of {dead.system} that could not be made canonical: fix it there, or the mapping"
            " sheet, then requeue the letter to have it read again"
        )
    if dead.data_type not in loaded.map.data_types:
        raise SorbusError(f"{letter.id} is about a {dead.data_type}, which the map doesn't have any more")
    decoded = decode(dead, book)
    if decoded.record is None:
        why = decoded.problem or "it is a delete, which holds no record"
        raise SorbusError(f"{letter.id} can't be edited: {why}")
    return Form(loaded.schema(dead.data_type), decoded.record, hide=hide)


def edited_frame(
    letter: Letter, record: Mapping[str, object], loaded: LoadedMap, book: SchemaResolver
) -> bytes | FieldError:
    """The letter's event with another record: same id, version, operation and times, in the map's schema.

    Undecodable can't happen to what `form_of` has read.
    """
    data_type, frame = letter.dead.data_type, letter.dead.value or b""
    schema = loaded.schema(data_type)
    head = open_frame(frame)
    source, at = read_bytes(frame, head.at)
    occurred_at, at = read_long(frame, at)
    captured_at, _ = read_long(frame, at)
    made = []
    for field in schema.fields:
        try:
            made.append(encoder(field.type)(record.get(field.name)))
        except (ValueError, TypeError) as error:
            return FieldError(field.name, str(error))
    encode = event_encoder(book.prefix(data_type, schema), source.decode(errors="replace"), data_type)
    value, _ = encode(head.id, head.version, occurred_at, captured_at, b"".join(made))
    if len(value) > MAX_MESSAGE_BYTES:
        return FieldError("", f"the record has {len(value)} bytes; Kafka takes {MAX_MESSAGE_BYTES}")
    return value
