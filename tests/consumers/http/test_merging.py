"""Doubles of the target: kept apart or merged, they are never asked about again."""

from __future__ import annotations

from typing import Literal

import pytest
from starlette.responses import JSONResponse

from sorbus.abilities import SupportsMerge
from sorbus.errors import PermanentError
from sorbus.identity.candidates import Candidates, Decision
from sorbus.identity.merged import MergedRecords
from tests.consumers.http.house import House, contact, event

WAYS: tuple[Literal["merge", "delete"], ...] = ("merge", "delete")
ADA = {"name": "Ada", "email": "ada@example.test"}


def asked(house: House) -> list[str]:
    return [one.id for one in Candidates(house.state, house.system, "contact", house.resource).open()]


def number(house: House) -> int:
    (one,) = Candidates(house.state, house.system, "contact", house.resource).open()
    return one.number


def test_a_pair_that_is_kept_apart_is_not_asked_about_again(house: House) -> None:
    house.faulty.add_many([{**ADA, "name": "Another Ada"}, {**ADA, "name": "A."}])
    consumer = house.opened()
    house.deliver(consumer, event("c1", 1, contact("Ada")))
    candidates = Candidates(house.state, house.system, "contact", house.resource)
    candidates.decide(number(house), Decision("create", None), who="Sales", reason="")
    house.deliver(consumer, event("c1", 1, contact("Ada")))
    assert house.linked("c1") == "3"
    house.crosswalk.unlink("c1")
    house.faulty.remove("3")
    assert house.deliver(house.opened(), event("c1", 2, contact("Ada", city="Oslo"))).refused == {}
    assert house.linked("c1") == "4", "a new one, without a question"
    assert house.deliver(consumer, event("c2", 1, contact("Ada"))).reasons == {0: "duplicate"}, (
        "another record is asked"
    )


def test_a_record_merged_into_another_is_no_candidate_for_anybody(house: House) -> None:
    house.faulty.add_many([ADA, {**ADA, "name": "A."}])
    consumer = house.opened()
    house.deliver(consumer, event("c1", 1, contact("Ada")))
    candidates = Candidates(house.state, house.system, "contact", house.resource)
    candidates.merge(number(house), "1", ["2"], "person", who="Sales", reason="same")
    assert house.deliver(consumer, event("c1", 1, contact("Ada"))).refused == {}
    assert house.linked("c1") == "1"
    (task,) = MergedRecords(house.state, house.system, "contact", house.resource).due()
    assert (task.external_id, task.survivor) == ("2", "1")
    assert task.task.startswith("merge 2 into 1 in")
    house.crosswalk.unlink("c1")
    assert house.deliver(consumer, event("c1", 2, contact("Ada", city="Oslo"))).refused == {}
    assert house.linked("c1") == "1", "the double is still there, and nobody is asked about it"
    assert asked(house) == []


@pytest.mark.parametrize("renumbers", [False, True])
def test_the_application_merges_and_says_what_is_left(house: House, renumbers: bool) -> None:
    house.faulty.renumbers = renumbers
    house.faulty.add_many([{"name": "Ada"}, {"name": "A.", "city": "Oslo"}])
    consumer = house.opened()
    assert isinstance(consumer, SupportsMerge)
    assert consumer.ways() == {"merge", "delete"}
    left = consumer.retire("2", "1", "merge")
    assert left == ("3" if renumbers else "1")
    assert {id: one["city"] for id, one in house.faulty.contacts().items()} == {left: "Oslo"}


def test_what_is_gone_already_is_fine_but_the_survivor_must_be_there(house: House) -> None:
    house.faulty.add_many([{"name": "Ada"}, {"name": "A."}])
    consumer = house.opened()
    assert consumer.retire("2", "1", "delete") == "1"
    assert consumer.retire("2", "1", "delete") == "1"
    assert consumer.retire("2", "1", "merge") == "1"
    with pytest.raises(PermanentError, match="isn't there any more"):
        consumer.retire("1", "7", "delete")
    assert list(house.faulty.contacts()) == ["1"]


@pytest.mark.parametrize("way", ["merge", "delete"])
def test_what_was_merged_by_hand_is_not_taken_away_with_its_survivor(
    house: House, way: Literal["merge", "delete"]
) -> None:
    house.faulty.add_many([{"name": "Ada"}, {"name": "A."}, {"name": "Bea"}])
    consumer = house.opened()
    house.faulty.shown = lambda record: {**record, "id": 1} if record["id"] == 2 else record
    assert consumer.retire("2", "1", way) == "1"
    house.faulty.shown = lambda record: {**record, "id": 3} if record["id"] == 2 else record
    with pytest.raises(PermanentError, match="2 is 3 by now, and is left alone"):
        consumer.retire("2", "1", way)
    house.faulty.shown = lambda record: {**record, "id": None} if record["id"] == 2 else record
    with pytest.raises(PermanentError, match="2 is a record without an id by now"):
        consumer.retire("2", "1", way)
    assert house.faulty.count("DELETE") == house.faulty.count("POST") == 0
    assert set(house.faulty.contacts()) == {"1", "2", "3"}


def test_an_application_without_merging_says_so(house: House) -> None:
    assert house.opened(resource="unsearchable").ways() == {"delete"}


def test_a_double_that_can_still_be_read_is_not_taken_away(house: House) -> None:
    """404 where the right to delete is lacking."""
    house.faulty.add_many([{"name": "Ada"}, {"name": "A."}])
    consumer = house.opened()
    house.faulty.raw = lambda method, _path, _parameters: (
        JSONResponse({"message": "Not Found"}, 404) if method not in ("GET", "PUT") else None
    )
    for way in WAYS:
        with pytest.raises(PermanentError, match="404"):
            consumer.retire("2", "1", way)
