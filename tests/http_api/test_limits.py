"""Rate limits by a clock of the test's own: what holds in every stretch, how much is used, and who gets it."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import count, pairwise
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sorbus.http_api.description import Limit
from sorbus.http_api.limits import Limiter
from sorbus.state import State

DAY = 86_400.0
NUMBERS = count()


def limit(requests: int, seconds: float, header: str = "") -> Limit:
    return Limit(requests=requests, per=timedelta(seconds=seconds), remaining_header=header)


class Clock:
    """The state's clock, in the test's hand."""

    def __init__(self, state: State) -> None:
        self._state = state
        state.run(b"create table hand (at double precision)")
        state.run(b"insert into hand values (0)")
        state.run(b"create or replace function clock() returns double precision language sql as 'select at from hand'")
        self.set(1_800_000_000.0)

    def set(self, at: float) -> None:
        self.at = at
        self._state.run(b"update hand set at = %s::float8", (at,))

    def go(self, seconds: float) -> None:
        self.set(self.at + seconds)


@pytest.fixture
def clock(state: State) -> Clock:
    return Clock(state)


@pytest.fixture
def limiter(state: State, clock: Clock) -> Callable[..., Limiter]:
    def make(*limits: Limit, flow: str = "contact-to-accounting", system: str = "") -> Limiter:
        return Limiter(state, system or f"system{next(NUMBERS)}", limits, flow=flow)

    return make


def most_within(times: Sequence[float], seconds: float) -> int:
    """The most of `times` in any stretch of that length."""
    first = most = 0
    for place, at in enumerate(times):
        while times[first] <= at - seconds:
            first += 1
        most = max(most, place - first + 1)
    return most


WINDOWS = st.lists(
    st.builds(limit, st.integers(1, 40), st.sampled_from([0.5, 1.0, 10.0, 60.0, 3600.0, DAY])),
    min_size=1,
    max_size=3,
    unique_by=lambda one: one.per,
)


@given(limits=WINDOWS, pauses=st.lists(st.floats(0, 30.0), min_size=1, max_size=60), patient=st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_stretch_of_any_window_holds_more_than_its_limit(
    limiter: Callable[..., Limiter], clock: Clock, limits: list[Limit], pauses: list[float], patient: bool
) -> None:
    asking, times = limiter(*limits), list[float]()
    for pause in pauses:
        clock.go(pause)
        wait = asking.take(patience=1e9)
        if wait and patient:
            clock.go(wait)
            for _ in range(3):
                if not (wait := asking.take(patience=1e9)):
                    break
                clock.go(wait)
            assert not wait, "who waits as told gets its request"
        if not wait:
            times.append(clock.at)
    for one in limits:
        seconds = one.per.total_seconds()
        assert most_within(times, seconds * 1.02 - 1e-3) <= one.requests


class Ran(NamedTuple):
    """What a simulation saw: times of the requests, requests of each flow, and how often the database was asked."""

    times: list[float]
    taken: Counter[str]
    asked: int


@pytest.fixture
def run(limiter: Callable[..., Limiter], clock: Clock) -> Callable[..., Ran]:
    def simulate(
        limits: Sequence[Limit], callers: dict[str, int], seconds: float, pauses: dict[str, float] | None = None
    ) -> Ran:
        """So many callers of each flow, who send again after 20 ms, or the flow's own pause."""
        system = f"system{next(NUMBERS)}"
        asking = {flow: limiter(*limits, flow=flow, system=system) for flow in callers}
        begin, order = clock.at, count()
        due = [(begin, next(order), flow) for flow, many in callers.items() for _ in range(many)]
        heapq.heapify(due)
        ran = Ran([], Counter(), 0)
        asked = 0
        while due and due[0][0] < begin + seconds:
            at, _, flow = heapq.heappop(due)
            clock.set(at)
            asked += 1
            wait = asking[flow].take(patience=1e9)
            if not wait:
                ran.times.append(at)
                ran.taken[flow] += 1
            heapq.heappush(due, (at + (wait or (pauses or {}).get(flow, 0.02)), next(order), flow))
        return ran._replace(asked=asked)

    return simulate


def test_the_allowed_rate_is_used_and_flows_with_work_share_it_alike(run: Callable[..., Ran]) -> None:
    ran = run([limit(50, 0.5), limit(200, 2), limit(50_000, DAY)], {"a": 8, "b": 4, "c": 1}, 5)
    assert len(ran.times) >= 0.95 * 500
    assert all(abs(taken - len(ran.times) / 3) <= 0.1 * len(ran.times) / 3 for taken in ran.taken.values()), ran.taken
    assert ran.asked <= 2.5 * len(ran.times), "callers ask no more often than they need"


def test_what_a_slow_flow_leaves_goes_to_the_other(run: Callable[..., Ran]) -> None:
    ran = run([limit(60, 1)], {"fast": 4, "slow": 1}, 5, {"slow": 0.25})
    assert ran.taken["slow"] >= 15, "who needs less than its share hardly waits"
    assert ran.taken.total() >= 0.95 * 300


def test_who_died_while_it_waited_is_not_waited_for(limiter: Callable[..., Limiter], clock: Clock) -> None:
    limits = (limit(60, 1),)
    alive, dead = (limiter(*limits, system="shared", flow=flow) for flow in ("alive", "dead"))
    begin, taken = clock.at, 0
    while not (wait := alive.take(patience=10)):
        taken += 1
    assert dead.take(patience=10) > 0
    while clock.at < begin + 5:
        clock.go(wait or 0.005)
        wait = alive.take(patience=10)
        taken += not wait
    assert taken >= 0.95 * 300


@pytest.mark.slow
def test_a_budget_of_a_minute_begins_at_once_and_then_is_a_steady_stream(run: Callable[..., Ran]) -> None:
    ran = run([limit(60, 60)], {"a": 2, "b": 2}, 300)
    assert len(ran.times) >= 0.95 * 300
    assert sum(at < ran.times[0] + 2 for at in ran.times) >= 30
    assert all(abs(taken - len(ran.times) / 2) <= 0.1 * len(ran.times) / 2 for taken in ran.taken.values()), ran.taken
    late = [at for at in ran.times if at > ran.times[0] + 120]
    assert max(after - before for before, after in pairwise(late)) < 10


def test_a_days_budget_spent_says_how_long_it_lasts_and_nobody_waits_for_who_does_not_wait(
    limiter: Callable[..., Limiter], clock: Clock
) -> None:
    asking = limiter(limit(20, DAY))
    assert [asking.take(patience=10) for _ in range(20)] == [0.0] * 20
    wait = asking.take(patience=10)
    assert DAY < wait < 1.04 * DAY
    clock.go(wait)
    assert asking.take(patience=10) == 0.0


@pytest.fixture
def two(limiter: Callable[..., Limiter]) -> tuple[Limiter, Limiter]:
    """Two processes' limiters of one system."""
    limits = (limit(60, 60), limit(5000, DAY, "X-DayLimit-Remaining"))
    return limiter(*limits, system="accounting", flow="a"), limiter(*limits, system="accounting", flow="b")


def test_retry_after_is_obeyed_by_all(two: tuple[Limiter, Limiter], clock: Clock) -> None:
    one, other = two
    assert one.take(patience=10) == 0.0
    one.heard(429, {}, 12.0)
    assert other.take(patience=0) == pytest.approx(12.0)
    clock.go(12.01)
    assert other.take(patience=0) == 0.0


def test_a_reset_header_is_obeyed_by_all_like_retry_after(two: tuple[Limiter, Limiter], clock: Clock) -> None:
    one, other = two
    one.heard(429, {"X-RateLimit-Reset": "3600"}, None)
    assert other.take(patience=0) == pytest.approx(3600)
    one.heard(200, {"X-RateLimit-Reset": "7200"}, None)
    assert other.take(patience=0) == pytest.approx(3600), "it is only a pause once it is used up"


def test_refusals_without_retry_after_pause_longer_each_time_but_once_for_those_on_their_way(
    two: tuple[Limiter, Limiter], clock: Clock
) -> None:
    one, other = two
    pauses = []
    for _ in range(4):
        one.heard(429, {}, None)
        other.heard(429, {}, None)
        pauses.append(other.take(patience=0))
        clock.go(pauses[-1] + 0.01)
    assert all(1.5 < after / before < 2.6 for before, after in pairwise(pauses)), pauses
    assert pauses[0] == pytest.approx(5.6, rel=0.15)
    clock.go(600)
    one.heard(429, {}, None)
    assert other.take(patience=0) == pytest.approx(5.6, rel=0.15), "an old refusal is forgotten"


def test_what_the_system_says_is_left_is_obeyed_by_all_and_looked_at_again_now_and_then(
    two: tuple[Limiter, Limiter], clock: Clock
) -> None:
    one, other = two
    assert one.take(patience=0) == 0.0
    one.heard(200, {"x-daylimit-remaining": "2"}, None)
    assert [other.take(patience=0), other.take(patience=0)] == [0.0, 0.0]
    assert other.take(patience=0) == pytest.approx(DAY / 24), "somebody else has spent the rest"
    clock.go(DAY / 24 + 1)
    assert other.take(patience=0) == 0.0
    assert other.take(patience=0) > 0.0, "one, to see"
    other.heard(200, {"X-DayLimit-Remaining": "4000"}, None)
    clock.go(1)
    assert one.take(patience=0) == 0.0


@pytest.mark.parametrize("others", [0, 20])
def test_a_limit_shared_with_others_is_used_up_and_not_over(
    limiter: Callable[..., Limiter], clock: Clock, others: int
) -> None:
    asking = limiter(limit(60, 1, "X-Left"))
    begin, times, refused = clock.at, list[float](), 0
    while clock.at < begin + 6:
        if wait := asking.take(patience=10):
            clock.go(wait)
            continue
        used = sum(at > clock.at - 1 for at in times[-60:]) + others  # the system's own count
        if used < 60:
            times.append(clock.at)
        else:
            refused += 1
        asking.heard(200, {"X-Left": str(max(0, 59 - used))}, None)
    assert len(times) >= 0.95 * 6 * (60 - others)
    assert refused <= (2 if others else 0)


def test_without_limits_everything_goes_but_retry_after_holds(limiter: Callable[..., Limiter]) -> None:
    asking = limiter()
    assert {asking.take(patience=0) for _ in range(50)} == {0.0}
    asking.heard(503, {}, 3.0)
    assert asking.take(patience=0) == 0.0, "one address that is away holds up no other"
    asking.heard(429, {}, 3.0)
    assert asking.take(patience=0) == pytest.approx(3.0)


def test_headers_that_are_no_numbers_are_not_listened_to(two: tuple[Limiter, Limiter]) -> None:
    one, other = two
    one.take(patience=0)
    one.heard(200, {"X-DayLimit-Remaining": "plenty"}, None)
    assert other.take(patience=0) == 0.0


def test_what_compares_gives_way_to_what_delivers(limiter: Callable[..., Limiter], state: State, clock: Clock) -> None:
    live = limiter(limit(20, 1), limit(5000, DAY), system="shared")
    limits = [limit(20, 1), limit(5000, DAY)]
    behind = Limiter(state, "shared", limits, flow="contact-to-accounting (dry run)", background=True)
    alone: Counter[str] = Counter()
    for _ in range(100):
        alone["behind"] += behind.take(patience=60) == 0
        clock.go(0.1)
    assert alone["behind"] >= 90, "nobody else wants anything"
    due = {"live": clock.at, "behind": clock.at}
    taken: Counter[str] = Counter()
    end = clock.at + 30
    while (who := min(due, key=lambda each: due[each])) and due[who] < end:
        clock.set(max(clock.at, due[who]))
        wait = (live if who == "live" else behind).take(patience=60)
        taken[who] += wait == 0
        due[who] = clock.at + (wait or 0.001)
    assert taken["live"] >= 3.5 * taken["behind"] > 0, taken
    assert taken.total() >= 0.8 * 20 * 30, taken


def test_what_compares_leaves_half_of_a_day_to_what_delivers(
    limiter: Callable[..., Limiter], state: State, clock: Clock
) -> None:
    live, behind = (
        limiter(limit(100, DAY), system="scarce"),
        Limiter(state, "scarce", [limit(100, DAY)], flow="dry run", background=True),
    )
    assert sum(behind.take(patience=0) == 0 for _ in range(80)) == 50
    assert sum(live.take(patience=0) == 0 for _ in range(80)) == 50
    assert behind.take(patience=1e9) > 0
    assert clock.at
