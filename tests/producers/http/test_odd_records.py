"""Records with another one at their address, a shared id or broken text: no other record waits for them."""

from __future__ import annotations

import pytest
from starlette.responses import JSONResponse, Response

from sorbus.abilities import Notice
from sorbus.bus.inbox import InboxWriter
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


@pytest.mark.parametrize("broken", [b"Caf\xe9", b"two\nlines", b"a\ttab"])
def test_one_record_with_broken_text_holds_up_no_other(desk: Desk, broken: bytes) -> None:
    """Old applications write Latin-1, or line breaks as they are, into what is else good JSON."""
    faulty = desk.faulty
    faulty.add(name="BROKEN")
    faulty.add(name="Bea")

    def raw(method: str, path: str, parameters: dict[str, str]) -> Response | None:
        if path == "/contacts":
            made = JSONResponse({"contacts": list(faulty.contacts().values()), "total": 2})
            return Response(bytes(made.body).replace(b"BROKEN", broken), media_type="application/json")
        return None

    faulty.raw = raw
    desk.poll("listed")
    tape = desk.tape("contact")
    with desk.producing() as running:
        tape.wait(lambda: "2" in tape.live(), lambda: f"Bea: {running.health.waiting()}", 12)


@pytest.mark.parametrize("id", ["a/b", "a b", "ä", "a%2Fb", "..x", "https://x/7"])
def test_ids_of_any_spelling_are_looked_at(desk: Desk, id: str) -> None:
    """What a webhook names is read by its address, whatever its id looks like."""
    faulty = desk.faulty
    faulty.add(name="Anna")
    seen: list[str] = []

    def raw(method: str, path: str, parameters: dict[str, str]) -> Response | None:
        one = {**faulty.contacts()["1"], "id": id}
        if path.startswith("/contacts/"):
            seen.append(path)
            return JSONResponse({"contact": {**one, "city": "Oulu"}})
        return JSONResponse({"contacts": [one], "total": 1})

    faulty.raw = raw
    connection = {"webhook_secret": "${DESK_WEBHOOK_SECRET}"}
    desk.poll("contacts", every="every 1h", connection=connection)
    tape = desk.tape("contact")
    writer = InboxWriter(desk.settings, desk.names)
    try:
        with desk.producing():
            tape.wait(lambda: id in tape.live(), "the record")
            writer.put("shop", [Notice("contacts", id, False, 1)]).result(10)
            tape.wait(lambda: tape.live()[id]["city"] == "Oulu", "the change", 15)
    finally:
        writer.close()
    assert set(seen) == {f"/contacts/{id}"}
