"""The page that says which flows needn't be real-time."""

from __future__ import annotations

import time

from sorbus.history.store import HistoryStore, HistoryWindow, RunName
from sorbus.state import State
from tests.ops.console.visitor import Served

DAY = 86400.0


def test_the_page_says_what_was_measured_and_what_to_write(console: Served, state: State) -> None:
    begin = time.time() - 41 * DAY
    flow, owner = "customer-to-accounting", "crm"
    for activity, subject in (("capture", owner), ("delivery", flow)):
        windows = [HistoryWindow("customer", begin + 5 * DAY, begin + 5 * DAY + 60, {"captured": 7.0})]
        run = RunName(f"{activity}-41", activity, subject, "here:1", begin)
        HistoryStore(state).put(run, windows, time.time(), is_over=True)

    page = console.visitor().get("/advice").text

    assert "needn&#39;t be real-time" in page
    assert "7 changes in 1 hour (0.1% of all)" in page
    assert "timing: daily at 06:00" in page
