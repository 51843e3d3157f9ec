"""What a run did is in the database, counted once, whatever happens to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.errors import TransientError
from sorbus.history import recorder as recording
from sorbus.history.read import last_delivery, read_buckets, read_runs
from sorbus.history.recorder import HistoryRecorder
from sorbus.history.store import HistoryStore, HistoryWindow, RunName
from sorbus.history.volume import SMALL, unusual
from sorbus.state.database import State
from tests.consumers.line import FLOW, RESTRICTED, Line, eventually, named
from tests.consumers.plugin import line, make_line
from tests.ops.test_duplicates import state

__all__ = ["line", "make_line", "state"]

SERIES = ("delivery", "f", "t")


class Away(HistoryStore):
    """A store whose database is away while `is_away`."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.is_away = True
        self.tried = threading.Event()

    def put(self, run: RunName, windows: Sequence[HistoryWindow], now: float, *, is_over: bool) -> None:
        self.tried.set()
        if self.is_away:
            raise TransientError("away")
        super().put(run, windows, now, is_over=is_over)


def counted(state: State, activity: str = "delivery", subject: str = FLOW) -> dict[str, float]:
    sums: dict[str, float] = {}
    for bucket in read_buckets(state, activity, subject, 0, 60):
        for name, count in bucket.counts.items():
            sums[name] = sums.get(name, 0) + count
    return sums


DELIVERED = ("created", "updated", "written", "deleted", "skipped", "refused", "deferred")


def test_until_when_a_flow_has_delivered_is_known_without_kafka(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SORBUS_DATABASE", raising=False)
    assert last_delivery("", "f", "t") is None, "there is no state"
    monkeypatch.setenv("SORBUS_DATABASE", "postgresql://there")
    monkeypatch.setattr(State, "of", lambda _: state)
    assert last_delivery("", "f", "t") is None
    run = RunName("r", "delivery", "f", "here", 1000.0)
    HistoryStore(state).put(run, [HistoryWindow("t", 1000.0, 1060.0, {"skipped": 1})], 1060.0, is_over=True)
    assert last_delivery("", "f", "t") == (1000.0, 1060.0)
    assert last_delivery("", "f", "other") is None


def test_each_event_of_a_flow_is_in_one_count(line: Line, state: State) -> None:
    line.execute(RESTRICTED)
    with line.process() as process:
        line.publish([(f"g{n}", 1, named(f"Gadget {n}")) for n in range(50)])
        line.publish([("long", 1, named("Much longer than the target takes"))])
        line.until({f"g{n}": f"Gadget {n}" for n in range(50)})
        line.until_letters(1)
        line.publish([(f"g{n}", 2, named(f"Other {n}")) for n in range(20)])
        line.publish([(f"g{n}", 2, None) for n in range(20, 25)])
        line.publish([(f"g{n}", 1, named(f"Gadget {n}")) for n in range(25, 32)])
        names = {n: f"Other {n}" if n < 20 else f"Gadget {n}" for n in range(50)}
        line.publish([("last", 1, named("Last"))])
        line.until({f"g{n}": name for n, name in names.items() if not 20 <= n < 25} | {"last": "Last"})
        process.end()
    (run,) = read_runs(state, "delivery", FLOW, 0)
    assert run.state == "ended"
    sums = counted(state)
    assert {name: sums[name] for name in DELIVERED} == {
        "created": 51, "updated": 20, "written": 0, "deleted": 5, "skipped": 7 + 5, "refused": 1, "deferred": 0,
    }  # fmt: skip
    assert sums["bytes"] > 1000
    assert 0 < sums["seconds"] < 30


def test_windows_wait_in_memory_while_the_database_is_away(state: State) -> None:
    store = Away(state)
    with HistoryRecorder("capture", "crm", store, every=0.01) as recorder:
        for _ in range(20):
            store.tried.clear()
            recorder.add("gadget", captured=3, bytes=10)
            assert store.tried.wait(5), "the recorder did not try to write"
        assert counted(state, "capture", "crm") == {}
        store.is_away = False
        eventually(lambda: counted(state, "capture", "crm").get("captured") == 60, "all that was counted meanwhile")
    assert read_runs(state, "capture", "crm", 0)[0].state == "ended"


def test_a_run_without_an_end_shows_as_crashed(state: State) -> None:
    run = RunName("r", "delivery", "f", "here:1", time.time() - 1000)
    HistoryStore(state).put(run, [], time.time() - 900, is_over=False)
    assert read_runs(state, "delivery", "f", 0)[0].state == "crashed"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 9)), max_size=60))
def test_what_is_too_much_to_keep_is_joined_and_not_lost(added: list[tuple[str, int]]) -> None:
    kept: list[HistoryWindow] = []

    class Last(HistoryStore):
        def __init__(self) -> None:
            self.is_away = True

        def put(self, run: RunName, windows: Sequence[HistoryWindow], now: float, *, is_over: bool) -> None:
            if self.is_away:
                raise TransientError("away")
            kept.extend(windows)

        def delete_outdated(self, is_over: Callable[[], bool]) -> None: ...

    store = Last()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "MOST", 4)
        recorder = HistoryRecorder("capture", "crm", store)
        for data_type, count in added:
            recorder.add(data_type, captured=count)
            recorder._write(is_over=False)
        store.is_away = False
        recorder._write(is_over=True)
    assert len(kept) <= 4
    for data_type in "ab":
        told = sum(one.counts["captured"] for one in kept if one.data_type == data_type)
        assert told == sum(count for name, count in added if name == data_type)


def test_what_is_outdated_and_cannot_be_deleted_lets_windows_be_written(
    state: State, caplog: pytest.LogCaptureFixture
) -> None:
    class Slow(HistoryStore):
        def delete_outdated(self, is_over: Callable[[], bool]) -> None:
            raise TransientError("canceling statement due to statement timeout")

    recorder = HistoryRecorder("capture", "crm", Slow(state))
    for _ in range(5):
        recorder.add("order", captured=1)
        recorder._write(is_over=False)
        assert recorder._waiting == [], "what is written isn't written again with each later window"
    recorder._write(is_over=True)
    assert counted(state, "capture", "crm")["captured"] == 5
    assert "history is not written" not in caplog.text


WEEK = 168


def usual_hours(weeks: int, level: int) -> dict[int, int]:
    return {hour: level + hour % 7 for hour in range(weeks * WEEK)}


def test_far_more_or_less_than_usual_is_told_and_little_is_not() -> None:
    hours = usual_hours(9, 1000)
    now = 9 * WEEK
    assert unusual(SERIES, hours, now) is None
    for events in (0, 150, 9000):
        found = unusual(SERIES, {**hours, now - 1: events}, now)
        assert found is not None, events
        assert 1000 <= found.usual <= 1007
        assert f"{events:,} events of t in the last whole hour" in found.words
    assert unusual(SERIES, {**hours, now - 1: 600}, now) is None
    young = usual_hours(3, 1000)
    assert unusual(SERIES, {**young, 3 * WEEK - 1: 0}, 3 * WEEK) is None, "too young to judge"
    tiny = usual_hours(9, SMALL // 4)
    assert unusual(SERIES, {**tiny, now - 1: 0}, now) is None, "tiny"


def test_two_weeks_of_nothing_do_not_become_usual() -> None:
    hours = usual_hours(9, 1000)
    now = 9 * WEEK
    broken = {hour: 0 if hour >= now - 2 * WEEK else events for hour, events in hours.items()}
    found = unusual(SERIES, broken, now)
    assert found is not None
    assert found.usual >= 1000


def test_a_nightly_flow_is_judged_by_its_own_hour() -> None:
    hours = {hour: 5000 if hour % 24 == 2 else 0 for hour in range(9 * WEEK)}
    at_two, at_noon = 8 * WEEK + 3, 8 * WEEK + 13
    assert unusual(SERIES, hours, at_two) is None
    assert unusual(SERIES, hours, at_noon) is None
