"""A desk for each test: the faulty application, and a map that polls it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from sorbus.drift import watch
from sorbus.ops.embedded import Addresses
from sorbus.producers.http.poll_schedule import PollSchedule
from sorbus.settings import Settings
from tests.http_api.faulty import Faulty
from tests.producers.http.desk import Desk

_SHORT = timedelta(seconds=2)
_FASTER = 10


@pytest.fixture(autouse=True)
def schedules_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedules of a second or two, and looks at what people decide, come round ten times as often."""
    polls, compares = PollSchedule.next_poll, PollSchedule.next_compare

    def sooner(schedule: PollSchedule, due: float, every: timedelta | None) -> float:
        now = schedule.now()
        return due if every is None or every > _SHORT else now + (due - now) / _FASTER

    def next_poll(schedule: PollSchedule) -> float:
        return sooner(schedule, polls(schedule), schedule._options.polls.every)

    def next_compare(schedule: PollSchedule, compared_at: float) -> float:
        timing = schedule._options.compares
        return sooner(schedule, compares(schedule, compared_at), None if timing is None else timing.every)

    monkeypatch.setattr(watch, "_WRITE_EVERY", 0.1)
    monkeypatch.setattr(PollSchedule, "next_poll", next_poll)
    monkeypatch.setattr(PollSchedule, "next_compare", next_compare)


@pytest.fixture
def desk(
    stack: Addresses, database: str, unique: str, tmp_path: Path, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    """A map without a registry, whose state is in a database of the test's own."""
    monkeypatch.setenv("SORBUS_DATABASE", database)
    monkeypatch.setenv("DESK_API_KEY", faulty.api_key)
    monkeypatch.setenv("DESK_WEBHOOK_SECRET", "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0")
    settings = Settings(kafka=stack.kafka, registry="", database=database)
    made = Desk(tmp_path, database, f"{unique}.", settings, faulty)
    yield made
    made.close()
