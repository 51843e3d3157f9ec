"""The registry and the state database, taken away and given back: since when each is away, and why."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from sorbus.ops.embedded import Addresses
from sorbus.ops.monitoring.dependencies import Dependencies
from sorbus.settings import Settings
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
