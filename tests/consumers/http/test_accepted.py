"""A creation that was accepted without saying as which record is looked for, and never sent a second time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta

import pytest
from starlette.responses import Response

from sorbus.consumers.http.consumer import HttpConsumer
from sorbus.errors import MustWait
from sorbus.identity.candidates import Candidates, Decision
from tests.consumers.http.house import House, contact, event
from tests.consumers.http.test_creating import consumer_of

ACCEPTED: dict[str, tuple[int, object, Mapping[str, str]]] = {
    "a job": (202, {"job": "j1", "status": "queued"}, {}),
    "a job's id where the record's would be": (202, {"contact": {"id": 4711}}, {}),
    "where the job is": (202, None, {"Location": "/jobs/1"}),
    "where it will be": (202, None, {"Location": "/contacts/1"}),
    "nothing": (204, None, {}),
    "an empty object": (200, {}, {}),
    "nothing, made": (201, None, {}),
    "another address": (201, None, {"Location": "/persons/4711"}),
}


def accepts(house: House, status: int, body: object, headers: Mapping[str, str], *, times: int = 1) -> None:
    """The next creations are answered so, and made nowhere yet."""
    left = [times]

    def raw(method: str, path: str, _parameters: dict[str, str]) -> Response | None:
        if method != "POST" or path != "/contacts" or not left[0]:
            return None
        left[0] -= 1
        kind = {"media_type": "application/json"} if body is not None else {}
        return Response("" if body is None else json.dumps(body), status, dict(headers), **kind)  # type: ignore[arg-type]

    house.faulty.raw = raw


def later(house: House, past: timedelta) -> None:
    """So much time goes by."""
    house.state.run(
        b"update crosswalk set accepted_at = accepted_at - %s, intended_at = intended_at - %s where system = %s",
        (past, past, house.system),
    )


def waits(house: House, consumer: HttpConsumer, *, version: int = 1) -> MustWait:
    record = contact("Ada") if version == 1 else None
    error = house.deliver(consumer, event("c1", version, record)).refused[0]
    assert isinstance(error, MustWait), f"it waits aside, while others go on: {error!r}"
    assert error.refused is not None, "and is a dead letter with words of its own where there is no waiting room"
    return error


@pytest.mark.parametrize(
    ("way", "said"),
    [*[("match", said) for said in ACCEPTED], *[(way, "a job") for way in ("marker", "reading", "list")]],
)
def test_it_is_made_once_however_late_it_shows(house: House, way: str, said: str) -> None:
    consumer = consumer_of(house, way)
    accepts(house, *ACCEPTED[said])
    waits(house, consumer)
    done = house.deliver(consumer, event("c1", 1, contact("Ada")), event("c2", 1, contact("Bob")))
    assert done.reasons == {0: "reference"}, "the other one lands meanwhile"
    for past in (timedelta(seconds=4), timedelta(minutes=4)):
        later(house, past / 2)
        waits(house, consumer)
    shown = house.faulty.add(**contact("Ada"), **({"our_id": "c1"} if way == "marker" else {}))
    assert house.deliver(consumer, event("c1", 1, contact("Ada"))).refused == {}
    assert house.linked("c1") == shown
    assert house.faulty.count("POST", "/contacts") == 2
    assert set(house.there()) == {"Ada", "Bob"}


@pytest.mark.parametrize("way", ["marker", "match", "list"])
def test_one_that_never_shows_is_a_question(house: House, way: str) -> None:
    consumer = consumer_of(house, way)
    accepts(house, *ACCEPTED["a job"])
    waits(house, consumer)
    later(house, timedelta(minutes=6))
    for _ in range(2):
        done = house.deliver(consumer, event("c1", 1, contact("Ada")))
        assert done.reasons == {0: "uncertain"}
        assert "accepted it at" in str(done.refused[0])
    assert house.faulty.count("POST", "/contacts") == 1
    candidates = Candidates(house.state, house.system, "contact", house.resource)
    (asked,) = candidates.open()
    candidates.decide(asked.number, Decision("create", None), who="Sales", reason="it isn't there")
    assert house.deliver(consumer, event("c1", 1, contact("Ada"))).refused == {}
    assert set(house.there()) == {"Ada"}
    assert house.faulty.count("POST", "/contacts") == 2


def test_a_job_with_a_strangers_id_is_not_the_stranger(house: House) -> None:
    stranger = house.faulty.add(name="Stranger", email="stranger@example.test")
    consumer = consumer_of(house, "list")
    accepts(house, 202, {"contact": {"id": int(stranger)}}, {})
    waits(house, consumer)
    assert house.deliver(consumer, event("c1", 2, None)).refused.keys() == {0}
    assert set(house.there()) == {"Stranger"}


def test_what_its_answer_names_is_taken_once_it_holds_what_was_sent(house: House) -> None:
    consumer = house.opened(
        resource="unsearchable", on_duplicate="create", idempotency_header="", target={"indexed": 0}
    )
    accepts(house, 202, {"contact": {"id": 1}}, {})
    waits(house, consumer)
    assert house.faulty.add(**contact("Ada")) == "1"
    assert house.deliver(consumer, event("c1", 1, contact("Ada"))).refused == {}
    assert house.linked("c1") == "1"


def test_one_that_is_deleted_at_its_owner_meanwhile_does_not_stay(house: House) -> None:
    consumer = consumer_of(house, "marker")
    accepts(house, *ACCEPTED["a job"])
    waits(house, consumer)
    waits(house, consumer, version=2)
    house.faulty.add(**contact("Ada"), our_id="c1")
    assert house.deliver(consumer, event("c1", 2, None)).refused == {}
    assert house.there() == {}
    assert house.faulty.count("POST", "/contacts") == 1


def test_a_persons_new_one_that_is_accepted_is_not_made_twice(house: House) -> None:
    """What a person decided before is carried out with it: it is no answer to what became of it."""
    twins = {"email": "ada@example.test"}
    house.faulty.add_many([{"name": "Ada", **twins}, {"name": "A.", **twins}])
    consumer = consumer_of(house, "match")
    candidates = Candidates(house.state, house.system, "contact", house.resource)
    assert house.deliver(consumer, event("c1", 1, contact("Ada"))).reasons == {0: "duplicate"}
    (asked,) = candidates.open()
    candidates.decide(asked.number, Decision("create", None), who="Sales", reason="another Ada")
    accepts(house, *ACCEPTED["a job"])
    waits(house, consumer)
    waits(house, consumer)
    assert house.faulty.count("POST", "/contacts") == 1


@pytest.mark.parametrize("way", ["marker", "match", "reading", "list"])
@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_creation_that_is_answered_with_a_redirect_is_made_once(house: House, way: str, status: int) -> None:
    """303 leads to what was made (RFC 9110, section 15.4.4); the others may lead to a page to log in on."""
    consumer = consumer_of(house, way)

    def raw(method: str, path: str, _parameters: dict[str, str]) -> Response | None:
        if method != "POST" or path != "/contacts":
            return None
        our_id = {"our_id": "c1"} if way == "marker" else {}
        made = house.faulty.add(name="Ada", email="ada@example.test", **our_id)
        return Response("", status, {"location": f"/contacts/{made}"})

    house.faulty.raw = raw
    done = house.deliver(consumer, event("c1", 1, contact("Ada")))
    assert done.reasons == ({} if status == 303 else {0: "uncertain"})
    assert house.deliver(consumer, event("c1", 1, contact("Ada")), again=True).refused == {}
    assert [house.linked("c1")] == list(house.faulty.contacts())
