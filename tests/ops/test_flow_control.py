"""Flows that people pause, resume and ask to deliver now."""

from __future__ import annotations

import json
import time
from contextlib import chdir
from datetime import UTC, datetime, timedelta

import pytest

from sorbus.audit import AuditTrail
from sorbus.bus.status import running_reports
from sorbus.map.load import load_map
from sorbus.ops.monitoring.flow_state import FlowState
from sorbus.ops.monitoring.measure import Watch
from sorbus.ops.monitoring.status import as_json
from sorbus.state.database import State
from tests.consumers.line import FLOW, Line, eventually, named
from tests.consumers.plugin import MakeLine, line, make_line
from tests.ops.test_duplicates import Typed, state, typed
from tests.ops.test_filtered_flow import FILTERED

__all__ = ["line", "make_line", "state", "typed"]


def flow_state(line: Line) -> FlowState:
    watch = Watch(line.loaded.map, line.settings)
    try:
        measured = watch.measure()
    finally:
        watch.close()
    json.dumps(as_json(measured), allow_nan=False)
    (found,) = measured.flows
    return found


def test_a_paused_flow_delivers_nothing_until_it_is_resumed(line: Line, state: State, typed: Typed) -> None:
    with line.process() as process:
        line.publish([("g1", 1, named("One"))])
        line.until({"g1": "One"})
        typed("pause", FLOW, "--reason", "stocktaking", "--by", "Anna")
        eventually(lambda: "paused by Anna" in process.told, "the consumer's word that it is paused")
        line.publish([("g2", 1, named("Two"))])
        process.end()
    with line.process() as process:
        eventually(lambda: "paused by Anna" in process.told[process.told.rindex("flow") :], "the same after a restart")
        found = flow_state(line)
        assert found.lag_records == 1
        assert found.complaint is None, "a paused flow is no alarm"
        assert found.pause is not None
        assert (found.pause.who, found.pause.reason) == ("Anna", "stocktaking")
        assert line.rows() == {"g1": "One"}
        typed("resume", FLOW, "--by", "office")
        line.until({"g1": "One", "g2": "Two"})
        assert "isn't paused" in typed("resume", FLOW)
        process.end()
    assert [(one["action"], one["who"]) for one in audited(state)] == [("pause", "Anna"), ("resume", "office")]


def audited(state: State) -> list[dict[str, object]]:
    return [{"action": one.action, "who": one.who} for one in reversed(AuditTrail(state).page())]


def test_what_was_retried_when_it_was_paused_waits_too(line: Line, typed: Typed) -> None:
    with line.process() as process:
        line.publish([("g1", 1, named("One"))])
        line.until({"g1": "One"})
        line.execute("alter table gadgets rename to away")
        line.publish([("g2", 1, named("Two"))])
        eventually(lambda: "trying again" in process.told, "a delivery that fails")
        typed("pause", FLOW, "--reason", "the table is being moved")
        eventually(lambda: "flow gadget-to-books: paused" in process.told, "the consumer's word that it is paused")
        line.execute("alter table away rename to gadgets")
        eventually(lambda: flow_state(line).problem is None, "a paused flow without a problem")
        assert line.rows() == {"g1": "One"}
        typed("resume", FLOW)
        line.until({"g1": "One", "g2": "Two"})
        process.end()


def test_a_flow_with_a_timing_delivers_now_when_it_is_asked_to(make_line: MakeLine) -> None:
    line = make_line(timing="cron 0 0 1 1 *")
    assert f"`sorbus consume {FLOW}` isn't running" in line.sorbus("sync", FLOW)
    with line.process() as process, chdir(line.folder):
        eventually(lambda: "is delivered" in process.told, "that the request is met")
        line.publish([("g1", 1, named("One"))])
        eventually(lambda: running_reports(line.settings, line.names, f"consume {FLOW}"), "the consumer's report")
        assert line.rows() == {}
        told = line.sorbus("sync", FLOW)
        assert "delivers now" in told
        line.until({"g1": "One"})
        line.sorbus("pause", FLOW, "--reason", "holiday")
        assert "holiday" in line.sorbus("sync", FLOW, status=2)
        process.end()


def test_a_difference_of_a_paused_flow_says_so(line: Line, state: State, typed: Typed) -> None:
    line.write_map(FILTERED.format(prefix=line.loaded.map.topic_prefix[:-1], timing="real-time"), "")
    with line.process() as process:
        line.publish([("g1", 1, named("One")), ("g2", 1, named("Two"))])
        line.until({"g1": "One", "g2": "Two"})
        typed("pause", FLOW, "--reason", "stocktaking", "--by", "Anna")
        eventually(lambda: "paused by Anna" in process.told, "the consumer's word that it is paused")
        line.publish([("g2", 2, named("Changed"))])
        found = json.loads(typed.json("reconcile", FLOW, status=1))
        process.end()
    (difference,) = found["differences"]
    assert (difference["id"], difference["cause"]) == ("g2", "flow_paused")
    assert "paused by Anna" in difference["why"]


def test_a_difference_of_a_flow_that_waits_for_its_run_says_when_it_comes(
    line: Line, state: State, typed: Typed
) -> None:
    prefix = line.loaded.map.topic_prefix[:-1]
    line.write_map(FILTERED.format(prefix=prefix, timing="cron 0 0 1 1 *"), "")
    with line.process() as process:
        line.publish([("g1", 1, named("One"))])
        typed("sync", FLOW)
        line.until({"g1": "One"})
        eventually(lambda: "all that was published is delivered" in process.told, "the end of what was asked for")
        line.publish([("g1", 2, named("Changed"))])
        found = json.loads(typed.json("reconcile", FLOW, "--wait", "1", status=1))
        process.end()
    (difference,) = found["differences"]
    assert difference["cause"] == "flow_behind"
    assert "runs next at " in difference["why"]
    assert f"`sorbus sync {FLOW}`" in difference["why"]


@pytest.mark.parametrize("timing", ["daily at {due}", "monthly", "every 2d"])
@pytest.mark.parametrize(("seconds", "words"), [(1, None), (-600, "changes are waiting and no consumer runs")])
def test_a_flow_whose_run_has_not_come_is_a_complaint_and_one_that_waits_for_its_run_is_none(
    make_line: MakeLine, timing: str, seconds: int, words: str | None
) -> None:
    """Its schedule has time for a day, or for a month: what was due an hour ago is late all the same."""
    now = datetime.now(UTC)
    line = make_line(timing=timing.format(due=f"{now - timedelta(hours=1):%H:%M}"))
    times = line.loaded.flow(FLOW).times
    last = times.missed(now - timedelta(minutes=2)) if times else None  # one a moment ago may still be on its way
    assert last is not None
    line.publish([("g1", 1, named("One"))], at=last.timestamp() + seconds)
    found = flow_state(line)
    assert (found.lag_records, found.complaint) == (1, words)


@pytest.mark.slow
def test_a_missed_run_is_caught_up_once_and_what_comes_after_it_waits(make_line: MakeLine) -> None:
    line = make_line(timing="cron 0 0 1 1 *")
    two_years_ago = time.time() - 2 * 366 * 86400
    line.publish([("g1", 1, named("One")), ("g2", 1, named("Two"))], at=two_years_ago)
    with line.process() as process:
        line.until({"g1": "One", "g2": "Two"})
        eventually(lambda: "it runs next at" in process.told, "the end of the run")
        line.publish([("g1", 2, named("Later"))])
        process.end()
    with line.process() as process:
        eventually(lambda: process.told.count("delivering gadget") == 2, "a restart")
        found = eventually(lambda: state if (state := flow_state(line)).members else None, "a member of the group")
        assert (found.lag_records, found.complaint) == (1, None)
        assert found.times.startswith("runs next at 20")
        assert line.rows() == {"g1": "One", "g2": "Two"}
        line.sorbus("sync", FLOW)
        line.until({"g1": "Later", "g2": "Two"})
        assert process.told.count("is caught up") == 1
        process.end()


def test_quiet_hours_are_kept_except_for_a_person_who_asks(make_line: MakeLine) -> None:
    line = make_line()
    written = (line.folder / "map.yaml").read_text()
    soon = datetime.now(UTC) + timedelta(hours=3)
    quiet = f"    quiet: {soon - timedelta(hours=6):%H:%M}-{soon:%H:%M}\n"
    line.write_map(written.replace("    timing: real-time\n", f"    timing: real-time\n{quiet}"), "")
    line.loaded = load_map(line.folder / "map.yaml")
    with line.process() as process:
        line.publish([("g1", 1, named("One"))], at=time.time() - 7200)
        eventually(lambda: f"quiet until {soon:%H:%M} UTC" in process.told, "the consumer's word that it is quiet")
        found = eventually(lambda: state if (state := flow_state(line)).members else None, "a member of the group")
        assert (found.lag_records, found.complaint, found.times) == (1, None, f"quiet until {soon:%H:%M} UTC")
        assert line.rows() == {}
        line.sorbus("sync", FLOW)
        line.until({"g1": "One"})
        process.end()
