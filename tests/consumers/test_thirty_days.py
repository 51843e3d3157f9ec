"""Thirty days of a flow with working days, a month's end, quiet hours and holidays; its process is killed now and then.

The process is real, and its clock is the test's. When a change has to land is counted here minute by minute, with
nothing of the code under test.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.consumers import clocked
from tests.consumers.line import FLOW, Line, eventually, named
from tests.consumers.plugin import MakeLine, make_line

__all__ = ["make_line"]
LONDON = ZoneInfo("Europe/London")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BEGIN = datetime(2026, 10, 12, 9, tzinfo=UTC)  # the clocks change on 25 October
HOLIDAYS = {date(2026, 10, 16), date(2026, 10, 30), date(2026, 11, 2)}
CLOSING = date(2026, 10, 29)  # the last working day: Friday, the 30th, is a holiday
TIMES = """
    timing: working days at 18:00 Europe/London
    quiet: [22:00-06:00 Europe/London, last working day of the month 12:00-23:00 Europe/London]
"""


def is_quiet(moment: datetime) -> bool:
    local = moment.astimezone(LONDON)
    return not 6 <= local.hour < 22 or (local.date() == CLOSING and 12 <= local.hour < 23)


def is_run(moment: datetime) -> bool:
    local = moment.astimezone(LONDON)
    is_working = local.weekday() < 5 and local.date() not in HOLIDAYS
    return is_working and (local.hour, local.minute) == (18, 0)


def due(published: datetime) -> datetime:
    """When a change is to land if the process is there: minute by minute."""
    moment = published.replace(second=0, microsecond=0) + MINUTE
    while not is_run(moment):
        moment += MINUTE
    while is_quiet(moment):
        moment += MINUTE
    return moment


class Simulation:
    """A line with a clock; what has been published and has not landed, and what the target must hold."""

    def __init__(self, line: Line, seed: int) -> None:
        self.line, self.random = line, random.Random(seed)
        self.clock = line.folder / "clock"
        self.log = (line.folder / "clocked.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None
        self.waiting: list[tuple[str, datetime]] = []
        self.landed: dict[str, str] = {}
        self.runs: list[datetime] = []
        self.now = BEGIN
        self.set(BEGIN)

    def set(self, moment: datetime) -> None:
        self.now = moment
        new = self.clock.with_suffix(".set")
        new.write_text(f"{moment.timestamp():.3f}")
        new.replace(self.clock)

    def publish(self, count: int) -> None:
        for _ in range(count):
            id = f"g{len(self.landed) + len(self.waiting)}"
            self.waiting.append((id, self.now))
            self.line.publish([(id, 1, named(id.upper()))], at=self.now.timestamp())

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, clocked.__file__, FLOW, str(self.clock)],
            env=self.line.env,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def look(self, *, is_patient: bool) -> None:
        """Compares the target with what it must hold at this moment, `is_patient` also where nothing has to land."""
        if self.process is None:
            assert self.line.rows() == self.landed
            return
        if self.waiting and not is_quiet(self.now) and any(due(at) <= self.now for _, at in self.waiting):
            self.landed |= {id: id.upper() for id, _ in self.waiting}
            self.waiting.clear()
            self.runs.append(self.now)
            self.line.until(self.landed)
            self.end_run()
        elif is_patient:
            self.settle(2)
            if not is_quiet(self.now):
                self.end_run()
            assert self.line.rows() == self.landed, f"landed early, at {self.now}"

    def settle(self, rounds: int) -> None:
        """Waits for rounds of the loop at this time."""
        eventually(lambda: self.rounds() >= 0, f"a round at {self.now}:\n{self.told()}")
        end = self.rounds() + rounds
        eventually(lambda: self.rounds() >= end, f"more rounds at {self.now}:\n{self.told()}")

    def end_run(self) -> None:
        """Waits until the process has read all that there is, and waits for its next time."""
        eventually(lambda: self.seen()[2] > self.now.timestamp(), f"the end of the run of {self.now}:\n{self.told()}")

    def rounds(self) -> int:
        """How many rounds the process has made by this time or an earlier one; -1 if none by this time."""
        clock, count, _ = self.seen()
        return int(count) if clock == round(self.now.timestamp(), 3) else -1

    def seen(self) -> tuple[float, float, float]:
        """The time of the process's last round, the number of rounds, and when it delivers next."""
        file = self.clock.with_suffix(".seen")
        clock, count, due = map(float, file.read_text().split() if file.exists() else (0, 0, 0))
        return clock, count, due

    def told(self) -> str:
        return Path(self.log.name).read_text("utf-8", errors="replace")[-2000:]


@contextmanager
def simulated(line: Line, seed: int) -> Iterator[Simulation]:
    simulation = Simulation(line, seed)
    try:
        yield simulation
    finally:
        simulation.kill()
        simulation.log.close()


@pytest.mark.slow
def test_thirty_days_with_kills_land_every_change_at_the_time_the_calendar_says(make_line: MakeLine) -> None:
    line = make_line(timing="real-time")
    written = (line.folder / "map.yaml").read_text()
    holidays = "calendars: {uk: holidays.csv}\n"
    line.write_map(holidays + written.replace("    timing: real-time\n", TIMES.lstrip("\n")), "")
    (line.folder / "holidays.csv").write_text("date\n" + "".join(f"{day}\n" for day in sorted(HOLIDAYS)))
    kills = 0
    begun = time.monotonic()
    with simulated(line, 85) as one:
        one.start()
        for day in range(30):
            morning = (BEGIN + day * DAY).replace(hour=0)
            moments = sorted(morning + one.random.randrange(1440) * MINUTE for _ in range(2))
            ends = [moment for n in range(1440) if is_end(moment := morning + n * MINUTE)]
            for moment in sorted({*moments, *(end - timedelta(seconds=0.2) for end in ends), *ends}):
                one.set(moment)
                if moment in moments:
                    one.publish(one.random.randrange(4))
                    if one.process is None or one.random.random() < 0.25:
                        kills += one.process is not None
                        one.kill()
                        if one.random.random() < 0.6:  # else it is down for a while, over one due time or several
                            one.start()
                one.look(is_patient=moment not in moments)
        if one.process is None:
            one.start()
        one.set((BEGIN + 33 * DAY).replace(hour=12))
        one.look(is_patient=True)
        assert one.waiting == []
        assert line.rows() == one.landed
        assert len(one.landed) > 40
        assert kills > 5
    sys.stdout.write(
        f"{len(one.landed)} changes in {len(one.runs)} runs, {kills} kills, {time.monotonic() - begun:.0f} s\n"
    )


def is_end(moment: datetime) -> bool:
    """Whether a run is due at a moment, or quiet hours end."""
    return is_run(moment) or (is_quiet(moment - MINUTE) and not is_quiet(moment))
