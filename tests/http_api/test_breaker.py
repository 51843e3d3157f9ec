"""The circuit breaker against a model of it, with several processes and a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sorbus.http_api.limits.breaker import FAULTS, LEASE, LONGEST, SHORTEST, WITHIN, Breaker
from sorbus.state import State
from tests.http_api.test_limits import Clock

NUMBERS = count()


@pytest.fixture
def clock(state: State) -> Clock:
    return Clock(state)


@pytest.fixture
def pair(state: State, clock: Clock) -> Callable[[], tuple[Breaker, Breaker]]:
    """Makes two processes' breakers of one system."""

    def make() -> tuple[Breaker, Breaker]:
        system = f"system{next(NUMBERS)}"
        return Breaker(state, system), Breaker(state, system)

    return make


Action = tuple[str, int, float]
ACTIONS = st.tuples(st.sampled_from(["send", "fail", "succeed", "wait"]), st.integers(0, 1), st.floats(0.1, 400))


@given(actions=st.lists(ACTIONS, min_size=10, max_size=60))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_is_closed_open_or_probing_as_the_model_says(
    pair: Callable[[], tuple[Breaker, Breaker]], clock: Clock, actions: list[Action]
) -> None:
    breakers = pair()
    faults, last, trips, opened, probed = 0, -1e9, 0, None, None  # the model: opened and probed are moments
    for action, who, seconds in actions:
        breaker = breakers[who]
        match action:
            case "wait":
                clock.go(seconds)
            case "succeed":
                breakers[who].allow()  # an answer comes after a request was let through, some time ago
                breaker.succeeded()
                faults, trips, opened, probed = 0, 0, None, None
            case "fail":
                breaker.failed()
                if opened is not None and probed is None:
                    continue
                faults = faults + 1 if clock.at - last <= WITHIN else 1
                last = clock.at
                if probed is not None or faults >= FAULTS:
                    opened, probed, trips = clock.at, None, trips + 1
            case "send":
                wait = breaker.allow()
                if opened is None:
                    assert wait == 0.0
                    continue
                since = probed if probed is not None else opened
                shortest = LEASE if probed is not None else min(LONGEST, SHORTEST * 2 ** (trips - 1))
                longest = LEASE if probed is not None else min(LONGEST, shortest * 1.25)
                if wait == 0.0:
                    assert clock.at - since >= shortest - 1e-3, "not before its time"
                    probed = clock.at
                else:
                    assert clock.at - since <= longest + 1e-3, "one goes through when it is time"
                    assert 0 < wait <= longest


def test_one_probe_goes_and_the_others_wait_for_it(pair: Callable[[], tuple[Breaker, Breaker]], clock: Clock) -> None:
    one, other = pair()
    for breaker in (one, other, one, other, one):
        assert breaker.allow() == 0.0
        breaker.failed()
    wait = other.allow()
    assert SHORTEST <= wait <= 1.25 * SHORTEST
    clock.go(wait)
    assert one.allow() == 0.0
    assert 0 < other.allow() <= 2.0, "soon enough to see how the probe went"
    one.failed()
    wait = other.allow()
    assert 2 * SHORTEST <= wait <= 2.5 * SHORTEST
    clock.go(wait)
    assert other.allow() == 0.0
    other.succeeded()
    assert one.allow() == 0.0


def test_a_probe_that_never_came_back_is_followed_by_another(
    pair: Callable[[], tuple[Breaker, Breaker]], clock: Clock
) -> None:
    one, other = pair()
    for _ in range(FAULTS):
        one.failed()
    clock.go(1.25 * SHORTEST)
    assert one.allow() == 0.0
    clock.go(LEASE + 0.1)
    assert other.allow() == 0.0


def test_faults_with_a_success_between_them_or_long_apart_leave_it_closed(
    pair: Callable[[], tuple[Breaker, Breaker]], clock: Clock
) -> None:
    one, other = pair()
    for _ in range(FAULTS - 1):
        one.failed()
    other.allow()
    other.succeeded()
    one.failed()
    assert one.allow() == 0.0
    for _ in range(2 * FAULTS):
        clock.go(WITHIN + 1)
        one.failed()
    assert one.allow() == 0.0
