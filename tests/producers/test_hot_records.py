"""Records that change again and again: a finding while they do, and only they."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.connector import Change
from sorbus.ops.trace.trace import trace_record
from sorbus.producers.hot_records import MANY, WINDOW, HotRecords
from sorbus.telemetry.health import Health
from sorbus.telemetry.metrics import BUSIEST, ProducerMetrics
from tests.producers.shop import Shop
from tests.producers.test_owner_moves import ITEM, ITEMS


class Minute:
    """A clock that is turned by hand, and what is counted by it."""

    def __init__(self) -> None:
        self.now, self.health = 0.0, Health()
        self.hot = HotRecords("shop", self.health, ProducerMetrics("shop"), clock=lambda: self.now)

    def change(self, ids: range | list[int], data_type: str = "item") -> None:
        self.hot.count([Change(data_type, str(id).encode(), 1, 0, b"") for id in ids])

    def wait(self, seconds: float) -> str:
        self.now += seconds
        self.hot.look()
        return self.health.notes().get("hot", "")


def test_a_record_that_changes_each_second_is_found_among_many_others() -> None:
    minute = Minute()
    for second in range(MANY):
        minute.change(range(second * 3000, second * 3000 + 3000))
        minute.change([7] * 3, "order")
    said = minute.wait(10)
    assert "order 7 changes again and again" in said
    assert f"{BUSIEST.labels('shop', 'order')._value.get():.0f}" != "0"
    assert "item" not in said
    assert minute.wait(WINDOW), "the minute in which it was"
    assert not minute.wait(WINDOW + 1), "the minute after"
    assert BUSIEST.labels("shop", "order")._value.get() == 0


@pytest.mark.parametrize(
    "burst",
    [
        lambda minute: minute.change([7] * (MANY - 1)),
        lambda minute: minute.change(range(50_000)),
        lambda minute: [minute.change([n % 20]) for n in range(20 * (MANY - 1))],
    ],
    ids=["not often enough", "many records once", "twenty in turn"],
)
def test_what_is_no_circle_is_no_finding(burst: Callable[[Minute], object]) -> None:
    minute = Minute()
    burst(minute)
    assert not minute.wait(10)


def test_a_circle_is_told_by_the_producer_and_by_a_trace(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop(ITEMS)
    shop.describe({"item": (ITEM, {"table": "items"})})
    shop.apply()
    tape = shop.tape("item")
    with shop.producing() as running:
        tape.wait(lambda: len(tape.live()) == 3, "the copy")
        shop.execute(*[f"update items set name = 'turn {n}' where id = 2" for n in range(MANY + 5)])
        tape.wait(lambda: "hot" in running.health.notes(), "a note of the producer")
        assert "item 2 changes again and again" in running.health.notes()["hot"]
    found = trace_record(shop.loaded(), shop.settings, None, "item", "2", asks_targets=False)
    assert [one.what for one in found.moments if "times within a minute" in one.what]
    calm = trace_record(shop.loaded(), shop.settings, None, "item", "3", asks_targets=False)
    assert not [one.what for one in calm.moments if "times within a minute" in one.what]
