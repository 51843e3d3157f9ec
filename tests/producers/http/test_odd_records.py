"""Records with another one at their address, a shared id or broken text: no other record waits for them."""

from __future__ import annotations

import copy
import time
import uuid
from collections.abc import Iterator

import pytest
from starlette.responses import JSONResponse, Response

from sorbus.abilities import Notice
from sorbus.bus.inbox import InboxWriter
from sorbus.http_api.interface import Api
from sorbus.producers.http import shared_ids
from sorbus.producers.http.poll_schedule import PollSchedule
from sorbus.producers.http.request_pool import RequestPool
from sorbus.producers.http.stream_poller import StreamPoller
from sorbus.producers.polling.poll_state import PageResult
from tests.http_api.faulty import DESCRIBED
from tests.http_api.short_lists import short_pages
from tests.producers.http.desk import Desk


def test_a_merged_record_whose_address_shows_the_survivor_is_no_double(desk: Desk) -> None:
    """HubSpot: GET of a merged contact's id answers 200 with the contact that it was merged into."""
    faulty = desk.faulty
    for n in range(1, 41):
        faulty.add(name=f"N{n}", email=f"n{n}@example.test")
    desk.poll("contacts", compare="every 2s")
    tape = desk.tape("contact")
    with desk.producing():
        tape.wait_for(desk.there())

        def raw(method: str, path: str, parameters: dict[str, str]) -> Response | None:
            if method == "GET" and path == "/contacts/7":
                return JSONResponse({"contact": faulty.contacts()["9"]})
            return None

        faulty.raw = raw
        faulty.remove("7")
        tape.wait(lambda: tape.live().get("7", {}).get("name") != "N7", "the end of 7", 15)
        assert "7" not in tape.live(), "7 is published with the data of 9"


def test_a_delete_that_a_webhook_told_of_before_the_record_is_gone_is_found(desk: Desk) -> None:
    """The copy of the database that answers reads is behind: it still shows the record."""
    faulty = desk.faulty
    faulty.add(name="Anna")
    faulty.add(name="Bea")
    connection = {"webhook_secret": "${DESK_WEBHOOK_SECRET}"}
    desk.poll("contacts", every="every 1h", compare="never", connection=connection)
    tape = desk.tape("contact")
    writer = InboxWriter(desk.settings, desk.names)
    try:
        with desk.producing():
            tape.wait_for(desk.there())
            looked = faulty.count("GET", "/contacts/1")
            writer.put("shop", [Notice("contacts", "1", True, 1)]).result(10)
            tape.wait(lambda: tape.read() < 0 or faulty.count("GET", "/contacts/1") > looked, "the look")
            faulty.remove("1")  # the copy has caught up
            tape.wait(lambda: tape.live().keys() == {"2"}, "the delete", 20)
    finally:
        writer.close()


def test_two_records_of_one_id_are_one_dead_letter(desk: Desk) -> None:
    faulty = desk.faulty
    faulty.add(name="Anna")

    def raw(method: str, path: str, parameters: dict[str, str]) -> Response | None:
        if method == "GET" and path == "/contacts":
            one = faulty.contacts()["1"]
            return JSONResponse({"contacts": [{**one, "name": "A"}, {**one, "name": "B"}], "total": 2})
        return None

    faulty.raw = raw
    desk.poll("listed")
    tape, letters = desk.tape("contact"), desk.dead_letters("contact")
    with desk.producing():
        letters.wait(lambda: bool(letters.letters), "the dead letter")
        before = faulty.count("GET", "/contacts")
        tape.wait(lambda: tape.read() < 0 or faulty.count("GET", "/contacts") > before + 5, "five polls")
        assert not tape.events
        faulty.raw = None
        tape.wait_for(desk.there())


@pytest.mark.parametrize("can_look", [True, False])
def test_an_id_that_two_changed_records_shared_for_a_while_is_published_soon(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *, can_look: bool
) -> None:
    """The next list that everything is compared by is due in a day; and the next poll is always due at once."""
    monkeypatch.setattr(shared_ids, "_LIST_AGAIN", 1_000_000)
    monkeypatch.setattr(PollSchedule, "next_poll", lambda schedule: schedule.now())
    faulty = desk.faulty
    faulty.add_many([{"name": f"N{n}"} for n in range(3)])
    resources = {"contacts": copy.deepcopy(DESCRIBED["resources"]["contacts"])}
    if not can_look:
        resources["contacts"] |= {"get": None, "update": None, "delete": None, "merge": None, "create": None}
    desk.poll("contacts", description={"resources": resources, "webhooks": None})
    tape, letters = desk.tape("contact"), desk.dead_letters("contact")

    def raw(method: str, path: str, parameters: dict[str, str]) -> Response | None:
        if path == "/contacts" and "since" in parameters:
            one = faulty.contacts()["1"]
            return JSONResponse({"contacts": [{**one, "name": "A"}, {**one, "name": "B"}], "total": 2})
        return None

    with desk.producing():
        tape.wait_for(desk.there())
        faulty.raw = raw
        letters.wait(lambda: bool(letters.letters), "the dead letter")
        assert {letter.reason for letter in letters.letters.values()} == {"id not unique"}
        faulty.raw = None
        faulty.change("1", city="Oulu")
        faulty.change("2", city="Oulu")
        tape.wait_for(desk.there(), 20)
        letters.wait(lambda: not letters.letters, "the end of the letter", 20)


def _listing(desk: Desk, text: bytes, instead: bytes) -> None:
    """The application has Anna and Bea, and lists them with other bytes in place of `text`."""
    faulty = desk.faulty
    faulty.add(name="Anna")
    faulty.add(name="Bea")

    def raw(method: str, path: str, parameters: dict[str, str]) -> Response | None:
        if path == "/contacts":
            made = bytes(JSONResponse({"contacts": list(faulty.contacts().values()), "total": 2}).body)
            assert text in made
            return Response(made.replace(text, instead), media_type="application/json")
        return None

    faulty.raw = raw


@pytest.mark.parametrize("broken", [b"Caf\xe9", b"two\nlines", b"a\ttab"])
def test_one_record_with_broken_text_holds_up_no_other(desk: Desk, broken: bytes) -> None:
    """Old applications write Latin-1, or line breaks as they are, into what is else good JSON."""
    _listing(desk, b'"Anna"', b'"%b"' % broken)
    desk.poll("listed")
    tape = desk.tape("contact")
    with desk.producing() as running:
        tape.wait(lambda: "2" in tape.live(), lambda: f"Bea: {running.health.waiting()}", 12)


def test_a_field_that_a_record_names_twice_is_its_dead_letter(desk: Desk) -> None:
    """What turns XML into JSON writes two elements of one name so."""
    _listing(desk, b'"name":"Anna"', b'"name":"Anna","name":"Anne"')
    desk.poll("listed")
    tape, letters = desk.tape("contact"), desk.dead_letters("contact")
    with desk.producing():
        letters.wait(lambda: bool(letters.letters), "the dead letter")
        tape.wait(lambda: "2" in tape.live(), "the other record")
        (letter,) = letters.letters.values()
        assert letter.field == "name"
        assert '["Anna","Anne"]' in letter.message.replace("\\", "")
        assert "1" not in tape.live()
        desk.faulty.raw = None
        tape.wait_for(desk.there())


@pytest.mark.parametrize("id", ["a/b", "a b", "ä", "a%2Fb", "..x", "https://x/7"])
def test_ids_of_any_spelling_are_looked_at(desk: Desk, id: str) -> None:
    """What a webhook names is read by its address, whatever its id looks like."""
    faulty = desk.faulty
    faulty.add(name="Anna")
    seen: list[str] = []
    changes: dict[str, str] = {}

    def raw(method: str, path: str, parameters: dict[str, str]) -> Response | None:
        one = {**faulty.contacts()["1"], "id": id, **changes}
        if path.startswith("/contacts/"):
            seen.append(path)
            return JSONResponse({"contact": one})
        return JSONResponse({"contacts": [one], "total": 1})

    faulty.raw = raw
    connection = {"webhook_secret": "${DESK_WEBHOOK_SECRET}"}
    desk.poll("contacts", every="every 1h", connection=connection)
    tape = desk.tape("contact")
    writer = InboxWriter(desk.settings, desk.names)
    try:
        with desk.producing():
            tape.wait(lambda: id in tape.live(), "the record")
            changes["city"] = "Oulu"
            writer.put("shop", [Notice("contacts", id, False, 1)]).result(10)
            tape.wait(lambda: tape.live()[id]["city"] == "Oulu", "the change", 15)
    finally:
        writer.close()
    assert set(seen) == {f"/contacts/{id}"}


def test_a_record_that_changes_all_the_time_is_no_two_records(desk: Desk) -> None:
    """By update time it comes to the end of the list while that is read, and so is shown twice, list after list."""
    faulty = desk.faulty
    faulty.add_many([{"name": f"N{n}"} for n in range(25)])
    count = 0

    def raw(method: str, path: str, parameters: dict[str, str]) -> Response | None:
        nonlocal count
        if method != "GET" or path != "/contacts":
            return None
        count += 1
        faulty.change("1", city=f"C{count}")
        number = int(parameters.get("page", "1"))
        found = sorted(faulty.contacts().values(), key=lambda one: int(one["id"]))
        rows = [found[0], *found[10 * number - 10 + (number == 1) : 10 * number]]
        return JSONResponse({"contacts": rows, "total": 25, "has_more": number < 3})

    faulty.raw = raw
    desk.poll("unlooked", description={"resources": short_pages()})
    tape, letters = desk.tape("contact"), desk.dead_letters("contact")
    with desk.producing():
        tape.wait(lambda: len(tape.live()) == 25, "the first list")
        tape.wait(lambda: tape.read() < 0 or count > 30, "ten lists", 60)
    letters.read()
    assert not letters.letters


@pytest.mark.parametrize("says", [404, 403, 500])
def test_deletes_that_cannot_be_looked_at_are_told_of_and_hold_up_no_changes(desk: Desk, says: int) -> None:
    """The application's own 404 may be a web page, its records may be forbidden: they stay, and people see why."""
    faulty = desk.faulty
    faulty.add_many([{"name": f"N{n}"} for n in range(80)])

    def raw(method: str, path: str, parameters: dict[str, str]) -> Response | None:
        if (
            method == "GET"
            and path.startswith("/contacts/")
            and path.removeprefix("/contacts/") not in faulty.contacts()
        ):
            return Response("<html><h1>No such page</h1></html>", says, media_type="text/html")
        return None

    faulty.raw = raw
    desk.poll("contacts", compare="every 2s")
    tape = desk.tape("contact")
    with desk.producing() as running:
        tape.wait_for(desk.there())
        for id in range(1, 8):
            faulty.remove(str(id))
        tape.wait(
            lambda: tape.read() < 0 or "lacks 7 records, such as 1, that can't be" in str(running.health.waiting()),
            running.health.waiting,
            20,
        )
        for city in ("Oulu", "Turku", "Vaasa"):
            faulty.change("40", city=city)
            tape.wait(lambda city=city: tape.live()["40"]["city"] == city, "the change", 8)
        assert tape.tombstones == []
        faulty.raw = None
        tape.wait_for(desk.there(), 20)
        tape.wait(lambda: tape.read() < 0 or running.health.waiting() is None, running.health.waiting)


@pytest.fixture
def told(desk: Desk) -> Iterator[InboxWriter]:
    """Contacts that are polled never, of whose changes webhooks tell."""
    desk.faulty.add_many([{"name": f"N{n}"} for n in range(3)])
    connection = {"webhook_secret": "${DESK_WEBHOOK_SECRET}"}
    desk.poll("contacts", every="every 1h", compare="never", connection=connection)
    writer = InboxWriter(desk.settings, desk.names)
    try:
        yield writer
    finally:
        writer.close()


def test_a_delete_that_reads_show_late_is_found_also_after_a_restart(desk: Desk, told: InboxWriter) -> None:
    faulty, tape = desk.faulty, desk.tape("contact")
    with desk.producing():
        tape.wait_for(desk.there())
        looked = faulty.count("GET", "/contacts/1")
        told.put("shop", [Notice("contacts", "1", True, 1)]).result(10)
        tape.wait(lambda: tape.read() < 0 or faulty.count("GET", "/contacts/1") > looked, "the look")
        told.put("shop", [Notice("contacts", "2", False, 1)]).result(10)  # the first has been taken down before it
        tape.wait(lambda: tape.read() < 0 or faulty.count("GET", "/contacts/2") > 0, "the next look")
    faulty.remove("1")
    with desk.producing():
        tape.wait(lambda: tape.live().keys() == {"2", "3"}, "the delete", 20)


def test_a_second_look_that_is_due_while_another_look_waits_takes_no_processor(
    desk: Desk, told: InboxWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty, tape = desk.faulty, desk.tape("contact")
    steps = 0

    def counted(self: StreamPoller, api: Api, asker: RequestPool) -> PageResult | None:
        nonlocal steps
        steps += 1
        return step(self, api, asker)

    step = StreamPoller.step
    monkeypatch.setattr(StreamPoller, "step", counted)

    def raw(method: str, path: str, parameters: dict[str, str]) -> Response | None:
        return Response("", 503, {"retry-after": "30"}) if path == "/contacts/2" else None

    with desk.producing():
        tape.wait_for(desk.there())
        faulty.raw = raw
        told.put("shop", [Notice("contacts", "1", True, 1)]).result(10)
        tape.wait(lambda: tape.read() < 0 or faulty.count("GET", "/contacts/1") > 0, "the look")
        told.put("shop", [Notice("contacts", "2", False, 1)]).result(10)
        tape.wait(lambda: tape.read() < 0 or faulty.count("GET", "/contacts/2") > 0, "the next look")
        end = time.monotonic() + 8
        while time.monotonic() < end:
            tape.read()
    assert steps < 200


def test_a_record_whose_address_writes_its_id_otherwise_is_not_taken_for_another(desk: Desk) -> None:
    """The list hides it for a while; its address shows it, with a UUID in the other form."""
    faulty = desk.faulty
    faulty.add_many([{"name": f"N{n}"} for n in range(40)])
    listed = {id: f"4f1b0c5e58cc4372a5670e02b2c3d4{int(id):02}" for id in faulty.contacts()}
    is_hidden = False
    looked = 0

    def raw(method: str, path: str, parameters: dict[str, str]) -> Response | None:
        nonlocal looked
        if method != "GET":
            return None
        if path == "/contacts":
            found = [{**one, "id": listed[id]} for id, one in faulty.contacts().items() if not is_hidden or id != "7"]
            return JSONResponse({"contacts": found, "total": len(found)})
        looked += 1
        id = path.rpartition("/")[2]
        one = faulty.contacts()[str(int(id[-2:]))]
        return JSONResponse({"contact": {**one, "id": f"{{{uuid.UUID(id)}}}"}})

    faulty.raw = raw
    resources = copy.deepcopy(DESCRIBED["resources"])
    resources["contacts"]["fields"]["id"] = {}
    desk.poll("contacts", compare="every 1s", description={"resources": resources})
    tape = desk.tape("contact")
    with desk.producing():
        tape.wait(lambda: len(tape.live()) == 40, "all")
        is_hidden = True
        tape.wait(lambda: tape.read() < 0 or looked > 2, "looks")
    tape.read()
    assert tape.tombstones == []
