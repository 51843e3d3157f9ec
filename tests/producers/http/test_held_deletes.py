"""Many records that look deleted: nothing happens until a person confirms, and then just what was confirmed."""

from __future__ import annotations

import json

import pytest
from starlette.responses import Response

from sorbus.drift.store import DriftFinding, DriftStore
from sorbus.state.database import State
from sorbus.telemetry.metrics import DRIFT_OPEN
from tests.producers.http.desk import Desk
from tests.producers.http.test_producer import polls_more


def findings(desk: Desk) -> list[DriftFinding]:
    """The open findings about deletes."""
    return [found for found in DriftStore(State.of(desk.prefix)).findings() if found.what == "deleted"]


@pytest.mark.parametrize("status", [404, 403])
def test_a_right_that_is_taken_away_deletes_nothing_and_a_persons_word_does(desk: Desk, status: int) -> None:
    """The list answers 200 and shows 60%; each hidden record's own address says that there is none."""
    faulty = desk.faulty
    ids = faulty.add_many([{"name": f"Name {n}"} for n in range(30)])
    errors = {"rules": [{"status": [403], "means": "gone"}]}
    desk.poll("listed", description={"errors": errors})
    tape = desk.tape("contact")
    hidden = set(ids[:12])

    def without_the_right(_method: str, path: str, _parameters: dict[str, str]) -> Response | None:
        if path == "/contacts":
            shown = [one for id, one in faulty.contacts().items() if id not in hidden]
            return Response(json.dumps({"contacts": shown, "total": len(shown)}), media_type="application/json")
        if path.rpartition("/")[2] in hidden:
            return Response('{"message": "nothing here"}', status, media_type="application/json")
        return None

    with desk.producing():
        tape.wait_for(desk.there())
        faulty.raw = without_the_right
        tape.wait(lambda: not tape.read() and bool(findings(desk)), "a question to a person")
        polls_more(desk, tape, 5)
        assert not tape.tombstones, "deleted without a question"
        assert DRIFT_OPEN.labels("shop", "contact", "held")._value.get() == 1
        [found] = findings(desk)
        assert "12 of 30 records seem deleted" in found.words
        faulty.change(ids[20], city="Oulu")  # all else goes on
        tape.wait_for(desk.there())

        faulty.raw = None  # the right is given back
        tape.wait(lambda: not tape.read() and not findings(desk), "the finding ends by itself")
        assert not tape.tombstones

        for id in ids[:12]:
            faulty.remove(id)
        tape.wait(lambda: not tape.read() and bool(findings(desk)), "the question for what is really deleted")
    with desk.producing():  # also when it was restarted in between
        polls_more(desk, tape, 3)
        assert not tape.tombstones
        [found] = findings(desk)
        DriftStore(State.of(desk.prefix)).settle(found.number, "anna", "old stock")
        tape.wait_for(desk.there(), 60)
        faulty.remove(ids[15])
        tape.wait_for(desk.there())
    assert set(tape.tombstones) == {*ids[:12], ids[15]}
    assert DriftStore(State.of(desk.prefix)).confirmed("shop") == {}, "a confirmation counts once"


def test_records_without_a_time_are_said_and_compared_at_every_start(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """As long as its update time is empty, a filter by time never shows a record."""
    faulty = desk.faulty
    faulty.add_many([{"name": f"Name {n}"} for n in range(3)])
    faulty.shown = lambda one: {**one, "updated_at": one["updated_at"] if one["id"] == 1 else None}
    desk.poll("contacts", compare="never")
    tape = desk.tape("contact")
    with desk.producing():
        tape.wait_for(desk.there())
        polls_more(desk, tape, 3)
    assert "2 listed records have no update time (updated_at)" in caplog.text
    assert "updated: [updated_at, created_at]" in caplog.text
    faulty.raw = lambda _method, path, asked: (
        Response('{"contacts": [], "total": 0}', media_type="application/json")
        if path == "/contacts" and asked.get("since")
        else None
    )
    faulty.add(name="New")
    with desk.producing():
        tape.wait_for(desk.there())
