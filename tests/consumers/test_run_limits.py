"""What belongs to a run: at its very moment, in a transaction that is open over it, and what people ask for between."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from sorbus.bus.controls import FlowControl
from sorbus.bus.kafka import transactional_producer
from sorbus.ops.flow_control.flow_controls import FlowControls
from tests.consumers.line import FLOW, Line, eventually, named
from tests.consumers.plugin import MakeLine, make_line
from tests.consumers.test_thirty_days import simulated

__all__ = ["make_line"]
SECOND = timedelta(seconds=1)
RUN = datetime(2026, 10, 12, 18, tzinfo=UTC)
OTHERS_CLOCK = "sorbus.ops.flow_control.flow_controls.time"


def test_a_process_that_starts_at_the_very_moment_of_a_run_runs(make_line: MakeLine) -> None:
    line = make_line(timing="daily at 18:00")
    with simulated(line, 1) as one:
        one.set(RUN - 600 * SECOND)
        one.publish(1)
        one.set(RUN)
        one.start()
        line.until({"g0": "G0"})
        one.end_run()


def test_what_was_written_before_a_run_and_shows_after_it_is_delivered_a_little_later(make_line: MakeLine) -> None:
    line = make_line(timing="daily at 18:00")
    writer = transactional_producer(line.settings, f"{line.topic}-writer")
    writer.init_transactions(30)
    with simulated(line, 1) as one:
        one.set(RUN - 600 * SECOND)
        one.start()
        one.settle(2)
        writer.begin_transaction()
        value, headers = line.writer.event("late", 1, named("Late"))
        writer.produce(line.topic, value, b"late", headers=list(headers), timestamp=int(RUN.timestamp() * 1000) - 100)
        assert writer.flush(30) == 0
        one.set(RUN)
        one.end_run()
        writer.commit_transaction(30)
        one.set(RUN + 60 * SECOND)
        one.publish(1)  # for the next day
        one.settle(2)
        assert line.rows() == {}
        one.set(RUN + 91 * SECOND)
        line.until({"late": "Late", "g0": "G0"})
        one.end_run()


QUIET = "    timing: real-time\n    quiet: 17:00-19:00\n"


def quiet_line(make_line: MakeLine) -> Line:
    line = make_line()
    written = (line.folder / "map.yaml").read_text()
    line.write_map(written.replace("    timing: real-time\n", QUIET), "")
    return line


def test_each_request_to_deliver_now_is_heard_whatever_the_clock_of_who_asks(
    make_line: MakeLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, clock = quiet_line(make_line), time.time
    wanted: dict[str, str] = {}
    with simulated(line, 1) as one:
        one.set(RUN)
        one.start()
        one.settle(2)
        for number, seconds in enumerate((7200, 0, -7200)):
            ahead = SimpleNamespace(time=lambda seconds=seconds: clock() + seconds)
            monkeypatch.setattr(OTHERS_CLOCK, ahead)
            one.publish(1)
            one.settle(2)
            assert line.rows() == wanted
            line.sorbus("sync", FLOW)
            wanted[f"g{number}"] = f"G{number}"
            one.landed, one.waiting = dict(wanted), []
            line.until(wanted)
            eventually(lambda: one.seen()[2] == 0, "the end of what was asked for")


def test_a_request_by_a_clock_that_was_ahead_is_not_met_again_at_each_start(
    make_line: MakeLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else quiet hours and timings count for nothing until that clock's time has come."""
    line, clock = quiet_line(make_line), time.time
    monkeypatch.setattr(OTHERS_CLOCK, SimpleNamespace(time=lambda: clock() + 365 * 86_400))
    line.sorbus("sync", FLOW)
    with simulated(line, 1) as one:
        one.set(RUN)
        one.publish(1)
        one.start()
        one.settle(4)
        assert line.rows() == {}
        one.set(RUN + 3600 * SECOND)
        line.until({"g0": "G0"})


def test_a_pause_ends_what_was_asked_for_before_it(make_line: MakeLine) -> None:
    line = quiet_line(make_line)
    line.sorbus("sync", FLOW)
    line.sorbus("pause", FLOW, "--reason", "it was wrong")
    with simulated(line, 1) as one:
        one.set(RUN)
        one.publish(1)
        one.start()
        one.settle(2)
        line.sorbus("resume", FLOW)
        one.settle(4)
        assert line.rows() == {}
        one.set(RUN + 3600 * SECOND)
        line.until({"g0": "G0"})


class Interrupted(FlowControls):
    """Another person tells the flow something between what this one reads and what it tells."""

    meanwhile: Callable[[], object] | None = None

    def of(self, flow: str) -> FlowControl:
        found = super().of(flow)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return found


def test_a_pause_and_a_request_to_deliver_at_the_same_moment_both_count(make_line: MakeLine) -> None:
    line = make_line(timing="daily at 18:00")
    company = line.loaded.map
    anna, carl = FlowControls(line.settings, company, None), Interrupted(line.settings, company, None)
    carl.meanwhile = lambda: anna.pause(FLOW, "Anna", "stocktaking")
    carl.sync(FLOW, "Carl")
    told = anna.of(FLOW)
    assert told.pause is not None
    assert told.pause.reason == "stocktaking"
    assert told.sync_at > 0
