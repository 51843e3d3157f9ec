"""An application that becomes the owner of what another system has published."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from confluent_kafka import Producer
from starlette.responses import Response

from sorbus.avro.encode import encoder
from sorbus.bus.kafka import base_config
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.drift.store import DriftStore
from sorbus.event import event_encoder
from sorbus.schema import FieldType
from sorbus.state.database import State
from tests.producers.http.desk import Desk
from tests.producers.http.test_held_deletes import findings
from tests.producers.http.test_producer import polls_more
from tests.producers.shop import Record


def publish_as_former(desk: Desk, ids: Iterable[int], version: int) -> None:
    schema = desk.loaded().schema("contact")
    record = dict.fromkeys((field.name for field in schema.fields), None) | {"name": "of former"}
    data = encoder(FieldType("record", fields=schema.fields))(record)
    event = event_encoder(SchemaResolver(desk.settings, desk.names).prefix("contact", schema), "former", "contact")
    producer = Producer(base_config(desk.settings, "test"))
    for id in ids:
        value, headers = event(str(id).encode(), version, 2_000_000_000_000_000, 0, data)
        producer.produce(desk.names.topic("contact"), value, str(id).encode(), headers=headers)
    assert producer.flush(30) == 0


@pytest.mark.parametrize("version", [2**40, 2_800_000_000_000_000], ids=["an LSN", "beyond our clock"])
def test_an_application_begins_above_a_former_owner_and_what_it_lacks_is_a_question(desk: Desk, version: int) -> None:
    desk.faulty.add_many([{"name": f"Name {n}", "email": f"a{n}@example.test", "amount": "1.50"} for n in range(40)])
    desk.poll("ascending")
    publish_as_former(desk, [*range(1, 41), *range(900, 990)], version)  # ninety that the application hasn't
    tape = desk.tape("contact")

    def shown() -> dict[str, Record | None]:
        return {id: record for id, record in tape.live().items() if int(id) < 900}

    with desk.producing():
        # The tape fails where a record goes back to an older version.
        tape.wait(lambda: not tape.read() and shown() == desk.there(), "every record of the new owner")
        tape.wait(lambda: not tape.read() and bool(findings(desk)), "a question to a person")
        desk.faulty.change("3", name="Later")
        tape.wait(lambda: not tape.read() and shown() == desk.there(), "a change of the new owner")
        assert not tape.tombstones, "deleted without a question"
    with desk.producing():  # also when it was restarted in between
        [found] = findings(desk)
        assert "90 of 130 records seem deleted" in found.words
        DriftStore(State.of(desk.prefix)).settle(found.number, "anna", "the former owner's alone")
        tape.wait_for(desk.there(), 60)
    assert len(tape.tombstones) == 90


@pytest.mark.parametrize("resource", ["ascending", "listed", "unlooked"])
def test_a_first_list_that_is_short_deletes_nothing_of_the_former_owner(desk: Desk, resource: str) -> None:
    """The new owner's token doesn't show all yet: its list answers 200, and is cut short."""
    desk.faulty.add_many([{"name": f"Name {n}"} for n in range(40)])
    desk.poll(resource)
    publish_as_former(desk, range(1, 41), 2**40)

    def cut_short(_method: str, path: str, _asked: dict[str, str]) -> Response | None:
        if path != "/contacts":
            return None
        shown = list(desk.faulty.contacts().values())[:25]
        return Response(json.dumps({"contacts": shown, "total": len(shown)}), media_type="application/json")

    desk.faulty.raw = cut_short
    tape = desk.tape("contact")
    with desk.producing():
        tape.wait(lambda: not tape.read() and len(tape.events) >= 40 + 25, "the records that the list shows")
        polls_more(desk, tape, 3)
        assert not tape.tombstones
        desk.faulty.raw = None
        tape.wait_for(desk.there())
    assert not tape.tombstones


def test_one_record_less_than_the_former_owner_had_is_deleted_with_proof(desk: Desk) -> None:
    desk.faulty.add_many([{"name": f"Name {n}"} for n in range(40)])
    desk.poll("ascending")
    publish_as_former(desk, [*range(1, 41), 900], 2**40)
    tape = desk.tape("contact")
    with desk.producing():
        tape.wait_for(desk.there())
    assert list(tape.tombstones) == ["900"]
