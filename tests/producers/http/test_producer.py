"""The polling producer in the real loop, against an application that breaks."""

from __future__ import annotations

from datetime import timedelta

from tests.producers.http.desk import Desk


def contacts(count: int) -> list[dict[str, object]]:
    return [{"name": f"Name {n}", "email": f"a{n}@example.test", "amount": f"{n}.50"} for n in range(count)]


def test_a_first_copy_then_changes_and_deletes_follow(desk: Desk) -> None:
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
        lists = desk.faulty.count("GET", "/contacts")
        tape.wait(
            lambda: bool(tape.read()) or desk.faulty.count("GET", "/contacts") > lists + 12, "twelve requests more"
        )
    assert len(tape.events) == count, "unchanged records were published"
