"""A record that people have merged into another there: its address shows that one, which is never written for it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from starlette.responses import JSONResponse, Response

from sorbus.consumers.http.consumer import HttpConsumer
from sorbus.dry_run import DryRunReads
from sorbus.identity.candidates import Candidates, Decision
from tests.consumers.http.house import House, contact, event


def merge(house: House, double: str, survivor: str) -> None:
    """As HubSpot does: the double's address reads and writes the survivor."""
    faulty = house.faulty
    if double in faulty.contacts():
        faulty.remove(double)

    def raw(method: str, path: str, _parameters: dict[str, str]) -> Response | None:
        if path != f"/contacts/{double}":
            return None
        if method == "DELETE":
            faulty.remove(survivor)
        elif method != "GET":
            faulty.change(survivor, name="overwritten")
        return JSONResponse({"contact": faulty.contacts().get(survivor)})

    faulty.raw = raw


def ours(house: House, *names: str) -> HttpConsumer:
    consumer = house.opened()
    events = [event(name, 1, contact(name)) for name in names]
    assert house.deliver(consumer, *events).refused == {}
    return consumer


def questions(house: House) -> Candidates:
    return Candidates(house.state, house.system, "contact", house.resource)


@pytest.mark.parametrize("deletes", [False, True])
def test_another_record_of_ours_is_neither_written_nor_deleted_for_it(house: House, deletes: bool) -> None:
    consumer = ours(house, "anna", "bea")
    before = house.faulty.contacts()[house.linked("bea")]
    merge(house, house.linked("anna"), house.linked("bea"))
    done = house.deliver(consumer, event("anna", 2, None if deletes else contact("anna", city="Oulu")))
    assert house.faulty.contacts()[house.linked("bea")] == before
    link = house.link("anna")
    assert link is not None
    if deletes:
        assert (done.refused, link.state) == ({}, "gone"), "it is there no more"
    else:
        assert done.reasons == {0: "duplicate"}
        assert "merged into it" in str(done.refused[0])
        assert "bea" in str(done.refused[0])


def test_what_it_was_merged_into_is_taken_where_a_rule_says_that_it_is_the_same(house: House) -> None:
    consumer = ours(house, "anna")
    survivor = house.faulty.add(name="Anna A.", email="anna@example.test")
    merge(house, house.linked("anna"), survivor)
    assert house.deliver(consumer, event("anna", 2, contact("anna", city="Oulu"))).refused == {}
    assert house.linked("anna") == survivor
    assert house.there() == {"anna": ("anna@example.test", None, None, "Oulu")}


@pytest.mark.parametrize("choice", ["link", "create"])
def test_a_person_says_what_becomes_of_it_otherwise(house: House, choice: str) -> None:
    consumer = ours(house, "anna")
    survivor = house.faulty.add(name="Zed", email="zed@example.test")
    merge(house, house.linked("anna"), survivor)
    changed = event("anna", 2, contact("anna", city="Oulu"))
    assert house.deliver(consumer, changed).reasons == {0: "duplicate"}
    (asked,) = questions(house).open()
    assert [doubt.external_id for doubt in asked.doubts] == [survivor]
    decision = Decision("link", survivor) if choice == "link" else Decision("create", None)
    questions(house).decide(asked.number, decision, who="Sales", reason="")
    assert house.deliver(consumer, changed, again=True).refused == {}
    assert (house.linked("anna") == survivor) is (choice == "link")
    assert set(house.there()) == ({"anna"} if choice == "link" else {"anna", "Zed"})
    settled = questions(house).get(asked.number)
    assert settled is not None
    assert settled.state == "done"


def test_a_survivor_that_is_none_of_ours_is_not_deleted(house: House) -> None:
    consumer = ours(house, "anna")
    survivor = house.faulty.add(name="Zed", email="zed@example.test")
    merge(house, house.linked("anna"), survivor)
    assert house.deliver(consumer, event("anna", 2, None)).reasons == {0: "duplicate"}
    assert set(house.there()) == {"Zed"}


def test_a_record_that_was_deleted_at_its_owner_is_not_the_survivor_when_it_returns(house: House) -> None:
    consumer = ours(house, "anna", "bea")
    anna, bea = house.linked("anna"), house.linked("bea")
    assert house.deliver(consumer, event("anna", 2, None)).refused == {}
    merge(house, anna, bea)
    assert house.deliver(consumer, event("anna", 3, contact("anna"))).refused == {}
    assert house.linked("anna") not in (anna, bea)


@pytest.mark.parametrize("reads_list", [False, True])
def test_what_is_shown_beforehand_is_the_question(house: House, reads_list: bool) -> None:
    consumer = ours(house, "anna", "bea")
    merge(house, house.linked("anna"), house.linked("bea"))
    changed = event("anna", 2, contact("anna", city="Oulu"))
    assert consumer.preview(changed).action == "ask"
    assert consumer.look("anna") is None
    dry: Mapping[str, bool] = {"reads_list": reads_list}
    reading = consumer.begin_dry_run(DryRunReads(**dry))  # type: ignore[arg-type]
    (shown,) = consumer.preview_all([changed])
    assert shown.action == "ask"
    assert reading is None or not reading.why_short, "the list lacks nothing"
