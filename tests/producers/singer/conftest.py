"""What Singer's tests share: a tap that writes what they say, run again at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sorbus.conformance.in_memory_bus import InMemoryBus
from sorbus.producers.singer.options import SingerConnection
from tests.producers.singer.told import ToldThings


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(SingerConnection, "seconds", 0.1)
    monkeypatch.setattr("sorbus.producers.singer.producer._FIRST_PAUSE", 0.1)
    monkeypatch.setenv("SORBUS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path: Path) -> ToldThings:
    return ToldThings(tmp_path)


@pytest.fixture
def tape(source: ToldThings) -> Iterator[InMemoryBus]:
    tape = InMemoryBus(source)
    yield tape
    tape.close()
