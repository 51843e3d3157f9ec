"""Matching by the list that was read: one that isn't whole, or is behind, proves no absence."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from sorbus.consumers.http import local_match
from sorbus.consumers.http.consumer import HttpConsumer
from sorbus.errors import TransientError
from tests.consumers.http.house import House, contact, event
from tests.http_api.faulty import DESCRIBED
from tests.http_api.short_lists import CUTS, short_pages

PEOPLE = [{"name": f"P {n}", "email": f"p{n}@example.test"} for n in range(25)]


def consumer_of(house: House, **changes: Any) -> HttpConsumer:
    return house.opened(resource="unsearchable", resources=short_pages(), target={"marker": ""}, **changes)


@pytest.mark.parametrize("cut", CUTS)
def test_no_record_is_doubled_where_the_list_is_cut_short(house: House, cut: str) -> None:
    house.faulty.add_many(PEOPLE)
    CUTS[cut](house.faulty)
    consumer = consumer_of(house)
    events = [event(f"c{n}", 1, contact(f"P {n}", email=f"p{n}@example.test")) for n in range(25)]
    try:
        done = house.deliver(consumer, *events, calls=4)
    except TransientError:
        done = None
    assert house.faulty.doubles("email") == {}
    if done is not None:
        assert set(done.reasons.values()) <= {"unmatched", "refused", "loop"}


@pytest.mark.parametrize("has_total", [True, False])
def test_no_record_is_doubled_where_pages_behind_a_maximum_are_refused(house: House, has_total: bool) -> None:
    resources = short_pages()
    if not has_total:
        del resources["unsearchable"]["list"]["pagination"]["total"]
    house.faulty.add_many(PEOPLE)

    def raw(method: str, path: str, parameters: dict[str, str]) -> Response | None:
        if method == "GET" and path == "/contacts" and int(parameters.get("page", "1")) > 2:
            return JSONResponse({"message": "only the first 20 records can be listed"}, 422)
        return None

    house.faulty.raw = raw
    consumer = house.opened(resource="unsearchable", resources=resources, target={"marker": ""})
    done = house.deliver(consumer, event("c22", 1, contact("P 22", email="p22@example.test")))
    assert done.reasons == {0: "unmatched"}
    why = "says that it has 25 records, and shows 20" if has_total else "after 20 records in full pages it refused"
    assert why in str(done.refused[0])
    assert house.faulty.doubles("email") == {}


def test_a_creation_under_way_is_not_taken_for_absent_by_a_short_list(house: House) -> None:
    """Without a key, a mark or a match field only the list can say what came of it."""
    consumer = consumer_of(house, on_duplicate="create", idempotency_header="")
    house.faulty.add_many(PEOPLE)
    CUTS["the server has a maximum"](house.faulty)
    house.faulty.idempotent = False
    house.faulty.script("POST", "/contacts", "timeout-after")
    assert house.deliver(consumer, event("c1", 1, contact("Ada"))).reasons == {0: "uncertain"}
    assert len(house.faulty.contacts()) == 26


@pytest.mark.parametrize("minutes", [-10, 0, 10])
def test_what_people_make_is_seen_whatever_the_clock_of_the_application_says(
    house: House, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    monkeypatch.setattr(local_match, "STALE", 0.0)
    house.faulty.records.clock_is_off = timedelta(minutes=minutes)
    house.faulty.add(name="Anna", email="anna@example.test")
    consumer = consumer_of(house)
    assert house.deliver(consumer, event("a", 1, contact("Anna"))).refused == {}
    house.faulty.add(name="Zed", email="zed@example.test")  # by hand, just now
    assert house.deliver(consumer, event("z", 1, contact("Zed"))).refused == {}
    assert house.faulty.doubles("email") == {}


@pytest.mark.parametrize("mark", [True, "*", "True"])
def test_what_counts_as_deleted_is_no_candidate(house: House, mark: object) -> None:
    house.faulty.records.archives = True
    gone = house.faulty.add(name="Anna", email="anna@example.test")
    house.faulty.remove(gone)
    resources = copy.deepcopy(DESCRIBED["resources"])
    resources["unsearchable"]["deleted"] = {"archived": mark}
    consumer = house.opened(resource="unsearchable", resources=resources, target={"marker": ""})
    assert house.deliver(consumer, event("a", 1, contact("Anna"))).refused == {}
    assert house.linked("a") != gone


@pytest.mark.parametrize("total", [True, False])
def test_a_list_that_shows_records_twice_on_a_page_is_whole(house: House, total: bool) -> None:
    """A join, with a row for each of a contact's addresses."""
    house.faulty.add_many(PEOPLE[:3])

    def raw(method: str, path: str, parameters: dict[str, str]) -> Response | None:
        if method != "GET" or path != "/contacts" or "since" in parameters:
            return None
        found = house.faulty.contacts().values() if parameters.get("page", "1") == "1" else ()
        rows = [one for one in found for _ in range(2)]
        return JSONResponse({"contacts": rows, **({"total": 6} if total else {})})

    house.faulty.raw = raw
    events = event("c", 1, contact("Cem")), event("a", 1, contact("P 1", email="p1@example.test"))
    assert house.deliver(consumer_of(house), *events).refused == {}
