"""Whoever changes what when, and wherever a delivery is cut off: what people wrote goes only when a person says so."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sorbus.conflict.store import Choice, Conflicts
from sorbus.consumers.http import decide
from tests.consumers.http.house import House, contact, event
from tests.consumers.http.test_any_order import cutting
from tests.http_api.faulty_records import Record, Write

_examples = count()


class Step(NamedTuple):
    """What happens next: the owner's new city (delivered or not), people's new city there, or a decision."""

    owner: int | None
    hand: int | None
    choice: Choice | None
    delivers: bool
    cut_at: int | None
    is_done: bool


_NUMBER = st.none() | st.integers(0, 5)
STEPS = st.lists(
    st.builds(
        Step,
        _NUMBER,
        _NUMBER,
        st.sampled_from([None, "overwrite", "keep"]),
        st.sampled_from([True, True, False]),
        st.none() | st.integers(4, 11),  # where an update is decided, sent and noted
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


def written_by_hand(writes: list[Write], id: str) -> bool:
    """Whether the city that contact `id` has was people's work."""
    last = [one for one in writes if str(one.id) == id and _city(one.before) != _city(one.after)][-1]
    return last.by == "hand"


def _city(record: Record | None) -> object:
    return record["city"] if record else None


@pytest.mark.parametrize("examples", [15, pytest.param(500, marks=pytest.mark.slow)])
def test_what_people_wrote_goes_only_when_a_person_says_so(
    house: House, monkeypatch: pytest.MonkeyPatch, examples: int
) -> None:
    monkeypatch.setattr(decide, "_GRACE", timedelta(0))  # what is cut off here is never under way any more
    conflicts = Conflicts(house.state, house.system, "contact", house.resource)

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(STEPS)
    def holds(steps: list[Step]) -> None:
        id, versions, decided = f"c{next(_examples)}", count(1), set[object]()
        consumer = house.opened(on_conflict="ask")
        newest, owner, keeps = event(id, next(versions), contact(id, city="City 0")), "City 0", False
        house.deliver(consumer, newest)
        there = house.linked(id)
        for step in steps:
            if step.owner is not None:
                owner = f"City {step.owner}"
                newest = event(id, next(versions), contact(id, city=owner))
            if step.hand is not None:
                house.faulty.change(there, city=f"Hand {step.hand}")
            for conflict in conflicts.page(id=id) if step.choice else ():
                assert step.choice is not None
                conflicts.decide(conflict.number, step.choice, who="Sales", reason="")
                decided.add(conflict.theirs)
                keeps = keeps or step.choice == "keep"
            if not step.delivers:
                continue
            before = house.faulty.contacts()[there]["city"]
            if step.cut_at is not None:
                with cutting(house, consumer, step.cut_at, step.is_done):
                    house.deliver(consumer, newest)
                consumer.close()
                consumer = house.opened(on_conflict="ask")
                continue
            done = house.deliver(consumer, newest)
            after = house.faulty.contacts()[there]["city"]
            if done.refused:
                assert done.reasons == {0: "conflict"}
                assert after == before
                assert written_by_hand(house.faulty.writes, there), "our own value was taken for people's"
                assert [one.theirs for one in conflicts.page(id=id)] == [after]
            elif after != owner:
                assert written_by_hand(house.faulty.writes, there), f"{after} is neither the owner's nor people's"
        for write in (one for one in house.faulty.writes if str(one.id) == there and one.by == "api" and one.before):
            gone = _city(write.before)
            if gone != _city(write.after) and str(gone).startswith("Hand"):
                # Whatever people make of a kept field goes when its owner changes it next.
                assert gone in decided or keeps, f"{gone} was overwritten, and nobody had said so"
        consumer.close()

    holds()
