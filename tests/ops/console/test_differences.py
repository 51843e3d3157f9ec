"""Differences in the console: what differs and why, and healing that asks first."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from confluent_kafka import OFFSET_BEGINNING

from sorbus.audit import AuditTrail
from sorbus.bus.kafka import admin, all_partitions, read_to_end, topic_reader
from sorbus.bus.names import Names
from sorbus.bus.status import ProcessReport, StatusReader, reporting
from sorbus.map.loaded import LoadedMap
from sorbus.ops.embedded import Addresses
from sorbus.ops.reconcile.finding import (
    CAUSES,
    MOST_SHOWN,
    Cause,
    DifferenceKind,
    FieldDifference,
    ReconcileReport,
    RecordDifference,
)
from sorbus.ops.reconcile.heal import plan_heal
from sorbus.ops.reconcile.store import ReconcileStore, StoredDifference
from sorbus.ops.runtime.topics import plan_topics, topics_of
from sorbus.settings import Settings
from sorbus.state import State
from sorbus.telemetry.health import Health
from tests.ops.console.visitor import Served

FLOW = "customer-to-accounting"
EVIL = "<script>alert(1)</script>"


def report(*found: tuple[str, DifferenceKind], records: int = 1000) -> ReconcileReport:
    """A reconciliation that found these."""
    now = datetime.now(UTC)
    made = ReconcileReport(FLOW, "checksums", now, now, records, records, compared=records)
    for id, kind in found:
        fields = [FieldDifference("name", EVIL, None)] if kind == "different" else []
        made.add(RecordDifference(id, kind, fields, "changed in the target"))
    made.not_compared.append("field total: rule value * 2")
    return made


@pytest.fixture
def topics(loaded: LoadedMap, stack: Addresses) -> None:
    """The map's topics in Kafka."""
    settings = Settings(kafka=stack.kafka)
    for step in plan_topics(admin(settings), topics_of(loaded.map)):
        assert step.apply is not None
        step.apply()


@contextmanager
def running_producer(stack: Addresses, loaded: LoadedMap) -> Iterator[None]:
    """What the owner's producer says of itself, though none reads requests here."""
    health, names = Health(), Names(loaded.map.topic_prefix)
    health.ready()
    with reporting(Settings(kafka=stack.kafka), names, "produce crm", health):
        deadline = time.monotonic() + 30
        while not any(one.ready for one in _reports(stack, names)):
            assert time.monotonic() < deadline, "its report didn't come"
        yield


def _reports(stack: Addresses, names: Names) -> list[ProcessReport]:
    reader = StatusReader(Settings(kafka=stack.kafka), names)
    found = reader.read()
    reader.close()
    return found


def requested(stack: Addresses, loaded: LoadedMap) -> set[tuple[str, str]]:
    """The rereads that producers were asked for."""
    reader = topic_reader(Settings(kafka=stack.kafka), "test")
    topic = Names(loaded.map.topic_prefix).requests
    found = [
        json.loads(one.value() or b"{}") for one in read_to_end(reader, all_partitions(reader, topic, OFFSET_BEGINNING))
    ]
    reader.close()
    return {(one["data_type"], one["id"]) for one in found}


def test_a_flow_s_differences_are_shown_and_healed(
    console: Served, state: State, stack: Addresses, loaded: LoadedMap, topics: None
) -> None:
    ReconcileStore(state).put(report(("1", "missing"), ("2", "different"), ("3", "extra")), {"0": 7})
    visitor = console.visitor()
    page = visitor.get(f"/differences?flow={FLOW}").text
    assert "rule value * 2" in page
    assert EVIL not in page
    assert "&#39;&lt;script&gt;" in page
    plan = visitor.get(f"/differences/{FLOW}/heal").text
    assert "create it in accounting as crm has it" in plan
    refused = visitor.post(f"/differences/{FLOW}/heal")
    assert "isn&#39;t running, and nothing was asked" in visitor.get(refused.headers["location"]).text
    assert requested(stack, loaded) == set()
    with running_producer(stack, loaded):
        answer = visitor.post(f"/differences/{FLOW}/heal")
    assert answer.headers["location"] == f"/differences?flow={FLOW}"
    assert "3 records are sent again" in visitor.get(f"/differences?flow={FLOW}").text
    assert requested(stack, loaded) == {("customer", "1"), ("customer", "2"), ("customer", "3")}
    (noted,) = AuditTrail(state).page()
    assert (noted.action, noted.subject, noted.details["records"]) == ("heal", FLOW, 3)


def test_healing_more_than_the_flow_allows_needs_consent(
    console: Served, state: State, stack: Addresses, loaded: LoadedMap, topics: None
) -> None:
    ReconcileStore(state).put(report(("1", "missing"), ("2", "missing"), records=50), {})
    visitor = console.visitor()
    assert "4.0% of the flow" in visitor.get(f"/differences/{FLOW}/heal").text
    visitor.post(f"/differences/{FLOW}/heal")
    assert requested(stack, loaded) == set()
    with running_producer(stack, loaded):
        visitor.post(f"/differences/{FLOW}/heal", {"consent": "yes"})
    assert len(requested(stack, loaded)) == 2


def test_whatever_a_target_says_of_a_record_the_comparison_is_kept(state: State) -> None:
    made = report()
    made.add(RecordDifference("1", "missing", [], "it refuses 'a\0' and '\ud83d'"))
    store = ReconcileStore(state)
    store.put(made, {})
    assert [one.why for one in store.differences(FLOW)] == [r"it refuses 'a\0' and '\ud83d'"]


def test_a_difference_that_a_later_comparison_no_longer_finds_is_closed(state: State) -> None:
    store = ReconcileStore(state)
    store.put(report(("1", "missing"), ("2", "missing")), {})
    (first, _) = store.differences(FLOW)
    store.put(report(("1", "stale")), {})
    (still,) = store.differences(FLOW)
    assert (still.id, still.kind, still.first_seen) == ("1", "stale", first.first_seen)
    unsure = report()
    unsure.undecided = 1
    store.put(unsure, {})
    assert [one.id for one in store.differences(FLOW)] == ["1"]
    store.put(report(), {}, among=["2"])
    assert [one.id for one in store.differences(FLOW)] == ["1"]
    store.put(report(), {}, among=["1"])
    assert store.differences(FLOW) == []
    assert [one.closed_at is not None for one in store.differences(FLOW, closed=True)] == [True, True]


def test_a_long_id_holds_up_no_other_difference(state: State) -> None:
    store, long = ReconcileStore(state), os.urandom(5000).hex()
    for kind in ("missing", "stale"):
        store.put(report((long, kind), ("2", "missing")), {})
    found = {one.id: one.kind for one in store.differences(FLOW)}
    assert found == {long: "stale", "2": "missing"}
    store.healed(FLOW, [long], "Ada")
    assert store.differences(FLOW, id=long)[0].healed_by == "Ada"


def _stored(number: int, kind: DifferenceKind, cause: Cause) -> StoredDifference:
    now = datetime.now(UTC)
    return StoredDifference(
        FLOW, str(number), kind, (), "flow and dead letter are words", now, now, None, None, None, cause
    )


def test_what_healing_leaves_is_decided_by_the_cause_not_by_its_words(loaded: LoadedMap) -> None:
    found = [_stored(at, "extra", cause) for at, cause in enumerate(CAUSES)]
    plan = plan_heal(loaded.flow(FLOW), found, 1000, len(found))
    assert {one.cause for one in plan.records} == {"unexplained", "undeliverable"}
    assert len(plan.left) == len(CAUSES) - 2


def test_differences_that_were_only_counted_count_for_the_limit(loaded: LoadedMap) -> None:
    found = [_stored(at, "different", "unexplained") for at in range(MOST_SHOWN)]
    records = 10_000_000
    assert not plan_heal(loaded.flow(FLOW), found, records, MOST_SHOWN).needs_consent
    plan = plan_heal(loaded.flow(FLOW), found, records, 500_000)
    assert plan.needs_consent
    assert (plan.unkept, plan.share) == (490_000, 0.05)
