"""Creating, updating and deleting: the requests that are sent, and those that are not."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.consumers.http.house import House, contact, event


def test_new_records_are_made_once_and_linked(house: House) -> None:
    consumer = house.opened()
    people = {f"c{n}": contact(f"Person {n}", amount=Decimal(n)) for n in range(30)}
    done = house.deliver(consumer, *(event(id, 1, one) for id, one in people.items()))
    assert done.refused == {}
    assert len(house.there()) == 30
    for id, one in people.items():
        made = house.faulty.contacts()[house.linked(id)]
        assert (made["name"], made["our_id"], Decimal(made["amount"])) == (one["name"], id, one["amount"])
    assert house.faulty.count("POST") == 30


def test_a_redelivered_or_older_event_sends_nothing(house: House) -> None:
    consumer = house.opened()
    house.deliver(consumer, event("c1", 2, contact("Ada")))
    asked = len(house.faulty.asked)
    assert house.deliver(consumer, event("c1", 2, contact("Ada"))).refused == {}
    assert house.deliver(consumer, event("c1", 1, contact("Old"))).refused == {}
    assert len(house.faulty.asked) == asked
    assert list(house.there()) == ["Ada"]


def test_only_changed_fields_are_sent_and_equal_ones_cause_no_request(house: House) -> None:
    consumer = house.opened()
    house.deliver(consumer, event("c1", 1, contact("Ada", city="Kyoto", amount=Decimal("10.00"))))
    asked = len(house.faulty.asked)
    house.deliver(consumer, event("c1", 2, contact("Ada", city="Kyoto", amount=Decimal("10.00"))))
    assert len(house.faulty.asked) == asked
    house.deliver(consumer, event("c1", 3, contact("Ada", city="Oslo", amount=Decimal("10.00"))))
    assert house.sent("PATCH") == [{"contact": {"city": "Oslo"}}]
    link = house.link("c1")
    assert link is not None
    assert link.version == 3


def test_values_are_compared_by_what_they_mean(house: House) -> None:
    consumer = house.opened()
    house.deliver(consumer, event("c1", 1, contact("Ada", city="Kyoto", amount=Decimal("10.00"))))
    house.faulty.change(house.linked("c1"), amount="10", city="Kyoto  ", tax_number="")
    house.deliver(consumer, event("c1", 1, contact("Ada", city="Kyoto", amount=Decimal("10.00"))), again=True)
    assert house.sent("PATCH") == []


def test_null_is_sent_only_where_the_application_has_something_else(house: House) -> None:
    consumer = house.opened()
    house.deliver(consumer, event("c1", 1, contact("Ada", city="Kyoto")))
    (made,) = house.sent("POST")
    assert made == {"contact": {"name": "Ada", "email": "ada@example.test", "city": "Kyoto", "our_id": "c1"}}
    house.deliver(consumer, event("c1", 2, contact("Ada")))
    assert house.sent("PATCH") == [{"contact": {"city": None}}]


def test_what_people_changed_there_is_put_right_by_the_next_change(house: House) -> None:
    consumer = house.opened()
    house.deliver(consumer, event("c1", 1, contact("Ada", city="Kyoto")))
    house.faulty.change(house.linked("c1"), city="Lima")
    house.deliver(consumer, event("c1", 2, contact("Ada B", email="ada@example.test", city="Kyoto")))
    assert house.sent("PATCH") == [{"contact": {"name": "Ada B", "city": "Kyoto"}}]


def test_a_replay_puts_right_what_was_changed_there(house: House) -> None:
    consumer = house.opened()
    house.deliver(consumer, event("c1", 1, contact("Ada")))
    house.faulty.change(house.linked("c1"), name="Somebody")
    house.deliver(consumer, event("c1", 1, contact("Ada")), again=True)
    assert list(house.there()) == ["Ada"]


def test_an_update_names_the_state_that_it_changes_and_keeps_the_rest(house: House) -> None:
    consumer = house.opened(resource="guarded")
    house.deliver(consumer, event("c1", 1, contact("Ada")))
    house.faulty.change(house.linked("c1"), status="archived")
    house.deliver(consumer, event("c1", 2, contact("Ada", city="Oslo")))
    (now,) = house.faulty.contacts().values()
    assert (now["city"], now["status"], now["our_id"]) == ("Oslo", "archived", "c1")
    (put,) = (one for one in house.faulty.asked if one.method == "PUT")
    assert put.status == 200


def test_a_record_that_changes_between_reading_and_writing_is_read_again(house: House) -> None:
    consumer = house.opened(resource="guarded")
    house.deliver(consumer, event("c1", 1, contact("Ada")))
    others = iter(["Lima"])

    def somebody(method: str, path: str, parameters: dict[str, str]) -> None:
        if method == "PUT" and (city := next(others, None)):
            house.faulty.change(house.linked("c1"), tax_number=city)

    house.faulty.before = somebody
    house.deliver(consumer, event("c1", 2, contact("Ada", city="Oslo")))
    assert [one.status for one in house.faulty.asked if one.method == "PUT"] == [412, 200]
    (now,) = house.faulty.contacts().values()
    assert (now["city"], now["tax_number"]) == ("Oslo", None)


def test_a_deleted_record_goes_and_no_older_event_brings_it_back(house: House) -> None:
    consumer = house.opened()
    house.deliver(consumer, event("c1", 1, contact("Ada")))
    house.deliver(consumer, event("c1", 3, None))
    house.deliver(consumer, event("c1", 2, contact("Ada")))
    assert house.there() == {}
    house.deliver(consumer, event("c1", 4, contact("Ada again")))
    assert list(house.there()) == ["Ada again"]


def test_what_is_gone_already_or_was_never_there_is_no_error(house: House) -> None:
    consumer = house.opened()
    house.deliver(consumer, event("c1", 1, contact("Ada")))
    house.faulty.remove(house.linked("c1"))
    assert house.deliver(consumer, event("c1", 2, None), event("c2", 1, None)).refused == {}
    assert house.deliver(consumer, event("c2", 0, contact("Late"))).refused == {}
    assert house.there() == {}


def test_soft_deletes_set_fields_and_ignored_ones_do_nothing(house: House) -> None:
    soft = house.opened(deletes="soft", target={"deleted": {"status": "archived"}})
    house.deliver(soft, event("c1", 1, contact("Ada")))
    house.deliver(soft, event("c1", 2, None))
    assert house.sent("PATCH") == [{"contact": {"status": "archived"}}]
    house.deliver(soft, event("c1", 3, contact("Ada", city="Oslo")))
    assert len(house.there()) == 1
    ignoring = house.opened(deletes="ignore")
    house.deliver(ignoring, event("c1", 4, None))
    assert len(house.there()) == 1
    assert house.faulty.count("DELETE") == 0
    house.deliver(ignoring, event("c1", 5, contact("Ada", city="Lima")))
    assert [one[3] for one in house.there().values()] == ["Lima"]


@pytest.mark.parametrize("on_missing", ["recreate", "refuse"])
def test_a_record_that_was_deleted_there_by_hand(house: House, on_missing: str) -> None:
    consumer = house.opened(target={"on_missing": on_missing})
    house.deliver(consumer, event("c1", 1, contact("Ada")))
    first = house.linked("c1")
    house.faulty.remove(first)
    done = house.deliver(consumer, event("c1", 2, contact("Ada", city="Oslo")))
    if on_missing == "refuse":
        assert done.reasons == {0: "missing"}
    else:
        assert done.refused == {}
        assert list(house.there()) == ["Ada"]
        assert house.linked("c1") != first


def test_a_refused_record_is_alone_with_the_applications_words(house: House) -> None:
    consumer = house.opened()
    events = [event(f"c{n}", 1, contact(f"P {n}", email="nonsense" if n == 2 else f"p{n}@x.test")) for n in range(5)]
    done = house.deliver(consumer, *events)
    assert list(done.refused) == [2]
    refused = done.refused[2]
    assert (refused.reason, refused.field, refused.value) == ("refused", "email", "nonsense")
    assert "is not an e-mail address" in (refused.words or "")
    assert len(house.there()) == 4
    assert house.link("c2") is None
    assert house.deliver(consumer, event("c2", 2, contact("P 2"))).refused == {}
    assert len(house.there()) == 5


def test_a_value_that_can_not_be_made_names_its_field_and_rule(house: House) -> None:
    rows = [("name", "contacts.name", ""), ("city", "contacts.status", "value")]
    consumer = house.opened(rows=rows)
    done = house.deliver(consumer, event("c1", 1, contact("Ada", city="Nowhere")), event("c2", 1, contact("Bo")))
    assert (done.refused[0].field, done.refused[0].rule) == ("status", "value")
    assert list(house.there()) == ["Bo"]


def test_what_the_application_has_of_a_record_is_shown_as_it_means(house: House) -> None:
    consumer = house.opened()
    assert consumer.look("c1") is None
    house.deliver(consumer, event("c1", 1, contact("Ada", city="Kyoto", amount=Decimal("10.00"))))
    external_id = house.linked("c1")
    house.faulty.change(external_id, city="Oslo")
    asked = len(house.faulty.writes)
    seen = consumer.look("c1")
    assert seen is not None
    assert (seen["name"], seen["city"], Decimal(str(seen["amount"]))) == ("Ada", "Oslo", Decimal(10))
    assert len(house.faulty.writes) == asked
    house.faulty.remove(external_id)
    assert consumer.look("c1") is None


@pytest.mark.parametrize("field", ["name", "email", "tax_number", "city"])
def test_a_zero_byte_in_a_value_concerns_its_record_alone(house: House, field: str) -> None:
    """Also in a value that records are matched by, which PostgreSQL's text can't hold."""
    consumer = house.opened()
    odd = contact("Ada") | {field: "1\0"}
    house.deliver(consumer, event("c1", 1, odd), event("c2", 1, contact("Bob", tax_number="DE2")))
    assert "Bob" in house.faulty.contacts("name")
