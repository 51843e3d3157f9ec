"""`sorbus status` while Kafka is away: since when, by the processes that run here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sorbus.errors import TransientError, missing
from sorbus.ops.monitoring.problems import moment_with_zone
from sorbus.ops.monitoring.supervisor_report import explained
from sorbus.telemetry.health import Health, HealthServer

AWAY = missing("kafka", TransientError("listing topics: timed out"))


def test_since_when_is_told_by_a_process_that_runs_here(tmp_path: Path) -> None:
    health = Health()
    health.ready()
    health.block("kafka", "Kafka can't be reached")
    with HealthServer(health, process="test") as server:
        (tmp_path / "processes.json").write_text(json.dumps([{"port": server.port}]))
        told = explained(AWAY, tmp_path)
    since = moment_with_zone(health.status().since.timestamp())
    assert str(told) == f"Kafka (SORBUS_KAFKA) is unreachable since {since}, because listing topics: timed out"
    assert told.dependency == "kafka"


@pytest.mark.parametrize("content", [None, "", "[", "{}", "[1]", '[{"port": 1}]', '[{"port": "x"}]', "[[[[]]]]"])
def test_without_such_processes_it_is_said_without_since(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "processes.json").write_text(content)
    told = str(explained(AWAY, tmp_path))
    assert told == "Kafka (SORBUS_KAFKA) is unreachable, because listing topics: timed out"


def test_what_is_no_dependency_stays_as_it_was(tmp_path: Path) -> None:
    other = TransientError("all connections are busy")
    assert explained(other, tmp_path) is other
