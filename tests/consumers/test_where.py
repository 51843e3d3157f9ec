"""A flow's `where`: what is outside isn't in the target, what leaves is deleted or kept, what comes back is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given

from sorbus.errors import PermanentError
from sorbus.mapping.record_filter import RecordFilter
from sorbus.waiting.complete import Completing, consumer_of
from tests.consumers.gadgets import GADGET_WITH_LINES, Record, Writer, flow_into, gadget, make_tables
from tests.consumers.test_merge import LAYOUTS, PATIENT, Layout, Target, Told, deliveries, told

WHERE = "price is not none and price > 0"


def is_inside(record: Record | None) -> bool:
    return record is not None and isinstance(record["price"], Decimal) and record["price"] > 0


class Filtered:
    """A target that is delivered to by a flow with a condition."""

    def __init__(self, layout: Layout, dsn: str, on_leave: str) -> None:
        self.target = Target(layout, dsn)
        flow = self.target.flow
        written = flow.flow.model_copy(update={"where": WHERE, "on_leave": on_leave})
        self.consumer = consumer_of(type(self.target.consumers[0]), replace(flow, flow=written))
        assert isinstance(self.consumer, Completing)
        self.consumer.open()

    def deliver(self, story: Told) -> int:
        """How many events were outside, by the consumer."""
        self.target.clear()
        outside = 0
        for batch in story.batches:
            given = deliveries(self.target, story, batch.coming)
            assert self.consumer.apply(given, again=batch.again, alone=batch.alone) == []
            found = self.consumer.take_outcomes()
            assert found is not None
            outside += found["filtered"]
            assert sum(found.values()) - found["filtered"] == len(given), "an event is in no count, or in two"
        return outside

    def close(self) -> None:
        self.consumer.close()
        self.target.close()


@pytest.fixture(scope="module", params=LAYOUTS, ids=lambda layout: layout.name)
def deleting(request: pytest.FixtureRequest, new_database: Callable[[], str]) -> Iterator[Filtered]:
    made = Filtered(request.param, new_database(), "delete")
    yield made
    made.close()


@pytest.fixture(scope="module", params=LAYOUTS[:2] + LAYOUTS[4:5], ids=lambda layout: layout.name)
def keeping(request: pytest.FixtureRequest, new_database: Callable[[], str]) -> Iterator[Filtered]:
    made = Filtered(request.param, new_database(), "keep")
    yield made
    made.close()


@given(story=told())
@PATIENT
def test_the_target_has_the_records_that_fit_whatever_the_order(deleting: Filtered, story: Told) -> None:
    given_outside = sum(
        story.history[id][version] is not None and not is_inside(story.history[id][version])
        for batch in story.batches
        for id, version in {id: max(v for i, v in batch.coming if i == id) for id, _ in batch.coming}.items()
    )
    assert deleting.deliver(story) == given_outside
    deleting.target.must_hold({id: one if is_inside(one) else None for id, one in story.newest.items()})


@given(story=told())
@PATIENT
def test_what_leaves_is_kept_in_a_state_that_fitted(keeping: Filtered, story: Told) -> None:
    keeping.deliver(story)
    found = {
        str(id): tuple(rest)
        for id, *rest in keeping.target.connection.execute("select id::text, name, note, price, made_on from gadgets")
    }
    keeping.target.connection.rollback()
    for id, newest in story.newest.items():
        fitted = {
            tuple(one[name] for name in ("name", "note", "price", "made_on"))
            for one in story.history[id].values()
            if one is not None and is_inside(one)
        }
        if newest is None:
            assert id not in found
        elif is_inside(newest):
            assert found[id] == tuple(newest[name] for name in ("name", "note", "price", "made_on"))
        else:
            assert id not in found or found[id] in fitted


def test_a_condition_that_cant_be_decided_names_the_field(
    new_database: Callable[[], str],
) -> None:
    flow = flow_into(new_database(), schema=GADGET_WITH_LINES)
    make_tables(flow)
    written = flow.flow.model_copy(update={"where": "(note | decimal) > 5", "on_leave": "delete"})
    bound, writer = replace(flow, flow=written), Writer(GADGET_WITH_LINES)
    delivery = writer.delivery("1", 1, gadget("One", note="many", lines=[]))
    with pytest.raises(PermanentError) as told_of:
        RecordFilter(bound).apply(delivery)
    assert (told_of.value.field, told_of.value.reason) == ("note", "undecided filter")
    assert "where (note | decimal) > 5" in str(told_of.value)
