"""What is answered with 200 and wasn't done is not noted as done."""

from __future__ import annotations

import copy

import pytest
from starlette.responses import JSONResponse, Response

from sorbus.errors import MustWait
from tests.consumers.http.house import House, contact, event
from tests.http_api.faulty import DESCRIBED

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


def test_an_update_that_is_never_answered_with_the_record_waits_alone(house: House) -> None:
    """Whether it was carried out can't be read where a field isn't shown."""
    resources = copy.deepcopy(DESCRIBED["resources"])
    resources["contacts"]["update"]["record"] = "elsewhere"
    resources["contacts"]["fields"]["city"] = {"write_only": True}
    consumer = house.opened(resources=resources)
    made = event("a", 1, contact("Anna")), event("b", 1, contact("Bea"))
    assert house.deliver(consumer, *made).refused == {}
    changed = event("a", 2, contact("Anna", city="Oulu")), event("b", 2, contact("Bea", email="b@example.test"))
    refused = house.deliver(consumer, *changed, calls=1).refused
    error = refused.pop(0)
    assert refused == {}, "what can be read is read"
    assert isinstance(error, MustWait)
    assert "returns: nothing" in str(error.refused)


@pytest.mark.parametrize("way", ["read", "listed"])
def test_broken_text_of_a_record_there_stops_no_other(house: House, way: str) -> None:
    """Bytes that aren't UTF-8, in a record that people made or changed there."""
    changes = {"resource": "unsearchable", "target": {"marker": ""}} if way == "listed" else {}
    consumer = house.opened(**changes)
    made = event("a", 1, contact("Anna", city="Oulu")), event("b", 1, contact("Bea"))
    assert house.deliver(consumer, *made).refused == {}
    house.faulty.change(house.linked("a"), city="BROKEN", tax_number="BROKEN2")
    house.faulty.add(name="BROKEN", email="BROKEN@example.test")

    def raw(method: str, path: str, parameters: dict[str, str]) -> Response | None:
        if method != "GET" or not path.startswith("/contacts") or "search" in path:
            return None
        found = house.faulty.contacts()
        id = path.rpartition("/")[2]
        body = {"contact": found[id]} if id in found else {"contacts": list(found.values())}
        return Response(bytes(JSONResponse(body).body).replace(b"BROKEN", b"Caf\xe9"), media_type="application/json")

    house.faulty.raw = raw
    changed = (
        event("a", 2, contact("Anna", city="Turku")),
        event("b", 2, contact("Bea", city="X")),
        event("c", 1, contact("Cem")),
    )
    done = house.deliver(consumer, *changed)
    assert set(done.refused) <= {0}
    assert house.there()["Bea"][3] == "X"
    assert "Cem" in house.there()
