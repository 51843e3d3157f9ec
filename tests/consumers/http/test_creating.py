"""A creation that was cut short is finished, never repeated blindly: with a key, by a search, by the whole list."""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import deepcopy
from datetime import datetime, timedelta, tzinfo
from typing import Any

import httpx
import pytest

from sorbus.connector import Delivery
from sorbus.consumers.http import decide
from sorbus.consumers.http.consumer import HttpConsumer
from sorbus.errors import PermanentError, TransientError, Unfinished
from sorbus.http_api.interface import Answer
from sorbus.http_api.transport import HttpTransport
from sorbus.identity import crosswalk
from sorbus.identity.candidates import Candidates, Decision
from tests.consumers.http.house import House, contact, event
from tests.http_api.faulty import DESCRIBED
from tests.http_api.faulty_http import Fault

AFTER: list[Fault] = ["timeout-after", "reset-after", "cut", "renamed", "retyped", "empty"]
BEFORE: list[Fault] = ["timeout-before", "reset", "500", "502", "503", "429", "429-bare", "html"]
WAYS = ["key", "marker", "match", "reading", "list"]


def consumer_of(house: House, way: str) -> HttpConsumer:
    """A flow whose application can say by this way only whether a record was made."""
    description: dict[str, Any] = {} if way == "key" else {"idempotency_header": ""}
    house.faulty.idempotent = way == "key"
    if way == "reading":
        return house.opened(resource="unsearchable", **description)
    if way == "list":
        return house.opened(resource="unsearchable", on_duplicate="create", **description)
    return house.opened(target={} if way in ("key", "marker") else {"marker": ""}, **description)


@pytest.mark.parametrize("way", WAYS)
def test_whatever_happens_to_a_post_its_record_is_made_once(house: House, way: str) -> None:
    consumer = consumer_of(house, way)
    faults = AFTER + BEFORE
    house.faulty.script("POST", "/contacts", *faults)
    events = [event(f"c{n}", 1, contact(f"P {n}")) for n in range(len(faults))]
    settle(house, consumer, events)
    assert {one["name"]: id for id, one in house.faulty.contacts().items()} == {
        f"P {n}": house.linked(f"c{n}") for n in range(len(faults))
    }
    assert len([write for write in house.faulty.writes if write.did == "create"]) == len(faults)


def settle(house: House, consumer: HttpConsumer, events: Sequence[Delivery]) -> None:
    """Applies until everything has landed, waiting as long as the application or its breaker asks for."""
    deadline = time.monotonic() + 60
    while True:
        try:
            assert house.deliver(consumer, *events).refused == {}
            return
        except TransientError as error:
            if time.monotonic() > deadline:
                raise
            time.sleep(min(error.retry_after or 0.1, 2.0))


@pytest.mark.parametrize("way", ["marker", "match"])
def test_a_search_that_lags_is_waited_for(house: House, way: str) -> None:
    consumer = consumer_of(house, way)
    house.faulty.settle = 1.0
    house.faulty.script("POST", "/contacts", "reset-after")
    house.deliver(consumer, event("c1", 1, contact("Ada")))
    assert house.faulty.count("POST") == 1
    assert len(house.there()) == 1


@pytest.mark.parametrize("hours", [1, -1])
@pytest.mark.parametrize("way", ["marker", "match"])
def test_a_clock_that_differs_from_the_database_s_makes_no_record_twice(
    house: House, way: str, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long ago a creation was begun is the database's to say: it has noted when."""

    class Ours(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Ours:
            return super().now(tz) + timedelta(hours=hours)

    for module in (crosswalk, decide):
        monkeypatch.setattr(module, "datetime", Ours)
    consumer = consumer_of(house, way)
    house.faulty.settle = 1.0
    house.faulty.script("POST", "/contacts", "reset-after")
    settle(house, consumer, [event("c1", 1, contact("Ada"))])
    assert house.faulty.count("POST") == 1
    assert len(house.there()) == 1


def test_what_was_sent_first_is_sent_again_and_then_what_is_newer(house: House) -> None:
    """A key goes with its first body; applications refuse another one under the same key."""
    consumer = consumer_of(house, "key")
    key = house.crosswalk.intend("c1", 1, {"name": "First", "email": None})
    house.deliver(consumer, event("c1", 2, contact("Second")))
    posts = [one for one in house.faulty.asked if one.method == "POST"]
    assert [(one.key, one.body) for one in posts] == [(key, {"contact": {"name": "First", "our_id": "c1"}})]
    assert list(house.there()) == ["Second"]
    link = house.link("c1")
    assert link is not None
    assert (link.state, link.version) == ("linked", 2)


def test_a_record_deleted_while_it_was_being_made_does_not_stay(house: House) -> None:
    for way in ("key", "marker"):
        consumer = consumer_of(house, way)
        id = f"c-{way}"
        house.crosswalk.intend(id, 1, {"name": "Ada"})
        if way == "marker":
            house.faulty.add(name="Ada", our_id=id)
        house.deliver(consumer, event(id, 2, None))
        assert house.there() == {}
        link = house.link(id)
        assert link is not None
        assert link.state == "gone"


def test_when_nothing_can_tell_a_person_is_asked(house: House) -> None:
    consumer = consumer_of(house, "list")
    sent = {"name": "Ada", "email": "ada@example.test"}
    house.faulty.add_many([sent, sent])
    house.crosswalk.intend("c1", 1, sent)
    done = house.deliver(consumer, event("c1", 1, contact("Ada")))
    assert done.reasons == {0: "uncertain"}
    assert len(house.there()) == 1  # two of the same name
    assert house.faulty.count("POST") == 0


def test_a_new_one_that_a_person_wanted_is_not_made_twice_either(house: House) -> None:
    twins = {"email": "ada@example.test"}
    house.faulty.add_many([{"name": "Ada", **twins}, {"name": "A.", **twins}])
    consumer = consumer_of(house, "match")
    candidates = Candidates(house.state, house.system, "contact", house.resource)
    for fault, id, name in (("reset-after", "c1", "Ada Byron"), ("reset", "c2", "Ada King")):
        assert house.deliver(consumer, event(id, 1, contact(name, **twins))).reasons == {0: "duplicate"}
        (asked,) = candidates.open()
        candidates.decide(asked.number, Decision("create", None), who="Finance", reason="another Ada")
        house.faulty.script("POST", "/contacts", fault)  # type: ignore[arg-type]
        assert house.deliver(consumer, event(id, 1, contact(name, **twins))).refused == {}
    assert sorted(one["name"] for one in house.faulty.contacts().values()) == ["A.", "Ada", "Ada Byron", "Ada King"]


def test_a_lookalike_is_not_taken_for_what_was_being_made(house: House) -> None:
    consumer = house.opened(resource="unsearchable", idempotency_header="")
    house.faulty.add(name="J Smith", email="info@acme.test", city="Leeds")
    john = contact("John Smith", email="john@acme.test", city="Leeds")
    house.crosswalk.intend("c1", 1, john)
    assert house.deliver(consumer, event("c1", 1, john)).reasons == {0: "uncertain"}
    assert list(house.there()) == ["J Smith"]


def test_a_record_in_another_process_s_hands_waits(house: House) -> None:
    consumer = house.opened()
    with house.crosswalk.claim(["c1"]) as ours:
        assert ours == {"c1"}
        with pytest.raises(Unfinished, match="another process"):
            consumer.apply([event("c1", 1, contact("Ada")), event("c2", 1, contact("Bo"))])
        assert list(house.there()) == ["Bo"]
    assert consumer.apply([event("c1", 1, contact("Ada")), event("c2", 1, contact("Bo"))]) == []
    assert sorted(house.there()) == ["Ada", "Bo"]


def test_an_application_that_is_down_ends_the_call_soon_and_what_landed_is_kept(house: House) -> None:
    consumer = house.opened()
    events = [event(f"c{n}", 1, contact(f"P {n}")) for n in range(60)]
    house.deliver(consumer, *events[:5])
    house.faulty.faults = {"503": 1.0}
    began = time.monotonic()
    with pytest.raises(TransientError):
        consumer.apply(events)
    assert time.monotonic() - began < 20
    assert house.faulty.count("", "/", 503) < 60
    house.faulty.faults = {}
    settle(house, consumer, events)
    assert len(house.there()) == 60
    assert house.faulty.doubles("our_id") == {}


@pytest.mark.parametrize("way", ["match", "reading", "list"])
def test_what_was_made_is_known_again_though_an_answer_leaves_out_a_field(house: House, way: str) -> None:
    """A password is in no answer: that it is missing there says nothing of whether the record was made."""
    house.faulty.idempotent = False
    house.faulty.shown = lambda one: {name: value for name, value in one.items() if name != "city"}
    resources = deepcopy(DESCRIBED["resources"])
    for one in resources.values():
        one["fields"]["city"] = {"write_only": True}
    changes: dict[str, Any] = {"resources": resources, "idempotency_header": "", "match": ["tax_number"]}
    into = "contacts" if way == "match" else "unsearchable"
    on_duplicate = "create" if way == "list" else "ask"
    consumer = house.opened(resource=into, on_duplicate=on_duplicate, target={"marker": ""}, **changes)
    house.faulty.script("POST", "/contacts", "timeout-after")
    settle(house, consumer, [event("c1", 1, contact("Ada", city="Oslo"))])
    assert house.faulty.count("POST") == 1
    assert house.linked("c1") == "1"
    at_first = house.faulty.count("PATCH")
    for version, city, sent in ((2, "Oslo", 0), (3, "Bergen", 1), (4, "Bergen", 1)):
        settle(house, consumer, [event("c1", version, contact("Ada", city=city))])
        assert house.faulty.count("PATCH") == at_first + sent
    assert house.faulty.contacts()["1"]["city"] == "Bergen"


@pytest.mark.parametrize("resource", ["contacts", "unsearchable"])
def test_what_was_sent_is_looked_for_though_its_owner_has_changed_the_match_key_since(
    house: House, resource: str
) -> None:
    consumer = house.opened(resource=resource, target={"marker": ""}, idempotency_header="")
    sent = {"name": "Ada", "email": "ada@example.test"}
    house.crosswalk.intend("c1", 1, sent)
    made = house.faulty.add(**sent)
    settle(house, consumer, [event("c1", 2, contact("Beda", city="Bergen"))])
    assert house.linked("c1") == made
    assert house.there() == {"Beda": ("beda@example.test", None, None, "Bergen")}


def test_what_was_sent_without_a_value_to_match_by_is_looked_for_in_the_list(house: House) -> None:
    consumer = house.opened(resource="unsearchable", match=["tax_number"], target={"marker": ""}, idempotency_header="")
    house.faulty.script("POST", "/contacts", "timeout-after")
    settle(house, consumer, [event("c1", 1, contact("Ada", city="Oslo"))])
    assert house.faulty.count("POST") == 1
    assert house.linked("c1") == "1"


@pytest.mark.parametrize("way", [*WAYS, "key alone"])
def test_a_record_whose_answer_can_never_be_read_is_made_once(
    house: House, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy compresses answers in a way that nobody asked for: each try ends in the same way."""
    read = HttpTransport._read

    def unreadable(self: HttpTransport, request: httpx.Request, doing: str) -> Answer:
        found = read(self, request, doing)
        if request.method == "POST":
            raise PermanentError(f"{doing}: encodes its answer as 'br'", reason="too large")
        return found

    monkeypatch.setattr(HttpTransport, "_read", unreadable)
    alone = house.opened(target={"marker": ""}, on_duplicate="create") if way == "key alone" else None
    consumer = alone or consumer_of(house, way)
    for again in (False, True, True):
        house.deliver(consumer, event("c1", 1, contact("Ada")), again=again)
    assert [write.did for write in house.faulty.writes].count("create") == 1
