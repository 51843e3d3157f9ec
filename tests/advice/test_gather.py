"""The figures of flows as Sorbus's database and a real target have them."""

from __future__ import annotations

import json
import time
from contextlib import chdir
from pathlib import Path

from sorbus.advice.gather import gather
from sorbus.advice.judge import Verdict, judge
from sorbus.audit import AuditTrail
from sorbus.history.store import HistoryStore, HistoryWindow, RunName
from sorbus.state.database import State
from tests.consumers.line import FLOW, Line, eventually, named
from tests.consumers.plugin import line, make_line
from tests.ops.test_duplicates import state
from tests.two_way.test_two_way_map import written as two_way_map

__all__ = ["line", "make_line", "state"]
DAY = 86400.0


def ran(state: State, days: float, changes: dict[float, int], *, until: float | None = None) -> None:
    """A producer and a consumer that ran for so many days; `changes` by days after their start."""
    end = until or time.time()
    begin = end - days * DAY
    store = HistoryStore(state)
    for activity, subject, name in (("capture", "crm", "captured"), ("delivery", FLOW, "created")):
        windows = [
            HistoryWindow("gadget", begin + at * DAY, begin + at * DAY + 60, {name: float(count)})
            for at, count in changes.items()
        ]
        store.put(RunName(f"{activity}-{days}", activity, subject, "here:1", begin), windows, end, is_over=True)


def test_a_flow_that_ran_for_a_few_days_is_not_judged(line: Line, state: State) -> None:
    ran(state, 5, {0.0: 100_000, 2.0: 3})
    (found,) = gather(line.loaded, state)
    assert found.total == 3, "the first day has the initial snapshot"
    assert 3.9 < found.days < 4.1
    assert judge(found).verdict is Verdict.TOO_EARLY


def test_a_flow_that_was_down_has_the_changes_of_the_time_in_which_its_producer_ran(line: Line, state: State) -> None:
    ran(state, 60, {float(day): 40 for day in range(2, 60)})
    everything = gather(line.loaded, state)[0]
    state.run(b"update history_run set seen_at = began_at + interval '30 days' where activity = 'delivery'")
    (down,) = gather(line.loaded, state)
    assert (round(down.captured_days), round(down.delivered_days)) == (59, 29)
    assert judge(down) == judge(everything), "so that two flows of a data type are judged alike"


def test_what_nobody_can_write_into_the_map_is_not_advised(state: State, tmp_path: Path) -> None:
    began, now = time.time() - 40 * DAY, time.time()
    changes = [HistoryWindow("customer", began + 2 * DAY, began + 2 * DAY + 60, {"captured": 7.0})]
    for activity, subject, windows in (("capture", "customer-merge", changes), ("delivery", "customer-to-books", [])):
        HistoryStore(state).put(RunName(subject, activity, subject, "here:1", began), windows, now, is_over=True)
    found = gather(two_way_map(tmp_path), state, asks_targets=False)
    assert [(one.flow, one.total) for one in found] == [("customer-to-books", 7)], "the way back is Sorbus's own"


def test_the_command_tells_what_was_measured_and_what_to_write(line: Line, state: State) -> None:
    ran(state, 41, {0.1: 100_000, **{float(day): 40 for day in range(2, 41, 4)}})
    for _ in range(3):
        AuditTrail(state).note("Anna", "sync", "flow", FLOW)
    with chdir(line.folder):
        told = line.sorbus("map", "advise")
        data = json.loads(line.sorbus("map", "advise", FLOW, "--json"))
        refused = line.sorbus("map", "advise", "gadget-to-book", status=2)
    assert f"{FLOW}: needn't be real-time: changes come rarely or in bursts: 400 changes in 10 hours" in told
    assert "3 requests to deliver at once, in 40 days" in told
    assert "    timing: every 4h  (a change waits at most 4 hours)" in told
    assert (data["verdict"], data["changes"], data["syncs"], data["busy_hours"]) == ("slower", 400, 3, 10)
    assert FLOW in refused


def test_rows_that_nobody_has_read_since_they_were_written_are_found(line: Line, state: State) -> None:
    with line.consuming():
        line.publish([("g1", 1, named("One"))])
        line.until({"g1": "One"})
    now = time.time()
    line.execute("select pg_stat_reset_single_table_counters('gadgets'::regclass)")
    line.execute("select pg_stat_reset_single_table_counters('gadget_lines'::regclass)")
    ran(state, 90, {2.0: 40, 3.0: 50}, until=now)

    # The statistics began a moment ago: what was read before nobody knows.
    (found,) = gather(line.loaded, state)
    assert found.unread_days is None
    # Seen from 60 days later, with a last delivery after they began.
    ran(state, 80, {79.99: 40}, until=now + 3600)
    (found,) = gather(line.loaded, state, clock=lambda: now + 60 * DAY)
    assert found.unread_days is not None
    assert found.unread_days > 28
    assert judge(found).verdict is Verdict.UNNEEDED


def test_a_read_after_the_last_delivery_speaks_for_the_flow(line: Line, state: State) -> None:
    now = time.time()
    ran(state, 90, {2.0: 40, 3.0: 50}, until=now)

    def is_read() -> bool:
        line.rows()
        line.execute("select pg_stat_force_next_flush()")
        (found,) = gather(line.loaded, state)
        return found.unread_days == 0.0

    eventually(is_read, "the statistics of a read")
