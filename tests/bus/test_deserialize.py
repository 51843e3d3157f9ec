"""What becomes of messages that are no events of a record."""

from __future__ import annotations

from confluent_kafka import Message

from sorbus.bus.deserialize import decode_batch
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.settings import Settings
from tests.consumers.http.house import CONTACT, WRITER, contact


def test_records_whose_ids_are_no_text_are_refused_each_alone() -> None:
    """As text, some would all be the record U+FFFD; a zero byte no text of PostgreSQL can hold."""
    book = SchemaResolver(Settings(registry=""), Names(), [CONTACT])
    messages = []
    for place, id in enumerate((b"\xff", b"\xfe", b"a\0b", "\ufffd".encode(), b"1")):
        value, headers = WRITER.event("?", 1, contact("Ada"))
        assert value is not None
        value = value.replace(b"\x02?", bytes([len(id) * 2]) + id, 1)
        messages.append(Message(topic="contact", partition=0, offset=place, key=id, value=value, headers=headers))
    _, gone = WRITER.event("?", 2, None)
    messages.append(Message(topic="contact", partition=0, offset=9, key=b"\xff", value=None, headers=gone))
    messages.append(Message(topic="contact", partition=0, offset=10, key=b"a\0b", value=None, headers=gone))
    read = decode_batch(messages, book)
    assert [(one.id, one.deleted) for one in read.deliveries] == [("\ufffd".encode(), False), (b"1", False)]
    assert [message.key() for message, _ in read.refused] == [b"\xff", b"\xfe", b"a\0b"]
    assert "isn't UTF-8" in str(read.refused[0][1])
    assert "has a zero byte" in str(read.refused[2][1])
