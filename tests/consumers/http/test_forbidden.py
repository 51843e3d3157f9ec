"""A record that was deleted by hand, where the application answers 403 for it: believed with proof only."""

from __future__ import annotations

import copy
from collections.abc import Collection

import pytest
from starlette.responses import JSONResponse, Response

from sorbus.errors import AuthError
from tests.consumers.http.house import House, contact, event
from tests.http_api.faulty import DESCRIBED

RULES = {"message": ["message"], "field": [], "rules": [{"status": [403], "means": "auth"}]}


def forbid(house: House, ids: Collection[str] = (), *, lists: bool = False) -> None:
    """403 for what isn't there and for `ids`, and for the lists too; searches keep answering."""

    def answer(method: str, path: str, parameters: dict[str, str]) -> Response | None:
        last = path.rpartition("/")[2]
        is_list = method == "GET" and not last.isdigit() and last != "search"
        if is_list and not lists:
            return None
        if is_list or (last.isdigit() and (house.faulty.records.get(int(last)) is None or last in ids)):
            return JSONResponse({"message": "forbidden"}, 403)
        return None

    house.faulty.raw = answer


@pytest.mark.parametrize("on_missing", ["recreate", "refuse"])
@pytest.mark.parametrize("means", ["refused", "auth"])
@pytest.mark.parametrize("lists", [False, True])
def test_on_missing_is_reached_while_another_record_of_ours_can_be_read(
    house: House, on_missing: str, means: str, lists: bool
) -> None:
    changes = {"errors": RULES} if means == "auth" else {}
    consumer = house.opened(target={"on_missing": on_missing}, **changes)
    house.deliver(consumer, event("c1", 1, contact("Ada")), event("c2", 1, contact("Bo")))
    house.faulty.remove(house.linked("c1"))
    forbid(house, lists=lists)
    done = house.deliver(consumer, event("c1", 2, contact("Ada", city="Leeds")))
    if on_missing == "refuse":
        assert done.reasons == {0: "missing"}
    else:
        assert done.refused == {}
        assert house.there()["Ada"][3] == "Leeds"


def test_the_only_record_is_gone_where_the_list_is_empty(house: House) -> None:
    consumer = house.opened()
    house.deliver(consumer, event("c1", 1, contact("Ada")))
    house.faulty.remove(house.linked("c1"))
    forbid(house)
    assert house.deliver(consumer, event("c1", 2, contact("Ada", city="Leeds"))).refused == {}
    assert list(house.there()) == ["Ada"]


def test_without_proof_the_record_is_a_dead_letter_and_nothing_is_made(house: House) -> None:
    """Everything is forbidden: the right was taken away."""
    consumer = house.opened()
    house.deliver(consumer, event("c1", 1, contact("Ada")), event("c2", 1, contact("Bo")))
    house.faulty.remove(house.linked("c1"))
    forbid(house, {house.linked("c1"), house.linked("c2")}, lists=True)
    done = house.deliver(consumer, event("c1", 2, contact("Ada", city="Leeds")), event("c2", 2, contact("Bo")))
    assert done.reasons[0] == "refused"
    assert "403" in str(done.refused[0])
    assert list(house.there()) == ["Bo"]


def test_a_right_that_was_taken_away_stops_a_flow_whose_application_says_so(house: House) -> None:
    consumer = house.opened(errors=RULES)
    house.deliver(consumer, event("c1", 1, contact("Ada")), event("c2", 1, contact("Bo")))
    forbid(house, {house.linked("c1"), house.linked("c2")}, lists=True)
    with pytest.raises(AuthError):
        house.deliver(consumer, event("c1", 2, contact("Ada", city="Leeds")))


def test_what_a_list_or_a_search_still_shows_is_not_gone(house: House) -> None:
    consumer = house.opened()
    house.deliver(consumer, event("c1", 1, contact("Ada")), event("c2", 1, contact("Bo")))
    for lists in (False, True):
        forbid(house, {house.linked("c1")}, lists=lists)
        done = house.deliver(consumer, event("c1", 2, contact("Ada", city="Leeds")))
        assert done.reasons == {0: "refused"}
    assert len(house.faulty.records) == 2


def test_a_delete_that_is_forbidden_counts_only_where_the_record_is_gone(house: House) -> None:
    consumer = house.opened()
    house.deliver(consumer, *(event(id, 1, contact(name)) for id, name in (("c1", "Ada"), ("c2", "Bo"), ("c3", "Cy"))))
    house.faulty.remove(house.linked("c1"))
    forbid(house)
    assert house.deliver(consumer, event("c1", 2, None)).refused == {}
    forbid(house, {house.linked("c2")})
    assert house.deliver(consumer, event("c2", 2, None)).reasons == {0: "refused"}


def test_many_at_once_are_not_believed(house: House) -> None:
    consumer = house.opened()
    events = [event(f"c{n}", 1, contact(f"P {n}")) for n in range(24)]
    house.deliver(consumer, *events)
    for n in range(22):
        house.faulty.remove(house.linked(f"c{n}"))
    forbid(house)
    done = house.deliver(consumer, *(event(f"c{n}", 2, contact(f"P {n}", city="Leeds")) for n in range(22)))
    assert list(done.reasons.values()) == ["refused"] * 2
    assert all("crosswalk unlink" in str(error) for error in done.refused.values())


@pytest.mark.parametrize("is_listed", [True, False])
def test_what_may_be_deleted_and_not_read_is_deleted(house: House, is_listed: bool) -> None:
    resources = copy.deepcopy(DESCRIBED["resources"])
    resources["contacts"].pop("etag", None)
    consumer = house.opened(resources=resources)
    house.deliver(consumer, event("c1", 1, contact("Ada")), event("c2", 1, contact("Bo")))
    hidden = house.linked("c1")

    def raw(method: str, path: str, _parameters: dict[str, str]) -> Response | None:
        if method == "GET" and path == f"/contacts/{hidden}":
            return JSONResponse({"message": "forbidden"}, 403)
        if method == "GET" and path == "/contacts" and not is_listed:
            found = [one for id, one in house.faulty.contacts().items() if id != hidden]
            return JSONResponse({"contacts": found, "total": len(found)})
        return None

    house.faulty.raw = raw
    assert house.deliver(consumer, event("c1", 2, None)).refused == {}
    assert list(house.there()) == ["Bo"]
