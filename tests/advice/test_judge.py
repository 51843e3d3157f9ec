"""What figures say about a flow's timing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.advice.evidence import FlowEvidence, covered
from sorbus.advice.judge import ENOUGH_DAYS, Verdict, judge

DAY = 86400.0
EVERY_HOUR = dict.fromkeys(range(2400), 3)


def flow(
    days: float = 100.0, timing: str = "real-time", captured: float | None = None, **figures: object
) -> FlowEvidence:
    """`captured`: days in which the producer ran, if not as long as the flow."""
    usual: dict[str, object] = {
        **{"changes": dict(EVERY_HOUR), "landed": 7200, "letters": 0, "conflicts": 0, "crashes": 0, "syncs": 0},
        **figures,
    }
    return FlowEvidence(
        "a-to-b", timing, timing == "real-time", 0.0, days if captured is None else captured, days, **usual
    )  # type: ignore[arg-type]


def nightly(hours: int) -> dict[int, int]:
    """Changes in so many hours of each day."""
    return {day * 24 + hour: 1000 for day in range(100) for hour in range(hours)}


@pytest.mark.parametrize(
    ("found", "verdict", "write", "delay"),
    [
        (flow(), Verdict.KEEP, "", None),
        (flow(days=3.2), Verdict.TOO_EARLY, "", None),
        (flow(changes=nightly(1)), Verdict.SLOWER, "timing: every 4h", 4 * 3600),
        (flow(changes=nightly(3)), Verdict.SLOWER, "timing: every 1h", 3600),
        (flow(changes=nightly(4)), Verdict.KEEP, "", None),
        (flow(changes={24 * day: 5 for day in range(0, 100, 9)}), Verdict.SLOWER, "timing: daily at 06:00", DAY),
        (flow(timing="every 4h", changes=nightly(1)), Verdict.KEEP, "", None),
        (flow(changes=nightly(1), syncs=20), Verdict.KEEP, "", None),
        (flow(timing="daily at 02:00", syncs=60), Verdict.FASTER, "timing: real-time", None),
        (flow(timing="daily at 02:00", syncs=40), Verdict.KEEP, "", None),
        (flow(timing="daily at 02:00", syncs=60, letters=9000), Verdict.KEEP, "", None),
        (flow(changes={7: 5, 900: 5}, letters=9, conflicts=2), Verdict.BY_HAND, "manual: ", 7 * DAY),
        (flow(changes={7: 5, 900: 5}, letters=2), Verdict.SLOWER, "timing: daily at 06:00", DAY),
        (flow(changes={}, landed=0), Verdict.UNNEEDED, "none: nothing changed in 100 days", None),
        (flow(days=20, changes={}, landed=0, letters=1), Verdict.BY_HAND, "manual: ", 7 * DAY),
        (flow(unread_days=40.0), Verdict.UNNEEDED, "none: not read in 40 days", None),
        (flow(unread_days=20.0), Verdict.KEEP, "", None),
        (flow(changes={}, landed=0, syncs=20), Verdict.KEEP, "", None),
        # The flow was down for most of the time; changes came in all of it, to be delivered later.
        (flow(days=20, captured=100, changes=nightly(1)), Verdict.SLOWER, "timing: every 4h", 4 * 3600),
        # Nothing was captured since its producer didn't run.
        (flow(captured=3, changes={}, landed=0), Verdict.TOO_EARLY, "", None),
    ],
)
def test_figures_give_a_verdict_with_the_line_to_write_and_its_worst_delay(
    found: FlowEvidence, verdict: Verdict, write: str, delay: float | None
) -> None:
    advice = judge(found)
    assert (advice.verdict, advice.worst_delay) == (verdict, delay)
    assert advice.write.startswith(write)
    assert bool(advice.write) == bool(write)
    if verdict is not Verdict.TOO_EARLY:
        assert f"in {found.captured_days:.0f} days" in advice.why
        assert f"{found.total:,} change" in advice.why


COUNTS = st.integers(0, 300)
FOUND = st.builds(
    flow,
    days=st.floats(0, 100),
    timing=st.sampled_from(["real-time", "every 4h", "daily at 02:00"]),
    changes=st.dictionaries(st.integers(0, 2399), st.integers(1, 1000), max_size=40),
    landed=COUNTS,
    letters=COUNTS,
    conflicts=COUNTS,
    syncs=COUNTS,
    unread_days=st.none() | st.floats(0, 100),
)
ORDER = list(Verdict)


@given(FOUND, COUNTS)
def test_more_failures_never_speak_for_real_time(found: FlowEvidence, more: int) -> None:
    before, after = judge(found).verdict, judge(replace(found, letters=found.letters + more)).verdict
    assert ORDER.index(after) >= ORDER.index(before)


@given(FOUND, COUNTS)
def test_more_use_never_speaks_for_less(found: FlowEvidence, more: int) -> None:
    before, after = judge(found).verdict, judge(replace(found, syncs=found.syncs + more)).verdict
    assert ORDER.index(after) <= ORDER.index(before) or before is Verdict.TOO_EARLY


@given(FOUND, st.integers(0, 2399))
def test_another_busy_hour_never_speaks_for_a_longer_delay(found: FlowEvidence, hour: int) -> None:
    before, after = judge(found), judge(replace(found, changes={hour: 1} | found.changes))
    if before.verdict is after.verdict:
        assert (after.worst_delay or 0.0) <= (before.worst_delay or 0.0)
    elif not found.landed and found.total:
        assert ORDER.index(after.verdict) <= ORDER.index(before.verdict)


@given(FOUND)
def test_with_too_little_measured_nothing_is_said(found: FlowEvidence) -> None:
    assert (judge(found).verdict is Verdict.TOO_EARLY) == (found.days < ENOUGH_DAYS)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)).map(lambda two: (min(two), max(two)))))
def test_days_in_which_several_processes_ran_count_once(spans: list[tuple[int, int]]) -> None:
    seconds = {second for begin, end in spans for second in range(max(begin, 100), end)}
    assert round(covered([(float(a), float(b)) for a, b in spans], 100.0) * DAY) == len(seconds)
