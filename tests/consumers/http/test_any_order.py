"""Whatever comes in whatever order, and wherever a delivery is cut off: the newest state, and each record once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from typing import NamedTuple, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sorbus.connector import Delivery
from sorbus.consumers.http import decide
from sorbus.consumers.http.consumer import HttpConsumer
from tests.consumers.http.house import House, contact, event

IDS = 3
_examples = count()
T = TypeVar("T")


class Cut(BaseException):
    """The process ends here."""


class Batch(NamedTuple):
    """Events to deliver, by record: its nth event from the end (None: not in this batch), and where it is cut off."""

    new: tuple[int | None, ...]
    deletes: tuple[bool, ...]
    back: tuple[int | None, ...]
    again: bool
    cut_at: int | None
    is_done: bool


BATCHES = st.lists(
    st.builds(
        Batch,
        st.tuples(*[st.none() | st.integers(0, 3)] * IDS),
        st.tuples(*[st.booleans()] * IDS),
        st.tuples(*[st.none() | st.integers(0, 4)] * IDS),
        st.booleans(),
        st.none() | st.integers(0, 25),
        st.booleans(),
    ),
    min_size=1,
    max_size=7,
)


@contextmanager
def cutting(house: House, consumer: HttpConsumer, at: int | None, is_done: bool) -> Iterator[None]:
    """Ends at the nth request or statement: before it is sent, or after it was carried out."""
    transport, state, calls = consumer._transport, house.state, count()
    assert transport is not None
    send, run = transport.send, state.run

    def step(do: Callable[[], T]) -> T:
        number = next(calls)
        if at is None or number < at:
            return do()
        if is_done and number == at:
            do()
        raise Cut

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport, "send", lambda call, *, doing: step(lambda: send(call, doing=doing)))
        patch.setattr(state, "run", lambda *arguments: step(lambda: run(*arguments)))
        with suppress(Cut):
            yield


@pytest.mark.parametrize("examples", [5, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("way", ["key", "marker", "match", "reading", "list"])
def test_the_target_ends_on_the_newest_state_with_each_record_once(
    house: House, monkeypatch: pytest.MonkeyPatch, way: str, examples: int
) -> None:
    monkeypatch.setattr(decide, "_GRACE", timedelta(0))  # what is cut off here is never under way any more
    house.faulty.idempotent = way == "key"
    description: dict[str, object] = {} if way == "key" else {"idempotency_header": ""}
    if way == "reading":
        flow = house.flow(resource="unsearchable", **description)  # type: ignore[arg-type]
    elif way == "list":
        flow = house.flow(resource="unsearchable", on_duplicate="create", **description)  # type: ignore[arg-type]
    else:
        flow = house.flow(target={} if way in ("key", "marker") else {"marker": ""}, **description)  # type: ignore[arg-type]

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(BATCHES)
    def holds(batches: list[Batch]) -> None:
        for id in house.faulty.contacts():
            house.faulty.remove(id)
        example = next(_examples)
        ids = [f"c{example}-{n}" for n in range(IDS)]
        log: dict[str, list[Delivery]] = {id: [] for id in ids}
        newest: dict[str, str | None] = {}
        versions = count(1)
        consumer = house.opened(flow)
        for batch in batches:
            chosen = []
            for n, id in enumerate(ids):
                city = batch.new[n]
                if city is not None:
                    is_deleted = batch.deletes[n]
                    record = None if is_deleted else contact(id, city=f"City {city}")
                    newest[id] = None if is_deleted else f"City {city}"
                    log[id].append(event(id, next(versions), record))
                back = batch.back[n]
                if back is not None and log[id]:
                    chosen.append(log[id][-1 - min(back, len(log[id]) - 1)])
            if batch.cut_at is not None:
                consumer.close()
                consumer = house.opened(flow)
            with cutting(house, consumer, batch.cut_at, batch.is_done):
                assert house.deliver(consumer, *chosen, again=batch.again).refused == {}
        assert house.deliver(consumer, *(events[-1] for events in log.values() if events)).refused == {}
        consumer.close()
        there = sorted((one["name"], one["city"]) for one in house.faulty.contacts().values())
        assert there == sorted((id, city) for id, city in newest.items() if city is not None)

    holds()
