"""Metrics: each hook moves exactly what it says."""

from __future__ import annotations

import time

import pytest
from prometheus_client import REGISTRY

from sorbus.telemetry import metrics
from sorbus.telemetry.metrics import ConsumerMetrics, PollMetrics, ProducerMetrics, last_reads


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def test_published_events_are_counted_by_kind_of_change() -> None:
    hooks = ProducerMetrics("crm-a")
    hooks.published("customer", upserts=5, deletes=2)
    hooks.published("customer", upserts=1)
    assert value("sorbus_events_published_total", system="crm-a", data_type="customer", op="upsert") == 6
    assert value("sorbus_events_published_total", system="crm-a", data_type="customer", op="delete") == 2
    assert abs((value("sorbus_last_publish_timestamp_seconds", system="crm-a") or 0) - time.time()) < 5


def test_an_unknown_source_lag_leaves_the_last_known_one() -> None:
    hooks = ProducerMetrics("crm-b")
    hooks.source_lag(4096)
    hooks.source_lag(None)
    assert value("sorbus_source_lag_bytes", system="crm-b") == 4096


def test_a_poll_counts_as_read_once_it_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails, or that is due tomorrow, has nothing to do now, and has not read its source all the same."""
    monkeypatch.setattr(metrics, "_last_reads", {})
    monkeypatch.setattr(metrics, "_polled", set())
    producer = ProducerMetrics("shop")
    producer.caught_up()
    assert list(last_reads()) == [""], "a stream has no polls"
    poll = PollMetrics("shop", "customer", period=86_400)
    producer.caught_up()
    assert last_reads() == {}
    poll.polled(7, 0.1)
    assert list(last_reads()) == ["customer"]


def test_a_delivery_ends_a_pause_and_measures_the_oldest_event() -> None:
    hooks = ConsumerMetrics("order-to-books", "order", "books")
    hooks.paused(True)
    assert value("sorbus_paused", flow="order-to-books") == 1
    hooks.delivered(100, seconds=0.02, oldest=int((time.time() - 40) * 1e6))
    assert value("sorbus_paused", flow="order-to-books") == 0
    assert value("sorbus_events_delivered_total", flow="order-to-books") == 100
    assert value("sorbus_apply_seconds_count", flow="order-to-books") == 1
    assert value("sorbus_delivery_delay_seconds_bucket", flow="order-to-books", le="30.0") == 0
    assert value("sorbus_delivery_delay_seconds_bucket", flow="order-to-books", le="60.0") == 1


def test_retries_of_producers_and_consumers_share_one_name() -> None:
    ProducerMetrics("crm-c").retried()
    ConsumerMetrics("c-to-d", "c", "d").retried()
    assert value("sorbus_retries_total", system="crm-c", flow="") == 1
    assert value("sorbus_retries_total", system="", flow="c-to-d") == 1


def test_dead_letters_are_counted_by_reason() -> None:
    hooks = ConsumerMetrics("e-to-f", "e", "f")
    hooks.dead_letter("not_null_violation", 2)
    assert value("sorbus_dead_letters_total", flow="e-to-f", data_type="e", reason="not_null_violation") == 2
