"""An application whose records change their shape: what goes on, what waits, and that all of it arrives in the end."""

from __future__ import annotations

import psycopg

from sorbus.drift.compare import compare
from sorbus.telemetry.metrics import DRIFT_OPEN
from tests.http_api.faulty_records import Record
from tests.producers.http.desk import Desk

SHEET = """shop;contacts.name;canonical;contact.name;
shop;contacts.email;canonical;contact.email;
shop;contacts.amount;canonical;contact.amount;
shop;contacts.{city};canonical;contact.city;
"""


def found(desk: Desk) -> dict[tuple[str, str], tuple[str, str, str]]:
    """Open findings: (field, what) -> severity, the likely other name, example."""
    query = "select field, what, severity, renamed, example from {}.drift_finding where state = 'open'"
    with psycopg.connect(desk.dsn) as connection:
        rows = connection.execute(query.format("sorbus_" + desk.prefix.replace(".", "_")).encode()).fetchall()
    return {(str(row[0]), str(row[1])): (str(row[2]), str(row[3]), str(row[4])) for row in rows}


def test_a_renamed_key_holds_records_and_the_mended_map_lets_them_all_go_on(desk: Desk) -> None:
    faulty = desk.faulty
    ids = faulty.add_many([{"name": f"Name {n}", "amount": f"{n}.50", "city": "Köln"} for n in range(30)])
    desk.poll("contacts", sheet=SHEET.format(city="city"), compare="every 2s")
    tape, letters = desk.tape("contact"), desk.dead_letters("contact")

    def renamed(contact: Record) -> Record:
        kept = {key: value for key, value in contact.items() if key != "city"}
        amount = {} if contact["amount"] is None else {"amount": float(contact["amount"])}
        return {**kept, **amount, "town": contact["city"], "vip": True}

    with desk.producing():
        tape.wait_for(desk.there())
        faulty.change(ids[0], city=None)  # always there, if only null
        tape.wait_for(desk.there())
        faulty.shown = renamed
        faulty.change(ids[1], city="Łódź")
        letters.wait(lambda: len(letters.letters) == 30, lambda: f"{len(letters.letters)} letters of 30")
        wanted = {("city", "missing"), ("town", "new"), ("vip", "new"), ("amount", "retyped")}
        letters.wait(lambda: letters.read() == 0 and found(desk).keys() == wanted, lambda: found(desk))
        assert DRIFT_OPEN.labels("shop", "contact", "held")._value.get() == 1
    assert {letter.reason for letter in letters.letters.values()} == {"drift"}
    findings = found(desk)
    assert findings["city", "missing"][:2] == ("held", "town")
    assert findings["amount", "retyped"][0] == "info", "what can be converted goes on"
    assert "Köln" not in str(findings), "nobody has said that a new field isn't personal"
    assert tape.live()[ids[1]]["city"] == "Köln", "what is gone isn't taken for empty"

    faulty.remove(ids[2])
    desk.poll("contacts", sheet=SHEET.format(city="town"), compare="every 2s")
    with desk.producing():
        tape.wait_for(desk.there())
        letters.wait(lambda: not letters.letters, lambda: f"{len(letters.letters)} letters are still open")
        left = {("vip", "new"), ("amount", "retyped")}
        letters.wait(lambda: letters.read() == 0 and found(desk).keys() == left, lambda: found(desk))


def test_a_key_that_records_leave_out_when_it_is_empty_is_not_missed(desk: Desk) -> None:
    faulty = desk.faulty
    faulty.shown = lambda contact: {key: value for key, value in contact.items() if value is not None}
    faulty.add_many([{"name": f"Name {n}", "city": None if n % 3 else "Köln"} for n in range(30)])
    desk.poll("contacts", sheet=SHEET.format(city="city"), compare="every 2s")
    tape, letters = desk.tape("contact"), desk.dead_letters("contact")
    with desk.producing():
        tape.wait_for(desk.there())
        faulty.add(name="New")
        tape.wait_for(desk.there())
    letters.read()
    assert not letters.letters
    assert not found(desk)


def test_what_stands_in_the_same_place_or_is_alike_looks_renamed() -> None:
    before = {"id": "integer", "phone": "text", "city": "text", "note": "text"}
    now = {"id": "integer", "telephone": "text", "town": "text", "tier": "text"}
    drifts = {(each.field, each.what): each for each in compare(before, now, {"phone": "phone = phone"})}
    assert drifts["phone", "missing"].renamed == "telephone"
    assert drifts["phone", "missing"].severity == "held"
    assert drifts["town", "new"].renamed == "city"
    assert drifts["city", "missing"].severity == "info"
    assert compare(now, now, {}) == []
    assert compare({}, {"a": "text"}, {"a": "a = a"}) == [], "the map reads it already"
