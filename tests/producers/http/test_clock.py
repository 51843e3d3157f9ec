"""Polls and comparisons go on when the machine's clock is set: pauses are measured by a clock that doesn't jump."""

from __future__ import annotations

import time

import pytest

from sorbus.producers.http.stream_poller import StreamPoller
from tests.producers.http.desk import Desk

YEARS = 10 * 365 * 86_400.0
CASES = {
    "set back by years while it runs": (YEARS, False),
    "set ahead by years while it runs": (-YEARS, False),
    "set back by years between two runs": (YEARS, True),
}


@pytest.mark.parametrize(("wrong", "restarts"), CASES.values(), ids=CASES)
def test_a_clock_that_is_set_right_holds_up_no_poll(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, wrong: float, restarts: bool
) -> None:
    off = [wrong]
    monkeypatch.setitem(StreamPoller.__init__.__kwdefaults__, "clock", lambda: time.time() + off[0])
    desk.faulty.add(name="first")
    gone = desk.faulty.add(name="gone")
    desk.poll("ascending", compare="every 1s")
    tape = desk.tape("contact")

    def changed() -> None:
        off[0] = 0.0
        desk.faulty.add(name="after")
        desk.faulty.remove(gone)  # found by a comparison alone

    with desk.producing():
        tape.wait_for(desk.there())
        if not restarts:
            changed()
            tape.wait_for(desk.there())
    if restarts:
        changed()
        with desk.producing():
            tape.wait_for(desk.there())
