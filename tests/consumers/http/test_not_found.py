"""404 for one of our records: a delete by hand, a gateway's, or a right to write that is lacking."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from sorbus.consumers.http.consumer import HttpConsumer
from sorbus.errors import MustWait, TransientError
from tests.consumers.http.house import House, contact, event

NOT_FOUND = {"message": "no Route matched with those values"}


def ours(house: House, **changes: Any) -> HttpConsumer:
    consumer = house.opened(**changes)
    done = house.deliver(consumer, event("a", 1, contact("Anna")), event("b", 1, contact("Bea")))
    assert done.refused == {}
    return consumer


def hide(house: House, *, lists: bool) -> None:
    """404 for every read of a record, and every search; and for the list."""

    def raw(method: str, path: str, _parameters: dict[str, str]) -> Response | None:
        is_hidden = method == "GET" and (lists or path.startswith("/contacts/"))
        return JSONResponse(NOT_FOUND, 404) if is_hidden else None

    house.faulty.raw = raw


@pytest.mark.parametrize("lists", [False, True])
@pytest.mark.parametrize("record", [contact("Anna", city="Oulu"), None], ids=["changed", "deleted"])
def test_a_moment_of_404_for_everything_is_no_delete(
    house: House, record: dict[str, object] | None, lists: bool
) -> None:
    """An API gateway while the application behind it is deployed."""
    consumer = ours(house)
    hide(house, lists=lists)
    with pytest.raises(TransientError):
        house.deliver(consumer, event("a", 2, record))
    house.faulty.raw = None
    assert house.deliver(consumer, event("a", 2, record)).refused == {}
    assert set(house.there()) == ({"Bea"} if record is None else {"Anna", "Bea"})
    assert house.faulty.doubles("email") == {}


def test_a_moment_of_404_for_everything_proves_no_absence_of_a_record_that_is_there(house: House) -> None:
    """A search that isn't found may mean that nothing fits; not while the list isn't found either."""
    house.faulty.add(name="Anna", email="anna@example.test")
    consumer = house.opened()
    hide(house, lists=True)
    with pytest.raises(TransientError, match="nor is the list found"):
        house.deliver(consumer, event("a", 1, contact("Anna", email="anna@example.test")))
    house.faulty.raw = None
    assert house.deliver(consumer, event("a", 1, contact("Anna", email="anna@example.test"))).refused == {}
    assert house.faulty.doubles("email") == {}


@pytest.mark.parametrize("remains", [0, 1])
def test_what_was_deleted_by_hand_is_made_again_also_where_nothing_is_left(house: House, remains: int) -> None:
    consumer = ours(house)
    for id in ("a", "b")[: 2 - remains]:
        house.faulty.remove(house.linked(id))
    assert house.deliver(consumer, event("a", 2, contact("Anna", city="Oulu"))).refused == {}
    assert house.there()["Anna"][3] == "Oulu"


@pytest.mark.parametrize("deletes", ["hard", "soft", ""])
def test_a_write_that_finds_nothing_where_the_record_can_be_read_waits_alone(house: House, deletes: str) -> None:
    """GitHub, Redmine and others answer 404 where the right to write is lacking."""
    options = {"deletes": deletes, "target": {"deleted": {"city": "gone"}}} if deletes == "soft" else {}
    consumer = ours(house, **options)
    anna = house.linked("a")

    def raw(method: str, path: str, _parameters: dict[str, str]) -> Response | None:
        return JSONResponse({"message": "Not Found"}, 404) if path.endswith(anna) and method != "GET" else None

    house.faulty.raw = raw
    changed = event("a", 2, None if deletes else contact("Anna", city="Oulu")), event("b", 2, contact("Bea", city="X"))
    refused = house.deliver(consumer, *changed, calls=1).refused
    assert house.there()["Bea"][3] == "X"
    error = refused.pop(0)
    assert refused == {}
    assert isinstance(error, MustWait)
    assert error.refused is not None
    assert "can be read" in str(error.refused)
    link = house.link("a")
    assert link is not None
    assert link.state == "linked", "it is there, and a person is told"
    assert len([one for one in house.faulty.asked if one.status == 404]) == 1


def test_a_record_that_is_there_and_gone_by_turns_waits_alone(house: House) -> None:
    """Two servers behind one address, of which one is behind."""
    consumer = ours(house)
    anna = house.linked("a")
    turns = itertools.cycle([False, True])

    def raw(method: str, path: str, _parameters: dict[str, str]) -> Response | None:
        if not path.endswith(f"/{anna}"):
            return None
        return JSONResponse(NOT_FOUND, 404) if method != "GET" or next(turns) else None

    house.faulty.raw = raw
    changed = event("a", 2, contact("Anna", city="Oulu")), event("b", 2, contact("Bea", city="X"))
    refused = house.deliver(consumer, *changed, calls=1).refused
    assert isinstance(refused.pop(0), MustWait)
    assert refused == {}
    assert house.there()["Bea"][3] == "X"


@pytest.mark.parametrize("record", [contact("Anna", city="Oulu"), None], ids=["changed", "deleted"])
def test_one_web_page_of_404_stops_no_other(house: House, record: dict[str, object] | None) -> None:
    """Many applications show one for what was deleted; a gateway shows it for all."""
    consumer = ours(house)
    anna = house.linked("a")
    house.faulty.remove(anna)
    page = Response("<html><h1>No such contact</h1></html>", 404, media_type="text/html")
    house.faulty.raw = lambda _method, path, _parameters: page if path.endswith(f"/{anna}") else None
    changed = event("a", 2, record), event("b", 2, contact("Bea", city="X"))
    refused = house.deliver(consumer, *changed, calls=1).refused
    error = refused.pop(0)
    assert refused == {}
    assert isinstance(error, MustWait)
    assert error.refused is not None
    assert "means: gone" in str(error.refused)
    assert house.there()["Bea"][3] == "X"
    house.faulty.raw = lambda method, path, _parameters: page if method == "GET" and "/contacts/" in path else None
    with pytest.raises(TransientError, match="means: gone"):
        house.deliver(consumer, event("b", 3, contact("Bea", city="Y")))


@pytest.mark.parametrize("status", [400, 500])
def test_another_record_that_cannot_be_read_keeps_no_absence_from_being_proven(house: House, status: int) -> None:
    consumer = ours(house)
    assert house.deliver(consumer, event("c", 1, contact("Cem"))).refused == {}
    house.faulty.remove(house.linked("a"))
    cem = f"/contacts/{house.linked('c')}"
    house.faulty.raw = lambda _method, path, _parameters: JSONResponse({}, status) if path == cem else None
    assert house.deliver(consumer, event("a", 2, contact("Anna", city="Oulu")), calls=1).refused == {}
    assert house.there()["Anna"][3] == "Oulu"
