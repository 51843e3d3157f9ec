"""The registry and the state database, taken away and given back: since when each is away, and why."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from sorbus.map.load import load_map
from sorbus.ops.decisions.registry import DECISION_KINDS
from sorbus.ops.embedded import Addresses
from sorbus.ops.monitoring.build_monitor import open_watch
from sorbus.ops.monitoring.dependencies import Dependencies
from sorbus.settings import Settings
from sorbus.state.database import State, migrate
from tests.consumers.line import eventually
from tests.gateway import Gateway

NAMES = ("registry", "state")


@pytest.mark.parametrize("away", NAMES)
def test_what_is_away_is_said_with_since_and_why_until_it_is_back(
    away: str, stack: Addresses, make_database: Callable[[str], str], unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = {"registry": stack.registry, "state": make_database("")}
    parts = urlsplit(addresses[away])
    gateway = Gateway(str(parts.hostname), int(parts.port or 0))
    gateway.open()
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    addresses[away] = parts._replace(netloc=f"{user}127.0.0.1:{gateway.port}").geturl()
    monkeypatch.setenv("SORBUS_DATABASE", addresses["state"])
    settings = Settings(kafka=stack.kafka, registry=addresses["registry"], database=addresses["state"])
    ask = Dependencies(settings, unique, every=0.0)
    assert ask() == []

    gateway.close()
    began = time.time()
    (first,) = eventually(ask, f"it was not said that the {away} is away")
    (again,) = ask()
    assert (first.kind, first.subject, first.what) == ("dependency", away, "unreachable")
    assert abs((first.since or 0) - began) < 10
    assert again.since == first.since, "it counts from when it went away"
    assert str(gateway.port) in first.why
    assert "refused" in first.why
    assert "Errno" not in first.why

    gateway.open()
    eventually(lambda: ask() == [], f"it was not said that the {away} is back", 30)
    gateway.close()


@pytest.mark.parametrize("is_made", [False, True])
def test_a_state_database_that_answers_and_does_not_say_what_waits_is_said(
    is_made: bool, stack: Addresses, database: str, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing counted is no count of nothing: tables that were never made, or rights that were taken away."""
    (tmp_path / "map.yaml").write_text(f"topic_prefix: {unique}\nsystems: {{}}\ndata_types: {{}}\nflows: []\n")
    state = State(database, unique)
    if is_made:
        migrate(state)
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute(f"create role {unique} login".encode())
        if is_made:
            owner.execute(f'grant usage on schema "{state.schema}" to {unique}'.encode())
    state.close()
    monkeypatch.setenv("SORBUS_DATABASE", make_conninfo(database, user=unique))
    watch = open_watch(load_map(tmp_path / "map.yaml"), Settings(kafka=stack.kafka), DECISION_KINDS)
    try:
        for _ in range(2):
            measured = watch.measure()
            (one,) = measured.problems
            assert (one.subject, one.what) == ("state", "not readable")
            assert "which records wait" in one.why
            assert ("permission denied" if is_made else "run `sorbus apply`") in one.why
            assert any("SORBUS_DATABASE" in words for words in measured.complaints())
    finally:
        watch.close()
