"""Incomplete records before any connector: a default where one is written, held where none is, all else untouched."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from sorbus import abilities, dry_run
from sorbus.avro.decode import read_record
from sorbus.connector import BoundFlow, Delivery, RejectedDelivery
from sorbus.consumers.http.consumer import HttpConsumer
from sorbus.consumers.mysql.consumer import MysqlConsumer
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.errors import MustWait, PermanentError
from sorbus.identity.crosswalk import Crosswalk
from sorbus.mapfile.model import DataType
from sorbus.schema import parse_schema
from sorbus.state import State
from sorbus.waiting.complete import Completing, completing
from tests.consumers.gadgets import Writer, flow_into, gadget, make_tables
from tests.consumers.http.house import House, contact, event
from tests.http_api.faulty import Faulty

WRITER = Writer()


class Sink:
    """A consumer that keeps what it gets, and refuses whom it is told to."""

    def __init__(self, refuses: frozenset[str] = frozenset()) -> None:
        self.refuses, self.got = refuses, dict[str, Mapping[str, object]]()

    def open(self) -> None: ...

    def close(self) -> None: ...

    def needs(self) -> dict[str, str]:
        """As a target that can't do without an address."""
        return {"email": "address"}

    def apply(
        self, deliveries: Sequence[Delivery], *, again: bool = False, alone: bool = False
    ) -> list[RejectedDelivery]:
        refused = []
        for place, one in enumerate(deliveries):
            id = one.id.decode()
            if id in self.refuses:
                refused.append(RejectedDelivery(place, PermanentError("no", reason="refused")))
            elif not one.deleted:
                self.got[id] = read_record(one.schema, one.data, one.at)[0]
        return refused


@pytest.fixture
def house(faulty: Faulty, state: State, tmp_path: Path) -> House:
    return House(faulty, state, tmp_path, "desk")


def flow_of(house: House, **flow: object) -> BoundFlow:
    bound = house.flow()
    return replace(bound, flow=bound.flow.model_copy(update=flow), data_type=DataType(required=["name"]), ask="Sales")


def test_what_lacks_something_is_held_and_says_whom_to_ask(house: House) -> None:
    sink = Sink(frozenset({"4"}))
    consumer = Completing(sink, flow_of(house, on_incomplete="hold", required=["tax_number"]))
    consumer.open()
    events = [
        event("1", 1, contact("Ada", tax_number="DE1")),
        event("2", 1, contact("Bo", tax_number="  ", email=None)),
        event("3", 2, None),
        event("4", 1, contact("Cy", tax_number="DE4")),
    ]
    refused = {one.place: one.error for one in consumer.apply(events)}
    assert list(sink.got) == ["1"]
    assert refused.keys() == {1, 3}
    assert str(refused[1]) == "contact 2 lacks email and tax_number, needed by desk; ask Sales"
    assert isinstance(refused[1], MustWait)
    assert refused[3].reason == "refused"


def test_a_default_fills_what_is_empty_and_only_that(house: House) -> None:
    sink = Sink()
    consumer = Completing(sink, flow_of(house, on_incomplete="default", defaults={"city": "Köln", "amount": "1.50"}))
    consumer.open()
    events = [event("1", 1, contact("Ada")), event("2", 1, contact("Bo", city="Łódź", amount=None))]
    assert consumer.apply(events) == []
    assert [sink.got[id]["city"] for id in ("1", "2")] == ["Köln", "Łódź"]
    assert {str(one["amount"]) for one in sink.got.values()} == {"1.50"}
    (held,) = consumer.apply([event("3", 1, contact("Cy", email=""))])
    assert str(held.error).startswith("contact 3 lacks email")


def test_a_field_that_the_writer_did_not_know_is_filled_too(house: House) -> None:
    fields = [{"name": "name", "type": "string"}, {"name": "email", "type": ["null", "string"], "default": None}]
    older = Writer(parse_schema(json.dumps({"type": "record", "name": "contact", "fields": fields})))
    sink = Sink()
    consumer = Completing(sink, flow_of(house, on_incomplete="default", defaults={"city": "Köln"}))
    consumer.open()
    assert consumer.apply([older.delivery("1", 1, {"name": "Ada", "email": "ada@example.test"})]) == []
    assert sink.got["1"] == {
        "name": "Ada", "email": "ada@example.test", "tax_number": None, "amount": None, "city": "Köln"
    }  # fmt: skip


def test_references_of_a_batch_are_one_question_and_become_the_applications_own_ids(house: House, state: State) -> None:
    rows = [("name", "contacts.name", ""), ("city", "contacts.city", 'value | id_in("place")')]
    consumer = house.opened(replace(house.flow(rows=rows, on_duplicate="create"), resources={"place": ("places",)}))
    assert isinstance(consumer, HttpConsumer)
    places = Crosswalk(state, "desk", "place", "places")
    places.link("k", "place-1", 1, None)
    places.intend("l", 1)
    done = house.deliver(
        consumer,
        *(event(str(n), 1, contact(f"Contact {n}", city="k")) for n in range(20)),
        event("31", 1, contact("Of none", city=None)),
        event("32", 1, contact("Of one under way", city="l")),
        event("33", 1, contact("Of an unknown one", city="m")),
    )
    assert {place: str(error) for place, error in done.refused.items()} == {
        21: "place l is being made in desk/places",
        22: "place m isn't in desk/places yet",
    }
    assert {one["city"] for one in house.faulty.contacts().values()} == {"place-1", None}


@pytest.mark.parametrize("id", ["a\0b", "\0"])
def test_a_reference_that_no_record_can_have_is_refused_and_holds_nothing_else(
    house: House, state: State, id: str
) -> None:
    rows = [("name", "contacts.name", ""), ("city", "contacts.city", 'value | id_in("place")')]
    consumer = house.opened(replace(house.flow(rows=rows, on_duplicate="create"), resources={"place": ("places",)}))
    Crosswalk(state, "desk", "place", "places").link("k", "place-1", 1, None)
    done = house.deliver(consumer, event("1", 1, contact("Ada", city="k")), event("2", 1, contact("Bo", city=id)))
    assert {one["city"] for one in house.faulty.contacts().values()} == {"place-1"}
    assert {place: (one.reason, one.field) for place, one in done.refused.items()} == {1: ("reference", "city")}
    assert not isinstance(done.refused[1], MustWait)
    assert "\0" not in str(done.refused[1])


def test_a_column_that_must_have_a_value_holds_back_what_has_none(make_database: Callable[[str], str]) -> None:
    dsn = make_database("create table gadgets (id text primary key, name text not null, note text not null)")
    bound = flow_into(dsn, existing=True, key="id", rows=[("name", "gadgets.name", ""), ("note", "gadgets.note", "")])
    bound = replace(bound, flow=bound.flow.model_copy(update={"on_incomplete": "hold"}))
    make_tables(bound)
    consumer = Completing(PostgresConsumer(bound), bound)
    consumer.open()
    events = [WRITER.delivery("1", 1, gadget("Lamp")), WRITER.delivery("2", 1, gadget("Desk", note="of oak"))]
    assert [str(one.error) for one in consumer.apply(events)] == ["gadget 1 lacks note, needed by books"]
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select name from gadgets").fetchall() == [("Desk",)]
    consumer.close()


BLANKS = [" ", "\t\n", "\u00a0\u2003", "\u200b", "\ufeff \u00ad"]


@pytest.mark.parametrize("blank", BLANKS)
def test_a_blank_value_fills_no_required_field(house: House, blank: str) -> None:
    sink = Sink()
    consumer = Completing(sink, flow_of(house, on_incomplete="hold", required=["city"]))
    consumer.open()
    (held,) = consumer.apply([event("1", 1, contact("Ada", city=blank))])
    assert str(held.error) == "contact 1 lacks city, needed by desk; ask Sales"
    filled = Completing(sink, flow_of(house, on_incomplete="default", defaults={"city": "Leeds"}))
    filled.open()
    assert filled.apply([event("2", 1, contact("Bo", city=blank))]) == []
    assert sink.got["2"]["city"] == "Leeds"


@pytest.mark.parametrize("blank", BLANKS)
def test_blank_names_that_are_joined_make_no_required_field_of_an_application(house: House, blank: str) -> None:
    rows = [("", "contacts.name", 'record.city ~ " " ~ record.tax_number'), ("email", "contacts.email", "")]
    bound = house.flow(rows=rows)
    consumer = house.opened(replace(bound, flow=bound.flow.model_copy(update={"on_incomplete": "hold"})))
    one, two = (f"{ord(blank[0])}-{n}" for n in (1, 2))
    events = [
        event(one, 1, contact("-", email=None, city=blank, tax_number="")),
        event(two, 1, contact("-", email=None, city="Ada")),
    ]
    done = house.deliver(consumer, *events)
    assert str(done.refused[0]) == f"contact {one} lacks city and tax_number, needed by desk"
    assert isinstance(done.refused[0], MustWait)
    assert list(house.there()) == ["Ada "]
    done = house.deliver(house.opened(bound), events[0])
    assert done.reasons == {0: "refused"}
    assert list(house.there()) == ["Ada "]


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize("kind", ["text", "varchar(40)", "citext"])
def test_blank_names_that_are_joined_make_no_required_column(
    make_database: Callable[[str], str], blank: str, kind: str
) -> None:
    dsn = make_database(
        f"create extension if not exists citext; create table gadgets (id text primary key, label {kind} not null,"
        " remark text not null, free text)"
    )
    rows = [
        ("", "gadgets.label", 'record.name ~ " " ~ record.note'),
        ("note", "gadgets.remark", 'value | default("")'),
        ("name", "gadgets.free", 'value ~ " "'),
    ]
    bound = flow_into(dsn, existing=True, key="id", rows=rows)
    bound = replace(bound, flow=bound.flow.model_copy(update={"on_incomplete": "hold"}))
    make_tables(bound)
    consumer = Completing(PostgresConsumer(bound), bound)
    consumer.open()
    events = [WRITER.delivery("1", 1, gadget(blank, note=blank)), WRITER.delivery("2", 1, gadget("Desk", note=""))]
    refused = consumer.apply(events)
    assert [str(one.error) for one in refused] == ["gadget 1 lacks name and note, needed by books"]
    assert isinstance(refused[0].error, MustWait)
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select label, remark, free from gadgets").fetchall() == [("Desk ", "", "Desk ")]
    consumer.close()
    passing = PostgresConsumer(replace(bound, flow=bound.flow.model_copy(update={"on_incomplete": "pass"})))
    passing.open()
    (dead,) = passing.apply(events[:1])
    assert "label must have a value" in str(dead.error)
    passing.close()


_ASKED_OF_THE_CONNECTOR = {
    "DetectsConflicts",
    "NeedsOwnPlace",
    "SupportsErasure",
    "SupportsLastRead",
    "SupportsLookup",
    "SupportsMerge",
    "SupportsRequiredFields",
    "SupportsShadow",
    "SupportsSilence",
    "SupportsTotals",
}
"""What nobody asks of a running consumer but what completes its records."""


def test_every_ability_of_a_running_consumer_is_passed_on(make_database: Callable[[str], str]) -> None:
    flow = flow_into(make_database(""))
    protocols = {
        name: one
        for module in (abilities, dry_run)
        for name, one in vars(module).items()
        if getattr(one, "_is_runtime_protocol", False) and name not in _ASKED_OF_THE_CONNECTOR
    }
    for plain in [PostgresConsumer(flow), MysqlConsumer.__new__(MysqlConsumer), HttpConsumer.__new__(HttpConsumer)]:
        wrapped = completing(plain, replace(flow, flow=flow.flow.model_copy(update={"on_incomplete": "hold"})))
        hidden = {name for name, one in protocols.items() if isinstance(plain, one) and not isinstance(wrapped, one)}
        assert not hidden, f"{type(plain).__name__}: {hidden} is hidden"
