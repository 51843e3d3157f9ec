"""An application that becomes the owner of what another system has published."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer

from sorbus.avro.encode import encoder
from sorbus.bus.kafka import base_config
from sorbus.bus.schemabook import SchemaBook
from sorbus.event import event_encoder
from sorbus.schema import FieldType
from tests.producers.http.desk import Desk


@pytest.mark.parametrize("version", [2**40, 2_800_000_000_000_000], ids=["an LSN", "beyond our clock"])
def test_an_application_begins_above_a_former_owner_and_sweeps_what_it_lacks(desk: Desk, version: int) -> None:
    desk.faulty.add_many([{"name": f"Name {n}", "email": f"a{n}@example.test", "amount": "1.50"} for n in range(40)])
    desk.poll("ascending")
    schema = desk.loaded().schema("contact")
    record = dict.fromkeys((field.name for field in schema.fields), None) | {"name": "of former"}
    data = encoder(FieldType("record", fields=schema.fields))(record)
    event = event_encoder(SchemaBook(desk.settings, desk.names).prefix("contact", schema), "former", "contact")
    producer = Producer(base_config(desk.settings, "test"))
    for id in [*range(1, 41), *range(900, 990)]:  # ninety that the application hasn't
        value, headers = event(str(id).encode(), version, 2_000_000_000_000_000, 0, data)
        producer.produce(desk.names.topic("contact"), value, str(id).encode(), headers=headers)
    assert producer.flush(30) == 0
    tape = desk.tape("contact")
    with desk.producing():
        tape.wait_for(desk.there())  # the tape fails where a record goes back to an older version
        desk.faulty.change("3", name="Later")
        tape.wait_for(desk.there())
    assert len(tape.tombstones) == 90
