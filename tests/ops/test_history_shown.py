"""What people see of the history: `sorbus history`, the timeline of a flow, the volumes that are far from usual."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest

from sorbus.history.read import Series, read_hours
from sorbus.history.store import HistoryStore, HistoryWindow, RunName
from sorbus.mapfile.model import Map
from sorbus.ops.history.timeline import BARS, WIDTH, read_timeline
from sorbus.ops.monitoring.volumes import volumes
from sorbus.state.database import State, close_states
from tests.consumers.line import FLOW, Line
from tests.consumers.plugin import line, make_line
from tests.ops.test_duplicates import Typed, state, typed

__all__ = ["line", "make_line", "state", "typed"]

HOUR = 3600.0


def record(state: State, began: float, ended: float, *, run: str = "r", **counts: float) -> None:
    name = RunName(run, "delivery", FLOW, "here:1", began)
    HistoryStore(state).put(name, [HistoryWindow("gadget", began, ended, counts)], ended, is_over=True)


def test_the_command_sums_windows_by_the_width_that_was_asked_for(state: State, typed: Typed) -> None:
    now = time.time()
    hour = now // HOUR * HOUR - HOUR
    record(state, hour + 60, hour + 120, created=3, updated=2, bytes=100, seconds=0.5)
    record(state, hour + 120, hour + 180, created=1, refused=4)
    record(state, hour - 50 * HOUR, hour - 50 * HOUR + 60, run="old", created=99)
    lines = [json.loads(line) for line in typed("history", FLOW, "--json").splitlines()]
    (only,) = lines
    assert (only["data_type"], only["began"]) == ("gadget", hour)
    assert (only["created"], only["updated"], only["refused"], only["bytes"], only["seconds"]) == (4, 2, 4, 100, 0.5)
    assert len(typed("history", FLOW, "--json", "--since", "3d").splitlines()) == 2
    shown = typed("history", FLOW)
    assert "created" in shown
    assert "linked" not in shown, "a column of noughts is shown"
    runs = [json.loads(line) for line in typed("history", FLOW, "--runs", "--json").splitlines()]
    assert [(one["run"], one["state"]) for one in runs] == [("r", "ended")]


def test_the_command_names_the_flow_that_was_meant(state: State, typed: Typed) -> None:
    assert FLOW in typed("history", FLOW[:-1], status=2)
    assert "write 15m" in typed("history", FLOW, "--since", "yesterday", status=2)
    assert "Nothing is recorded" in typed("history", FLOW)


def test_the_timeline_has_each_quarter_of_an_hour_of_a_day(state: State) -> None:
    now = time.time()
    first = (int(now // WIDTH) + 1 - BARS) * WIDTH
    record(state, first, first + 60, written=10, refused=10)
    record(state, first + 5 * WIDTH + 1, first + 5 * WIDTH + 61, written=40)
    record(state, first - 60, first - 1, written=1000)
    told = read_timeline(state, FLOW, now)
    assert (len(told.bars), told.changed, told.failed, told.highest) == (BARS, 50, 10, 40)
    assert (told.bars[0].changed_height, told.bars[0].failed_height) == (25, 25)
    assert (told.bars[5].changed_height, told.bars[5].failed_height) == (100, 0)
    assert sum(bar.changed for bar in told.bars[6:]) == 0
    assert read_timeline(state, "another", now).bars == ()


def test_the_timeline_says_why_there_is_none(line: Line) -> None:
    away = State(line.env["SORBUS_DATABASE"].replace("dbname=", "dbname=no_such_"), "")
    assert read_timeline(away, FLOW).problem


def test_a_flow_far_from_its_usual_is_measured_from_what_was_recorded(
    line: Line, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = time.time() // HOUR * HOUR
    for week in range(1, 9):
        for beside in (-2, -1, 0):
            at = hour - (week * 168 - beside) * HOUR
            record(state, at, at + 60, run=f"{week}.{beside}", written=1000)
    monkeypatch.setenv("SORBUS_DATABASE", line.env["SORBUS_DATABASE"])
    (found,) = volumes(line.loaded.map, has_state=True)()
    assert (found.subject, found.events, found.usual) == (FLOW, 0, 1000)
    record(state, hour - HOUR, hour - HOUR + 60, run="now", written=900)
    assert volumes(line.loaded.map, has_state=True)() == ()
    assert volumes(line.loaded.map, has_state=False)() == ()
    close_states()


def test_what_is_usual_is_asked_again_although_the_clock_was_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that was a year ahead for a moment must not end it for a year."""
    asked, turn = list[float](), 0
    clocks = SimpleNamespace(time=lambda: 2e9 - 365 * 86_400 * turn, monotonic=lambda: 301.0 * turn)
    monkeypatch.setattr("sorbus.ops.monitoring.volumes.time", clocks)

    def read_hours(_: State, since: float) -> dict[tuple[str, str, str], dict[int, float]]:
        asked.append(since)
        return {}

    monkeypatch.setattr("sorbus.ops.monitoring.volumes.read_hours", read_hours)
    ask = volumes(Map.model_validate({"systems": {}, "data_types": {}, "flows": []}), has_state=True)
    for turn in range(3):  # noqa: B007 - the clocks show it
        assert ask() == ()
    assert len(asked) == 3


def test_the_weeks_before_are_read_once(line: Line, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may be millions of windows. What comes late, as after an outage of the database, is read all the same."""
    now, turn, ahead = time.time(), 0, 0.0
    clocks = SimpleNamespace(time=lambda: now + ahead, monotonic=lambda: time.monotonic() + 301.0 * turn)
    monkeypatch.setattr("sorbus.ops.monitoring.volumes.time", clocks)
    asked = list[float]()

    def reading(state: State, since: float) -> dict[Series, dict[int, int]]:
        asked.append((now - since) / HOUR)
        return read_hours(state, since)

    monkeypatch.setattr("sorbus.ops.monitoring.volumes.read_hours", reading)
    monkeypatch.setenv("SORBUS_DATABASE", line.env["SORBUS_DATABASE"])
    hour = now // HOUR * HOUR
    for week in range(1, 9):
        for beside in (-2, -1, 0):
            at = hour - (week * 168 - beside) * HOUR
            record(state, at, at + 60, run=f"{week}.{beside}", written=1000)
    ask = volumes(line.loaded.map, has_state=True)
    (found,) = ask()
    assert (found.events, found.usual) == (0, 1000)
    record(state, hour - HOUR, hour - HOUR + 60, run="late", written=400)
    turn = 1
    assert [one.events for one in ask()] == [], "400 is less than usual, not far from it"
    record(state, hour - HOUR + 60, hour - HOUR + 120, run="late", written=9_000)
    turn = 2
    assert [one.events for one in ask()] == [9_400]
    turn, ahead = 3, 365 * 24 * HOUR
    assert ask() == ()
    turn, ahead = 4, 0.0
    assert [one.events for one in ask()] == [9_400]
    assert asked[1] < 48
    assert asked[2] < 48
    assert asked[0] > 1_500
    assert asked[4] > 1_500
    close_states()
