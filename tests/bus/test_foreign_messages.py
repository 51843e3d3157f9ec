"""What others put on Sorbus's own topics stops nobody: it is said, and what Sorbus wrote counts."""

from __future__ import annotations

import logging

import pytest
from confluent_kafka import Producer

from sorbus.bus.kafka import admin, base_config
from sorbus.bus.names import Names
from sorbus.bus.positions import position_message, read_positions
from sorbus.bus.schema_history import SchemaHistory, WrittenSchema
from sorbus.event import confluent_prefix, envelope_schema, record_inside
from sorbus.ops.runtime.topics import Topic, plan_topics
from sorbus.schema import parse_schema
from sorbus.settings import Settings

FOREIGN = [
    (key, value)
    for key in (b"k", b"\xff\xfe", b"crm", b"0000000007/abc", b"zz/abc", b"00")
    for value in (b"nonsense", b"\xff\xfe", b"null", b"[]", b'{"subject": 1}', b'{"subject": "a", "schema": "x"}')
] + [(b"0000000007/gone", None)]  # fmt: skip
OF_CRM: list[tuple[bytes, bytes | None]] = [(b"crm", b"nonsense"), (b"crm", b"[]"), (b"crm", b"\xff")]


@pytest.fixture
def names(settings: Settings, unique: str) -> Names:
    found = Names(f"{unique}.")
    topics = [Topic(name, 1, {"cleanup.policy": "compact"}) for name in (found.schemas, found.positions)]
    for step in plan_topics(admin(settings), topics):
        assert step.apply is not None
        step.apply()
    return found


def write(settings: Settings, topic: str, messages: list[tuple[bytes, bytes | None]]) -> None:
    producer = Producer(base_config(settings, "somebody"))
    for key, value in messages:
        producer.produce(topic, value, key)
    assert producer.flush(10) == 0


def test_schemas_are_known_beside_foreign_messages(
    settings: Settings, names: Names, caplog: pytest.LogCaptureFixture
) -> None:
    schema = parse_schema({"type": "record", "name": "part", "fields": [{"name": "a", "type": "string"}]})
    envelope, head = envelope_schema(schema), confluent_prefix(7)
    write(settings, names.schemas, FOREIGN)
    SchemaHistory(settings, names).add(
        [(head, WrittenSchema(names.subject("part"), envelope.text, record_inside(envelope)))]
    )
    write(settings, names.schemas, FOREIGN)
    reader = SchemaHistory(settings, names)
    with caplog.at_level(logging.WARNING):
        found = [reader.schema(head), reader.schema(confluent_prefix(8))]  # what isn't known is read again
    assert found[0] is not None
    assert (found[0].record.text, found[1]) == (schema.text, None)
    said = [one.getMessage() for one in caplog.records if names.schemas in one.getMessage()]
    assert len(said) == len(set(FOREIGN)), "each is said once"


def test_positions_are_read_beside_foreign_messages(
    settings: Settings, names: Names, caplog: pytest.LogCaptureFixture
) -> None:
    topic, key, value = position_message(names, "crm", {"lsn": 5})
    write(settings, topic, [*FOREIGN, (key, value), *OF_CRM])
    with caplog.at_level(logging.WARNING):
        assert read_positions(settings, names)["crm"] == {"lsn": 5}
    assert "no producer wrote" in caplog.text
