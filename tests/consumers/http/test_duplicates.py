"""What is there already is linked, and what is in doubt goes to a person; the rest goes on."""

from __future__ import annotations

import pytest

from sorbus.errors import MustWait, Unfinished
from sorbus.identity.candidates import Candidates, Decision
from tests.consumers.http.house import House, contact, event


def decide(house: House, choice: Decision) -> None:
    """What `sorbus duplicates link` and `create` do."""
    candidates = Candidates(house.state, house.system, "contact", house.resource)
    (open_one,) = candidates.open()
    candidates.decide(open_one.number, choice, who="Finance", reason="looked")


def test_records_that_were_there_by_hand_are_linked_and_brought_up_to_date(house: House) -> None:
    house.faulty.add_many({"name": f"P {n}", "email": f"P{n}@Example.test"} for n in range(40))
    consumer = house.opened()
    done = house.deliver(
        consumer, *(event(f"c{n}", 1, contact(f"P {n}", email=f"p{n}@example.test", city="Oslo")) for n in range(50))
    )
    assert done.refused == {}
    assert len(house.there()) == 50
    assert house.faulty.doubles("name") == {}
    assert {one["city"] for one in house.faulty.contacts().values()} == {"Oslo"}
    assert house.faulty.contacts()[house.linked("c7")]["our_id"] == "c7"


@pytest.mark.parametrize(
    ("there", "match"),
    [
        ({"name": "A. Byron", "email": "ADA@example.test"}, ("email",)),
        ({"name": "Ada", "email": "old@example.test", "city": "Oslo"}, ("email",)),
        ({"name": "Ada", "email": "old@example.test", "city": "Oslo"}, ()),
    ],
)
def test_our_own_mark_is_enough_with_a_key_or_most_values(
    house: House, there: dict[str, str], match: tuple[str, ...]
) -> None:
    id = house.faulty.add(**there, our_id="c1")
    assert house.deliver(house.opened(match=match), event("c1", 1, contact("Ada", city="Oslo"))).refused == {}
    assert house.linked("c1") == id
    assert list(house.there()) == ["Ada"]


STRANGER = {"name": "Brightwater", "email": None, "city": "Oslo", "our_id": "1"}


@pytest.mark.parametrize("match", [("email",), ()])
@pytest.mark.parametrize("on_duplicate", ["ask", "link", "create"])
def test_a_record_that_carries_our_id_by_chance_is_a_question(
    house: House, on_duplicate: str, match: tuple[str, ...]
) -> None:
    """Applications number records themselves: their first party has the code 1, as our first customer the id 1."""
    house.faulty.add(**STRANGER)
    consumer = house.opened(match=match, on_duplicate=on_duplicate)
    done = house.deliver(consumer, event("1", 1, contact("Ada", city="Oslo")))
    assert done.reasons == {0: "duplicate"}
    assert "carries our id in our_id" in str(done.refused[0])
    assert list(house.there()) == ["Brightwater"], "nothing of it was changed, and nothing made"
    decide(house, Decision("create", None))
    assert house.deliver(consumer, event("1", 1, contact("Ada", city="Oslo"))).refused == {}
    assert set(house.there()) == {"Brightwater", "Ada"}


@pytest.mark.parametrize("record", [contact("Ada", city="Oslo"), None])
def test_what_carries_our_id_by_chance_is_not_what_was_being_made(
    house: House, record: dict[str, object] | None
) -> None:
    house.faulty.add(**STRANGER)
    house.crosswalk.intend("1", 1, contact("Ada", city="Oslo"))
    done = house.deliver(house.opened(idempotency_header=""), event("1", 2, record))
    assert done.reasons == {0: "uncertain"}
    assert list(house.there()) == ["Brightwater"], "neither changed nor deleted"


def test_a_mark_that_people_use_for_themselves_stays(house: House) -> None:
    house.faulty.add(name="Ada", email="ada@example.test", our_id="K-17")
    house.deliver(house.opened(), event("c1", 1, contact("Ada", city="Oslo")))
    (now,) = house.faulty.contacts().values()
    assert (now["our_id"], now["city"]) == ("K-17", "Oslo")


def test_several_matches_go_to_a_person_and_the_rest_goes_on(house: House) -> None:
    house.faulty.add_many([{"name": "Ada", "email": "ada@example.test"}, {"name": "A.", "email": "ada@example.test"}])
    consumer = house.opened()
    done = house.deliver(consumer, event("c1", 1, contact("Ada")), event("c2", 1, contact("Bo")))
    assert done.reasons == {0: "duplicate"}
    assert "sorbus duplicates" in str(done.refused[0])
    assert len(house.there()) == 3
    (asked,) = Candidates(house.state, house.system, "contact", house.resource).open()
    assert {doubt.external_id for doubt in asked.doubts} == {"1", "2"}
    assert asked.id == "c1"


def test_what_is_alike_and_another_record_s_is_no_question_once_an_initial_snapshot_is_delivered(house: House) -> None:
    """The two are alike to a program: the same first word and the same last."""
    house.faulty.finds = lambda there, asked: there == asked  # which heeds case: the list is read as well
    house.faulty.add(name="Cedar Yachts Oslo", email=None)
    consumer = house.opened(match=("name",), target={"marker": ""})
    other, ours = contact("Cedar Upholstery Oslo", email=None), contact("Cedar Yachts Oslo", email=None)
    done = house.deliver(consumer, event("c1", 1, other)._replace(historical=True))
    assert isinstance(done.refused[0], MustWait), done.refused
    assert done.refused[0].refused is not None
    assert "sorbus duplicates" in str(done.refused[0].refused)
    assert house.deliver(consumer, event("c2", 1, ours)._replace(historical=True)).refused == {}
    assert house.deliver(consumer, event("c1", 1, other)._replace(historical=True)).refused == {}
    assert set(house.there()) == {"Cedar Yachts Oslo", "Cedar Upholstery Oslo"}
    assert Candidates(house.state, house.system, "contact", house.resource).open() == []


def test_what_is_alike_to_a_record_that_comes_new_is_asked_at_once(house: House) -> None:
    house.faulty.finds = lambda there, asked: there == asked  # which heeds case: the list is read as well
    house.faulty.add(name="Cedar Yachts Oslo", email=None)
    consumer = house.opened(match=("name",), target={"marker": ""})
    done = house.deliver(consumer, event("c1", 1, contact("Cedar Upholstery Oslo", email=None)))
    assert done.reasons == {0: "duplicate"}


@pytest.mark.parametrize("choice", [Decision("link", "2"), Decision("create", None)])
def test_a_decision_is_obeyed_when_the_letter_comes_again(house: House, choice: Decision) -> None:
    house.faulty.add_many([{"name": "Ada", "email": "ada@example.test"}, {"name": "A.", "email": "ada@example.test"}])
    consumer = house.opened()
    house.deliver(consumer, event("c1", 1, contact("Ada", city="Oslo")))
    decide(house, choice)
    assert house.deliver(consumer, event("c1", 1, contact("Ada", city="Oslo"))).refused == {}
    assert house.linked("c1") == (choice.external_id or "3")
    assert house.faulty.contacts()[house.linked("c1")]["city"] == "Oslo"
    assert Candidates(house.state, house.system, "contact", house.resource).open() == []


def test_a_chosen_record_that_is_gone_by_now_is_asked_about_again(house: House) -> None:
    house.faulty.add_many([{"name": "Ada", "email": "ada@example.test"}, {"name": "A.", "email": "ada@example.test"}])
    consumer = house.opened()
    house.deliver(consumer, event("c1", 1, contact("Ada")))
    decide(house, Decision("link", "2"))
    house.faulty.remove("2")
    done = house.deliver(consumer, event("c1", 1, contact("Ada")))
    assert done.reasons == {0: "duplicate"}
    assert "not there any more" in str(done.refused[0])


def test_without_a_search_all_is_read_once_and_what_is_alike_is_asked_about(house: House) -> None:
    house.faulty.add(name="J Smith", email="info@acme.test", city="Leeds")
    house.faulty.add_many({"name": f"P {n}", "email": f"p{n}@example.test"} for n in range(250))
    consumer = house.opened(resource="unsearchable")
    done = house.deliver(
        consumer,
        event("c0", 1, contact("John Smith", email="john@acme.test", city="Leeds")),
        *(event(f"c{n}", 1, contact(f"P {n}", email=f"p{n}@example.test", city="Oslo")) for n in range(1, 20)),
        event("c99", 1, contact("New One")),
    )
    assert done.reasons == {0: "duplicate"}
    assert house.linked("c5") == "7"
    assert house.faulty.doubles("name") == {}
    assert len(house.there()) == 252
    assert house.faulty.count("GET", "/contacts", None) < 60
    assert sum(one.path == "/contacts" for one in house.faulty.asked if one.method == "GET") == 3


def test_too_many_records_to_read_stop_the_matching_not_the_guard(house: House) -> None:
    house.faulty.add_many({"name": f"P {n}"} for n in range(12))
    done = house.deliver(
        house.opened(resource="unsearchable", target={"indexed": 10}), event("c1", 1, contact("Somebody"))
    )
    assert done.reasons == {0: "too many to match"}
    assert "on_duplicate: create" in str(done.refused[0])


def test_link_takes_the_likeliest_and_create_never_matches(house: House) -> None:
    house.faulty.add(name="Ada Lovelace", email="ada@example.test", tax_number="GB1", city="London")
    house.faulty.add(name="Somebody", email="ada@example.test", tax_number="GB2")
    linking = house.opened(on_duplicate="link")
    lovelace = contact("Ada Lovelace", email="ada@example.test", city="London")
    assert house.deliver(linking, event("c1", 1, lovelace)).refused == {}
    assert house.linked("c1") == "1"
    creating = house.opened(on_duplicate="create")
    assert house.deliver(creating, event("c2", 1, lovelace)).refused == {}
    assert house.linked("c2") == "3"


def test_two_records_of_one_batch_with_the_same_key_are_not_both_made(house: House) -> None:
    house.faulty.settle = 60
    twins = [event(f"c{n}", 1, contact("Ada", tax_number="GB 123")) for n in range(8)]
    done = house.deliver(house.opened(), *twins)
    assert len(house.there()) == 1
    assert set(done.reasons.values()) == {"duplicate"}
    assert len(done.reasons) == 7


def test_a_record_that_another_of_ours_is_already_is_not_taken_from_it(house: House) -> None:
    consumer = house.opened()
    house.deliver(consumer, event("c1", 1, contact("Ada")))
    done = house.deliver(consumer, event("c2", 1, contact("Ada", city="Oslo")))
    assert done.reasons == {0: "duplicate"}
    assert "c1" in str(done.refused[0])
    (now,) = house.faulty.contacts().values()
    assert (now["our_id"], now["city"]) == ("c1", None)


def test_two_processes_never_look_for_the_same_match_key_at_once(house: House) -> None:
    elsewhere = house.opened()
    consumer = house.opened()
    with elsewhere._crosswalk.claim(elsewhere._deliverer.keys(event("c1", 1, contact("Ada"))), any_type=True) as held:
        assert held
        with pytest.raises(Unfinished):
            consumer.apply([event("c2", 1, contact("Ada"))])
        assert house.there() == {}
    assert house.deliver(consumer, event("c2", 1, contact("Ada"))).refused == {}
    assert list(house.there()) == ["Ada"]


@pytest.mark.parametrize("resource", ["contacts", "unsearchable"])
@pytest.mark.parametrize("on_duplicate", ["ask", "link"])
def test_nothing_is_made_where_records_show_the_match_field_under_another_path(
    house: House, resource: str, on_duplicate: str
) -> None:
    """As JSON:API does: `email` is sent, and `attributes.email` is answered."""
    house.faulty.add_many([{"name": "Ada", "email": "ada@example.test"}, {"name": "Bo", "email": "bo@example.test"}])
    inside = ("name", "email", "tax_number", "city")
    house.faulty.shown = lambda one: {
        **{name: value for name, value in one.items() if name not in inside},
        "attributes": {name: one.get(name) for name in inside},
    }
    consumer = house.opened(resource=resource, on_duplicate=on_duplicate, match=["email"], target={"marker": ""})
    done = house.deliver(consumer, event("c1", 1, contact("Ada")))
    assert done.reasons == {0: "unmatched"}
    assert "attributes.email: {sent_as: email}" in str(done.refused[0])
    assert house.faulty.count("POST") == 0
