"""The polling producer in the real loop, against an application that breaks."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from starlette.responses import Response

from sorbus.abilities import Notice
from sorbus.bus.inbox import InboxWriter
from sorbus.bus.kafka import idempotent_producer
from sorbus.bus.names import Names
from sorbus.bus.positions import read_positions
from sorbus.bus.requests import backfill_message, reread_message
from sorbus.bus.sending import send
from sorbus.errors import MapError
from sorbus.ops.embedded import Addresses
from sorbus.producers.http.poll_run import TRIES
from sorbus.telemetry.metrics import LAST_POLL
from tests.http_api.faulty_http import Fault
from tests.producers.http.desk import CONTACT, WITH_LINES, Desk
from tests.producers.shop import Tape

SHEET = """shop;contacts.name;canonical;contact.name;
shop;contacts.email;canonical;contact.email;value | lower
shop;contacts.amount;canonical;contact.amount;
shop;contacts.city;canonical;contact.city;
shop;contacts.lines[].what;canonical;contact.items[].text;
shop;contacts.lines[].count;canonical;contact.items[].count;
"""


def contacts(count: int) -> list[dict[str, object]]:
    return [{"name": f"Name {n}", "email": f"a{n}@example.test", "amount": f"{n}.50"} for n in range(count)]


def not_twice(tape: Tape) -> None:
    """No two events of a record that follow each other are equal."""
    last: dict[str, object] = {}
    for event in tape.events:
        assert last.get(event.id) != event.record, f"{event} twice"
        last[event.id] = event.record


def answered(positions: Tape) -> int:
    """How many notices the newest position says are done."""
    inbox = positions.positions[-1].get("sorbus.inbox") if positions.positions else None
    return sum(int(str(offset)) for offset in inbox.values()) if isinstance(inbox, dict) else 0


def polls_more(desk: Desk, tape: Tape, requests: int = 8) -> None:
    """Until the application has been asked so often again."""
    before = desk.faulty.count("GET", "/contacts")

    def has_polled() -> bool:
        tape.read()
        return desk.faulty.count("GET", "/contacts") >= before + requests

    tape.wait(has_polled, f"{requests} requests more")


def test_an_initial_snapshot_then_changes_and_deletes_follow(desk: Desk) -> None:
    desk.faulty.add_many(contacts(350))
    desk.poll("ascending", compare="every 2s")
    tape = desk.tape("contact")
    with desk.producing():
        tape.wait_for(desk.there())
        desk.faulty.records.touch(40)
        new = desk.faulty.add(name="New", city="Łódź")
        desk.faulty.remove("7")
        tape.wait_for(desk.there())
        assert tape.live()[new]["city"] == "Łódź"
        assert "7" in tape.tombstones
        count = len(tape.events)
        polls_more(desk, tape, 12)
    assert len(tape.events) == count, "unchanged records were published"
    assert LAST_POLL.labels("shop", "contact")._value.get() > time.time() - 30


@pytest.mark.parametrize("resource", ["ascending", "by_cursor"])
def test_a_thousand_changes_of_one_second_by_a_clock_an_hour_off_all_come(desk: Desk, resource: str) -> None:
    records = desk.faulty.records
    records.clock_is_off, records.resolution = timedelta(hours=-1), 3600.0
    desk.faulty.add_many(contacts(1000))
    desk.poll(resource)
    tape = desk.tape("contact")
    with desk.producing():
        tape.wait_for(desk.there())
        records.clock_is_off = timedelta(hours=1)  # all that follows is one moment, two hours later
        for id in range(1, 1001, 2):
            desk.faulty.change(str(id), city="Turku")
        tape.wait_for(desk.there())
    not_twice(tape)


def test_lists_in_no_order_without_a_cursor_are_compared_until_all_is_there(desk: Desk) -> None:
    desk.faulty.order = "shuffled"
    desk.faulty.add_many(contacts(150))
    desk.poll("listed")
    tape = desk.tape("contact")
    with desk.producing():
        tape.wait_for(desk.there())
        desk.faulty.records.touch(20)
        for id in ("3", "99", "150"):
            desk.faulty.remove(id)
        tape.wait_for(desk.there())
    not_twice(tape)


def test_faults_of_every_kind_delay_but_lose_double_and_delete_nothing(desk: Desk) -> None:
    faulty = desk.faulty
    faulty.faults = dict.fromkeys(("500", "429-bare", "reset", "cut", "empty", "html", "renamed", "retyped"), 0.02)
    faulty.add_many(contacts(300))
    desk.poll("contacts", compare="every 2s", description={"timeout": "2s"})
    tape = desk.tape("contact")
    with desk.producing() as running:
        tape.wait_for(desk.there(), 90)
        faulty.records.touch(30)
        faulty.remove("17")
        tape.wait_for(desk.there(), 90)
        faulty.faults = {}
        tape.wait(lambda: running.health.waiting() is None, "being ready again")
    assert tape.tombstones == ["17"]
    not_twice(tape)


def test_lists_inside_become_items_and_a_bad_record_is_a_letter_until_it_is_good_again(desk: Desk) -> None:
    desk.faulty.add(name="One", email="A@Example.test", lines=[{"what": "saw", "count": 2}, {"what": "nail"}])
    desk.faulty.add(name="Two", lines=[])
    desk.poll(fields=WITH_LINES, sheet=SHEET, lists={"items": "lines"}, compare="every 2s")
    tape, letters = desk.tape("contact"), desk.dead_letters("contact")
    with desk.producing():
        tape.wait(lambda: {"1", "2"} <= tape.live().keys(), "both")
        assert tape.live()["1"]["email"] == "a@example.test"
        assert tape.live()["1"]["items"] == [{"text": "saw", "count": 2}, {"text": "nail", "count": None}]
        assert tape.live()["2"]["items"] == []
        desk.faulty.change("1", amount="many")
        letters.wait(lambda: bool(letters.letters), "the letter")
        (letter,) = letters.letters.values()
        assert letter.field == "amount"
        assert '"many"' in letter.message
        assert b'"amount":"many"' in (letter.value or b"")
        polls_more(desk, tape)
    with desk.producing():  # also when it was restarted, and is as it was before
        polls_more(desk, tape)
        assert len(letters.letters) == 1
        desk.faulty.change("1", amount=None)
        letters.wait(lambda: not letters.letters, "the letter's closing")
    assert [event.version for event in tape.events_of("2")] == [tape.events_of("2")[0].version]


def test_a_new_rule_is_applied_to_every_record_at_the_next_start(desk: Desk) -> None:
    desk.faulty.add_many(contacts(5))
    desk.poll()
    tape = desk.tape("contact")
    with desk.producing():
        tape.wait_for(desk.there())
    desk.poll(sheet="shop;contacts.name;canonical;contact.name;value | upper\n")
    with desk.producing():
        tape.wait(lambda: all(str(one["name"]).isupper() for one in tape.live().values()), tape.live)
    assert len(tape.events) == 10


@pytest.mark.slow
def test_a_schema_that_grew_is_no_reason_to_publish_what_is_as_it_was(desk: Desk, stack: Addresses) -> None:
    desk.settings = desk.settings.model_copy(update={"registry": stack.registry})
    desk.faulty.add_many(contacts(5))
    desk.poll()
    tape = desk.tape("contact")
    with desk.producing():
        tape.wait_for(desk.there())
    desk.poll(fields=[*CONTACT, {"name": "nickname", "type": ["null", "string"], "default": None}])
    desk.faulty.change("4", city="Kemi")
    with desk.producing():
        tape.wait(lambda: len(tape.events) > 5, "the change")
        polls_more(desk, tape)
    assert [event.id for event in tape.events[5:]] == ["4"]


@pytest.mark.parametrize("resource", ["ascending", pytest.param("contacts", marks=pytest.mark.slow)])
def test_killed_in_the_initial_snapshot_and_in_a_poll_it_goes_on(desk: Desk, resource: str) -> None:
    faulty = desk.faulty
    faulty.add_many(contacts(800))
    faulty.slow = 0.05
    desk.poll(resource)
    tape, positions = desk.tape("contact"), desk.positions()
    with desk.process() as process:
        tape.wait(lambda: len(tape.events) >= 300, lambda: desk.log.read_text()[-2000:], 90)
        assert process.poll() is None, desk.log.read_text()[-2000:]
    positions.read(1.0)
    last = positions.positions[-1]["contact"]
    assert isinstance(last, dict)
    assert last["copying"], "the copy was over before it could be killed"
    listed = faulty.count("GET", "/contacts")
    with desk.process():
        tape.wait_for(desk.there(), 90)
        assert faulty.asked[listed].parameters["page"] != "1", "the copy began anew"
        for id in range(1, 600):
            faulty.change(str(id), city="Vaasa")
        count = len(tape.events)
        tape.wait(lambda: len(tape.events) >= count + 150, lambda: desk.log.read_text()[-2000:], 90)
    faulty.remove("5")
    faulty.slow = 0.0
    desk.poll(resource, compare="every 2s")
    with desk.producing():
        tape.wait_for(desk.there(), 90)
    not_twice(tape)


def test_a_notice_in_the_inbox_is_answered_at_once(desk: Desk) -> None:
    desk.faulty.add_many(contacts(3))
    desk.poll(every="every 1h", connection={"webhook_secret": "${DESK_WEBHOOK_SECRET}"})
    tape, positions = desk.tape("contact"), desk.positions()
    writer = InboxWriter(desk.settings, desk.names)
    try:
        with desk.producing():
            tape.wait_for(desk.there())
            desk.faulty.change("2", city="Oulu")
            desk.faulty.remove("3")
            told = [("2", False), ("2", False), ("3", True), ("1", False), ("77", False)]
            writer.put("shop", [Notice("contacts", id, gone, 1) for id, gone in told]).result(10)
            began = time.monotonic()
            tape.wait_for(desk.there())
            assert time.monotonic() - began < 10
            positions.wait(lambda: not positions.read() and answered(positions) == len(told), "the inbox's position")
            looks = desk.faulty.count("GET", "/contacts/")
        with desk.producing():  # nothing is looked up twice
            desk.faulty.change("1", city="Espoo")
            tape.wait_for(desk.there())
            assert desk.faulty.count("GET", "/contacts/") == looks
    finally:
        writer.close()
    assert len(tape.events_of("1")) == 2


@pytest.mark.parametrize("fault", ["renamed", "500"])
def test_a_record_that_a_webhook_names_and_that_cant_be_read_takes_no_other_along(desk: Desk, fault: Fault) -> None:
    desk.faulty.add_many(contacts(4))
    desk.poll(every="every 1h", connection={"webhook_secret": "${DESK_WEBHOOK_SECRET}"})
    tape = desk.tape("contact")
    writer = InboxWriter(desk.settings, desk.names)
    try:
        with desk.producing():
            tape.wait_for(desk.there())
            for id in ("1", "2", "3", "4"):
                desk.faulty.change(id, city="Oulu")
            desk.faulty.script("GET", "/contacts/3", *[fault] * (2 if fault == "renamed" else TRIES))
            writer.put("shop", [Notice("contacts", id, False, 1) for id in ("1", "2", "3", "4")]).result(10)
            tape.wait_for(desk.there(), 60)
    finally:
        writer.close()
    assert [len(tape.events_of(id)) for id in ("1", "2", "3", "4")] == [2] * 4
    asked = desk.faulty.count("GET", "/contacts/3", 500) if fault == "500" else 0
    assert asked == (TRIES if fault == "500" else 0), "it is left to a poll once it was tried often enough"


def test_faults_with_answers_in_between_make_no_pause_longer(desk: Desk) -> None:
    ids = [str(number) for number in range(1, 17)]
    desk.faulty.add_many(contacts(len(ids)))
    desk.poll(every="every 1h", connection={"webhook_secret": "${DESK_WEBHOOK_SECRET}"})
    tape = desk.tape("contact")
    writer = InboxWriter(desk.settings, desk.names)
    try:
        with desk.producing():
            tape.wait_for(desk.there())
            for id in ids:
                desk.faulty.change(id, city="Oulu")
                desk.faulty.script("GET", f"/contacts/{id}", "500")
            writer.put("shop", [Notice("contacts", id, False, 1) for id in ids]).result(10)
            began = time.monotonic()
            tape.wait_for(desk.there(), 60)
            seconds = time.monotonic() - began
    finally:
        writer.close()
    assert desk.faulty.count("GET", "/contacts/", 500) == len(ids)
    assert seconds < 20, "sixteen pauses of up to half a second, not each twice the last one"


def test_what_the_description_does_not_know_is_told_before_anything_starts(desk: Desk) -> None:
    with pytest.raises(MapError, match=r"shop has no resource 'contact'.*\n.*contacts"):
        desk.poll("contact")


@pytest.mark.parametrize("every", ["real-time", "never", "every 0s", "now and then"])
def test_a_schedule_that_is_none_is_told_with_the_cure(desk: Desk, every: str) -> None:
    with pytest.raises(MapError, match="write "):
        desk.poll(every=every)


def test_another_application_is_not_taken_for_one_whose_records_are_gone(desk: Desk) -> None:
    desk.faulty.add_many(contacts(3))
    desk.poll()
    tape = desk.tape("contact")
    with desk.producing():
        tape.wait_for(desk.there())
    desk.poll(connection={"base_url": desk.faulty.base_url.replace("127.0.0.1", "localhost")})
    running = desk.start()
    assert "came from another address" in str(running.ended())
    desk.poll(
        connection={"base_url": desk.faulty.base_url.replace("127.0.0.1", "localhost")},
        system={"on_lost_slot": "resnapshot"},
        every="every 1s",
    )
    desk.faulty.change("2", city="Pori")
    with desk.producing():
        tape.wait_for(desk.there())
    assert len(tape.events) == 4


def is_made_again(desk: Desk) -> bool:
    """Whether a restart would publish every contact again."""
    position = read_positions(desk.settings, Names(desk.prefix)).get("shop", {}).get("contact")
    assert isinstance(position, dict)
    return bool(position["is_again"])


def test_all_is_published_again_also_where_the_process_is_restarted_meanwhile(desk: Desk) -> None:
    desk.faulty.add_many(contacts(250))
    desk.poll()
    tape = desk.tape("contact")

    def not_the_third_page(_method: str, _path: str, asked: dict[str, str]) -> Response | None:
        """Of the list of all: where polls for changes are refused, it isn't asked for."""
        return Response("no", status_code=503) if asked.get("page") == "3" and "since" not in asked else None

    with desk.producing():
        tape.wait_for(desk.there())
        polls_more(desk, tape, 3)  # the first list has ended, and changes are asked for
        before = len(tape.events)
        desk.faulty.raw = not_the_third_page
        asked = backfill_message(Names(desk.prefix), "shop", "contact", "start", "")
        send(idempotent_producer(desk.settings, "test"), [asked], "asking")
        tape.wait(lambda: not tape.read() and len(tape.events) > before, "the first pages")
    desk.faulty.raw = None
    with desk.producing():
        tape.wait(
            lambda: not tape.read() and {one.id for one in tape.events[before:]} == desk.there().keys(),
            lambda: f"of 250 only {len({one.id for one in tape.events[before:]})} are published again",
        )
        tape.wait(lambda: not is_made_again(desk) and not tape.read(), "the end of the list that publishes all again")
        many = len(tape.events)
        polls_more(desk, tape, 2)
    with desk.producing():
        polls_more(desk, tape, 2)
    assert len(tape.events) == many, "and once is enough"


@pytest.mark.parametrize("of", ["all records", "one record"])
def test_what_was_asked_before_a_restart_is_answered_after_it(desk: Desk, of: str) -> None:
    desk.faulty.add_many(contacts(3))
    desk.poll()
    tape, names = desk.tape("contact"), Names(desk.prefix)
    asked, wanted = backfill_message(names, "shop", "contact", "start"), {"1", "2", "3"}
    if of == "one record":
        asked, wanted = reread_message(names, "shop", "contact", b"2"), {"2"}
    with desk.producing():
        tape.wait_for(desk.there())
        polls_more(desk, tape, 3)
        before = len(tape.events)
        desk.faulty.raw = lambda *_: Response("no", status_code=503)
        send(idempotent_producer(desk.settings, "test"), [asked], "asking")
    desk.faulty.raw = None
    with desk.producing():
        tape.wait(
            lambda: not tape.read() and {one.id for one in tape.events[before:]} == wanted,
            lambda: f"only {tape.events[before:]} are published again",
        )
        many = len(tape.events)
        polls_more(desk, tape, 2)
    with desk.producing():
        polls_more(desk, tape, 3)
    assert len(tape.events) == many, "and once is enough"
