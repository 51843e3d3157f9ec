"""Systems that change the same records are joined, merged and stopped as the map and people say."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from confluent_kafka.admin import AdminClient

from tests.acceptance.two_way_office import Ledger, TwoWayOffice, fill, office, people, written
from tests.topics import delete_topic

__all__ = ["office"]


def test_a_change_anywhere_reaches_all_and_people_decide_what_no_rule_does(office: TwoWayOffice) -> None:
    written(office, phone="ask")
    ids = fill(office, 5)
    with psycopg.connect(office.dsns["support"]) as support:  # it has one of them already, and one that nobody else has
        support.execute(
            "insert into contacts (id, name, email, phone, tags) values ('C1', 'Customer 1', 'old@example.com', '77',"
            " '{vip}'), ('X9', 'Unknown', null, null, '{}')"
        )
    office.sorbus("map", "check")
    office.sorbus("apply", "--yes")
    ledger = Ledger()
    with office.up():
        told = office.sorbus("two-way", "join", "customer")
        assert "email: 1 differ; its value is replaced" in told
        assert "tags: 1 differ; its value is taken" in told
        assert "1 have no counterpart (such as X9)" in told
        assert len(office.rows("support")) == 2, "something was written before the join was accepted"
        assert "5 are missing there and will be created" in office.sorbus("two-way", "join", "customer", "--accept")
        office.until(lambda: office.unlike() if len(office.rows("support")) < 6 else "", 60)
        with psycopg.connect(office.dsns["support"], autocommit=True) as support:
            support.execute("delete from contacts where id = 'X9'")
        office.until(office.unlike, 60)
        assert office.rows("crm")["C1"]["tags"] == ["vip"]
        assert office.rows("crm")["C1"]["phone"] == "77"
        with people(office, ledger) as made:
            for person in made:
                for _ in range(8):
                    person.one(ids[1])
        office.until(
            lambda: "" if office.sorbus("conflicts", "list", status=None).count("phone") else "no conflict", 60
        )
        office.until(lambda: decided(office, ids[1]) + office.unlike(), 60)
        assert "customer-to-books" in office.sorbus("status", status=None)
        # Two systems that write back what they are given, each another value, would never end.
        with psycopg.connect(office.dsns["books"], autocommit=True) as books:
            books.execute(TURNS)
        with job(office.dsns["books"]), psycopg.connect(office.dsns["crm"], autocommit=True) as crm:
            crm.execute("update customers set email = 'begin' where id = 'C3'")
            office.until(lambda: "" if "C3" in office.sorbus("conflicts", "list") else "no loop was stopped", 90)
            told = office.sorbus("conflicts", "list", "--json")
        with psycopg.connect(office.dsns["crm"], autocommit=True) as crm:
            crm.execute("delete from customers where id = 'C5'")
        office.until(lambda: "still there" if {"C5"} & {*office.rows("books"), *office.rows("support")} else "", 60)
        forgotten = office.sorbus("forget", "customer", "C5", "--yes", "--json", status=None)
        assert all(f"customer-proposals-{name}" in forgotten for name in office.dsns if name != "state"), forgotten
        traced = office.sorbus("trace", "customer", "C1", status=None)
    assert "C3" in told
    assert "email" in told
    assert "customer-merge" in traced
    assert "can't be told" not in traced, traced
    assert "no difference found" in office.sorbus("reconcile", "customer-to-support")
    with psycopg.connect(office.dsns["support"], autocommit=True) as support:  # nothing captures it now
        support.execute("update contacts set rate = rate + 1 where id = 'C4'")
    assert "C4" in office.sorbus("reconcile", "customer-to-support", status=1)


# What a job of the books that runs after each change takes its work from.
TURNS = """
create table job (code text);
create function note() returns trigger language plpgsql as $$
begin
    insert into job values (new.code);
    return null;
end $$;
create trigger note after update on partners for each row
    when (new.code = 'C3' and current_setting('books.job', true) is null) execute function note();
"""


@contextmanager
def job(dsn: str) -> Iterator[None]:
    """Writes another address into what was changed, again and again."""
    over = threading.Event()

    def run() -> None:
        with psycopg.connect(dsn, autocommit=True) as books:
            books.execute("set books.job = 'on'")
            number = 0
            while not over.wait(0.05):
                if books.execute("delete from job").rowcount:
                    number += 1
                    books.execute("update partners set mail = 'turn' || %s where code = 'C3'", [number])

    thread = threading.Thread(target=run)
    thread.start()
    yield
    over.set()
    thread.join(10)


def decided(office: TwoWayOffice, id: str) -> str:
    """A person decides all that is open about a record, for the other system's value; what was decided."""
    told = ""
    for line in office.sorbus("conflicts", "list", "--json").splitlines():
        one = json.loads(line)
        assert (one["id"], one["field"]) == (id, "phone")
        office.sorbus("conflicts", "keep", str(one["number"]), "--yes", "--reason", "the customer says so")
        told += f"{one['number']} is decided; "
    return told


@pytest.mark.slow
def test_a_type_that_went_one_way_becomes_two_way(office: TwoWayOffice) -> None:
    ids = fill(office, 50)
    written(office, direction="one-way")
    office.sorbus("apply", "--yes")
    with office.up():
        office.until(lambda: "" if len(office.rows("support")) == 50 else "not delivered", 60)
    written(office)
    office.sorbus("map", "check")
    office.sorbus("apply", "--yes")
    with psycopg.connect(office.dsns["support"], autocommit=True) as support:  # while nothing ran
        support.execute("update contacts set email = 'desk@example.com' where id = 'C7'")
        support.execute("update contacts set phone = '123' where id = 'C8'")
    with office.up():
        told = office.sorbus("two-way", "join", "customer", "--accept")
        assert "email: 1 differ; its value is replaced" in told
        assert "phone: 1 differ; its value is taken" in told
        office.until(office.unlike, 90)
        with people(office, Ledger()) as made:
            for person in made:
                person.work(ids, 20)
        office.until(office.unlike, 60)
    crm = office.rows("crm")
    assert crm["C8"]["phone"] is not None
    assert len(crm) == 50


@pytest.mark.slow
def test_a_type_that_is_one_way_for_a_while_is_joined_again(office: TwoWayOffice) -> None:
    fill(office, 20)
    written(office)
    office.sorbus("apply", "--yes")
    with office.up():
        office.sorbus("two-way", "join", "customer", "--accept")
        office.until(office.unlike, 60)
    written(office, direction="one-way")
    office.sorbus("apply", "--yes")
    with office.up():
        with psycopg.connect(office.dsns["crm"], autocommit=True) as crm:
            crm.execute("update customers set email = 'new@example.com' where id = 'C4'")
            crm.execute("delete from customers where id = 'C3'")
        office.until(lambda: "" if office.rows("books")["C4"]["mail"] == "new@example.com" else "not delivered", 60)
    with psycopg.connect(office.dsns["support"], autocommit=True) as support:
        support.execute("update contacts set email = 'nobody asked' where id = 'C4'")
    written(office)
    office.sorbus("apply", "--yes")
    with office.up():
        office.until(lambda: "" if office.said("it was one-way") else "the merge doesn't stop", 60)
        office.sorbus("two-way", "join", "customer", "--again", "--accept", "--yes")
    with office.up():
        office.until(office.unlike, 90)
    assert office.rows("crm")["C4"]["email"] == "new@example.com"
    assert len(office.rows("books")) == 19


@pytest.mark.slow
def test_a_topic_of_proposals_that_was_lost_is_joined_again(office: TwoWayOffice) -> None:
    ids = fill(office, 20)
    written(office)
    office.sorbus("apply", "--yes")
    with office.up():
        office.sorbus("two-way", "join", "customer", "--accept")
        office.until(office.unlike, 60)
    topic = f"{office.prefix}.customer-proposals-crm"
    kafka = AdminClient({"bootstrap.servers": office.env["SORBUS_KAFKA"]})
    delete_topic(kafka, topic)
    with psycopg.connect(office.dsns["crm"], autocommit=True) as crm:  # while the topic is gone
        crm.execute("delete from customers where id = 'C3'")
        crm.execute("update customers set email = 'new@example.com' where id = 'C4'")
    office.until(lambda: "" if topic not in kafka.list_topics(timeout=10).topics else "still there", 30)
    office.sorbus("apply", "--yes")
    with office.up():
        office.until(lambda: "" if office.said("was deleted and recreated") else "the merge doesn't stop", 60)
        office.sorbus("two-way", "join", "customer", "--again", "--accept", "--yes")
    with office.up():
        office.until(office.unlike, 90)
        with people(office, Ledger()) as made:
            for person in made:
                person.work(ids, 20)
        office.until(office.unlike, 60)
    assert "C3" not in office.rows("books")
    assert len(office.rows("crm")) == 19


@pytest.mark.slow
def test_a_kafka_that_was_lost_as_a_whole_is_told_of_and_joined_again(office: TwoWayOffice) -> None:
    fill(office, 20)
    written(office)
    office.sorbus("apply", "--yes")
    with office.up():
        office.sorbus("two-way", "join", "customer", "--accept")
        office.until(office.unlike, 60)
    empty_kafka(office)
    with psycopg.connect(office.dsns["crm"], autocommit=True) as crm:  # nothing captures the delete
        crm.execute("delete from customers where id = 'C3'")
    with psycopg.connect(office.dsns["support"], autocommit=True) as support:
        support.execute("update contacts set phone = '4711' where id = 'C7'")
    office.sorbus("apply", "--yes")
    with office.up():
        for words in ("Kafka knows nothing of this merge", "customer-to-books: .* Kafka knows nothing of this flow"):
            office.until(lambda: "" if office.said(words) else f"nobody says: {words}", 60)  # noqa: B023 - at once
        written(office, on_lost_events="reread")
        office.sorbus("two-way", "join", "customer", "--again", "--accept", "--yes")
    with office.up():
        office.until(office.unlike, 90)
    assert "C3" not in office.rows("books")
    assert office.rows("crm")["C7"]["phone"] == "4711"


def empty_kafka(office: TwoWayOffice) -> None:
    """As a new cluster is: without the office's topics, and without its groups' offsets."""
    kafka = AdminClient({"bootstrap.servers": office.env["SORBUS_KAFKA"]})
    topics = {name for name in kafka.list_topics(timeout=10).topics if name.startswith(f"{office.prefix}.")}
    found = kafka.list_consumer_groups().result(20).valid
    groups = [one.group_id for one in found if one.group_id.startswith(f"{office.prefix}.")]
    for done in (kafka.delete_topics([*topics]), kafka.delete_consumer_groups(groups)):
        for future in done.values():
            future.result(30)
    office.until(lambda: topics & kafka.list_topics(timeout=10).topics.keys(), 30)


@pytest.mark.slow
def test_a_system_that_is_added_later_is_joined_before_anything_is_written_there(office: TwoWayOffice) -> None:
    fill(office, 20)
    written(office, systems=("crm", "books"))
    office.sorbus("apply", "--yes")
    with office.up():
        office.sorbus("two-way", "join", "customer", "--accept")
        office.until(lambda: "" if len(office.rows("books")) == 20 else "not delivered", 60)
    with psycopg.connect(office.dsns["support"], autocommit=True) as support:
        support.execute(
            "insert into contacts (id, name, email, phone)"
            " select 'C' || n, 'Old', 'old', '77' from generate_series(1, 9) n"
        )
    written(office)
    office.sorbus("apply", "--yes")
    with office.up():
        told = office.sorbus("two-way", "join", "customer")
        assert "email: 9 differ; its value is replaced" in told
        assert "phone: 9 differ; its value is taken" in told
        with psycopg.connect(office.dsns["crm"], autocommit=True) as crm:
            crm.execute("update customers set email = 'new@example.com' where id = 'C1'")
        office.until(lambda: "" if office.rows("books")["C1"]["mail"] == "new@example.com" else "not delivered", 60)
        words = "support isn't joined yet"
        office.until(lambda: "" if words in " ".join(office.sorbus("status", status=None).split()) else "no word", 60)
        office.sorbus("replay", "customer-to-support", status=2)
        assert {row["email"] for row in office.rows("support").values()} == {"old"}
        assert {row["phone"] for row in office.rows("crm").values()} == {None}
        office.sorbus("two-way", "join", "customer", "--accept")
        right = ["77"] * 9 + [None] * 11
        office.until(
            lambda: office.unlike() or ("" if phones(office) == right else "gaps aren't filled"),
            60,
        )


def phones(office: TwoWayOffice) -> list[object]:
    crm = office.rows("crm")
    return [crm[f"C{number}"]["phone"] for number in range(1, len(crm) + 1)]
