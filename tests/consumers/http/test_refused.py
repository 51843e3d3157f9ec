"""What is answered with 200 and wasn't done is not noted as done."""

from __future__ import annotations

import pytest
from starlette.responses import JSONResponse, Response

from tests.consumers.http.house import House, contact, event

SAID = {"success": False, "message": "the period is closed"}


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("body", [SAID, {"status": "error", **SAID}, {"data": None, "errors": [SAID]}])
def test_it_is_a_dead_letter_with_the_applications_words(house: House, method: str, body: object) -> None:
    consumer = house.opened()
    if method != "POST":
        house.deliver(consumer, event("c1", 1, contact("Ada")))

    def raw(asked: str, path: str, _parameters: dict[str, str]) -> Response | None:
        return JSONResponse(body) if asked == method and path.startswith("/contacts") else None

    house.faulty.raw = raw
    record = None if method == "DELETE" else contact("Ada", city="Oslo")
    done = house.deliver(consumer, event("c1", 2, record))
    assert done.reasons == {0: "refused"}
    assert "the period is closed" in str(done.refused[0].words)
    house.faulty.raw = None
    assert house.deliver(consumer, event("c1", 2, record)).refused == {}, "nothing was noted, so it is sent again"
    assert [one[-1] for one in house.there().values()] == ([] if method == "DELETE" else ["Oslo"])


def test_a_description_may_know_better(house: House) -> None:
    errors = {"rules": [{"where": {"errors[0].level": "warning"}, "means": "success"}]}
    consumer = house.opened(errors=errors)
    house.deliver(consumer, event("c1", 1, contact("Ada")))
    house.faulty.raw = lambda method, _path, _parameters: (
        JSONResponse({"contact": {"id": 1}, "errors": [{"level": "warning"}]}) if method == "PATCH" else None
    )
    assert house.deliver(consumer, event("c1", 2, contact("Ada", city="Oslo"))).refused == {}


def test_a_creation_that_failed_and_names_its_record_is_looked_for(house: House) -> None:
    """GraphQL answers so to what it has done in part."""
    consumer = house.opened(idempotency_header="")
    house.faulty.raw = lambda method, _path, _parameters: (
        JSONResponse({"contact": {"id": 1}, "errors": ["the welcome mail wasn't sent"]}) if method == "POST" else None
    )
    assert house.deliver(consumer, event("c1", 1, contact("Ada"))).reasons == {0: "uncertain"}
    house.faulty.add(**contact("Ada"), our_id="c1")
    assert house.deliver(consumer, event("c1", 1, contact("Ada"))).refused == {}
    assert house.faulty.count("POST") == 1


def test_a_value_that_the_state_can_hardly_hold_stops_no_other(house: House) -> None:
    consumer = house.opened(target={"marker": ""})
    odd = event("a", 1, contact("A\0B", email="a@example.test"))
    done = house.deliver(consumer, odd, event("b", 1, contact("Bea")))
    assert set(done.refused) <= {0}
    assert "Bea" in house.there()
