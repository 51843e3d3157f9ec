"""The console's frame: pages come with what the browser must be told, and hear of changes."""

from __future__ import annotations

import pytest

from sorbus.map.loaded import LoadedMap
from tests.ops.console.visitor import Served, eventually


def test_the_first_page_shows_every_flow_that_runs(console: Served) -> None:
    visitor = console.visitor()
    assert "customer-to-accounting" in visitor.get("/").text
    eventually(lambda: "needs action" in visitor.get("/").text, "nobody was told that the flow has no topic")


def test_every_answer_forbids_the_browser_all_but_our_own_files(console: Served) -> None:
    visitor = console.visitor()
    for path, status in (("/", 200), ("/nowhere", 404), ("/static/console.css", 200), ("/static/..%2fframe.py", 404)):
        answer = visitor.get(path)
        assert answer.status_code == status, path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy, path
        assert "unsafe" not in policy, path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["x-frame-options"] == "DENY", path
    assert visitor.get("/").headers["cache-control"] == "no-store"


def test_another_host_name_is_refused(console: Served) -> None:
    answer = console.visitor().get("/", Host="evil.example")
    assert answer.status_code == 421
    assert "Larkspur" not in answer.text


def test_browsers_hear_that_something_has_changed(console: Served) -> None:
    with console.visitor().client.stream("GET", "/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(line for line in lines if line.startswith("event:")) == "event: changed"


def test_a_mended_map_is_taken_over_and_a_broken_one_is_told(console: Served, loaded: LoadedMap) -> None:
    visitor, written = console.visitor(), loaded.file.read_text()
    loaded.file.write_text(written.replace("company: Larkspur", "company: Larkspur & Daughters"))
    eventually(lambda: "Larkspur &amp; Daughters" in visitor.get("/").text, "the map was not read again")
    loaded.file.write_text(written.replace("to: accounting", "to: acounting"))
    eventually(lambda: "acounting" in visitor.get("/").text, "nobody was told that the map is broken")
    assert visitor.get("/flows/customer-to-accounting").status_code == 200


def test_a_map_that_changed_before_the_console_was_up_is_taken_over(
    loaded: LoadedMap, request: pytest.FixtureRequest
) -> None:
    loaded.file.write_text(loaded.file.read_text().replace("company: Larkspur", "company: Larkspur & Daughters"))
    visitor = request.getfixturevalue("console").visitor()
    eventually(lambda: "Larkspur &amp; Daughters" in visitor.get("/").text, "the map was not read again")


def test_a_page_that_listens_does_not_hold_up_the_end(console: Served) -> None:
    answer = console.visitor().client.send(console.visitor().client.build_request("GET", "/events"), stream=True)
    assert answer.status_code == 200  # the fixture's end asserts that the server stops, with this still open
