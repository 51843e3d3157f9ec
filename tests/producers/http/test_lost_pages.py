"""A page that can't be read any more, such as one whose cursor has expired: its list is read from the beginning."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.responses import JSONResponse, Response

from sorbus.producers.http import poll_run
from sorbus.producers.http.poll_run import TRIES, PollRun
from sorbus.producers.polling.poll_state import AskPage
from tests.producers.http.desk import Desk

EXPIRED: dict[str, Callable[[], Response]] = {
    "another shape": lambda: JSONResponse({"error": "cursor expired"}),
    "no JSON": lambda: Response("<html>Sign in</html>", media_type="text/html"),
    "500": lambda: JSONResponse({"message": "boom"}, 500),
    "503": lambda: JSONResponse({"message": "busy"}, 503),
    "a web server's 404": lambda: Response("<h1>Not found</h1>", 404, media_type="text/html"),
    "400": lambda: JSONResponse({"message": "bad cursor"}, 400),
}


@pytest.mark.parametrize("answer", EXPIRED.values(), ids=EXPIRED)
def test_a_list_whose_next_page_has_expired_begins_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, answer: Callable[[], Response]
) -> None:
    monkeypatch.setattr(poll_run, "_FIRST_PAUSE", 0.01)
    faulty, first_pages = desk.faulty, 0
    faulty.add_many([{"name": f"N{n}"} for n in range(4)])

    def raw(_method: str, path: str, parameters: dict[str, str]) -> Response | None:
        nonlocal first_pages
        if path != "/contacts/by-cursor":
            return None
        found = list(faulty.contacts().values())
        if "cursor" not in parameters:
            first_pages += 1
            page = {"contacts": found[:2], "next": f"t{first_pages}", "has_more": True}
            return JSONResponse(page)
        if parameters["cursor"] == "t1":
            return answer()
        return JSONResponse({"contacts": found[2:], "next": None, "has_more": False})

    faulty.raw = raw
    desk.poll("by_cursor")
    tape = desk.tape("contact")
    with desk.producing():
        tape.wait_for(desk.there(), 20)


def test_an_application_that_is_away_for_a_while_keeps_the_list_where_it_is(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read from the beginning after each outage, a long list would never end."""
    monkeypatch.setattr(poll_run, "_FIRST_PAUSE", 0.01)
    faulty, asked = desk.faulty, list[str]()
    faulty.add_many([{"name": f"N{n}"} for n in range(4)])

    def raw(_method: str, path: str, parameters: dict[str, str]) -> Response | None:
        if path != "/contacts/by-cursor" or tape.live().keys() == {"1", "2", "3", "4"}:
            return None
        asked.append(parameters.get("cursor", ""))
        if 1 < len(asked) < 7:
            return Response("away", 503)
        found = list(faulty.contacts().values())
        if "cursor" not in parameters:
            return JSONResponse({"contacts": found[:2], "next": "t1", "has_more": True})
        return JSONResponse({"contacts": found[2:], "next": None, "has_more": False})

    faulty.raw = raw
    desk.poll("by_cursor")
    tape = desk.tape("contact")
    monkeypatch.setattr(poll_run, "LONGEST_PAUSE", 0.05)
    with desk.producing():
        tape.wait_for(desk.there(), 20)
    assert asked[: TRIES + 2] == ["", *["t1"] * TRIES, ""]
    assert "t1" in asked[6:8], "the page is asked for again, at most after one look at the first"


def test_each_list_that_ends_at_a_page_is_more_patient_than_the_one_before() -> None:
    """One page may fail for ever: the ones before it aren't read again and again all day."""

    def tries(lost: int) -> int:
        run = PollRun(iter(()), 0.0, "everything", AskPage(None, "p2"))  # type: ignore[arg-type]
        while not run.is_probing:
            run.failed(lost)
        assert run.asks == AskPage(None, None)
        return run.tries

    assert [tries(lost) for lost in (0, 1, 2, 6, 7)] == [TRIES, 2 * TRIES, 4 * TRIES, 64 * TRIES, 64 * TRIES]
