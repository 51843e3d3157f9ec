"""Our Singer connector passes the conformance suite, with a tap that is a process of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from sorbus.conformance import ProducerConformance, Source, Thing
from sorbus.conformance.in_memory_bus import InMemoryBus
from sorbus.producers.singer.options import SingerConnection
from sorbus.producers.singer.producer import SingerProducer
from tests.producers.singer import toy_tap

SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "note": {"type": ["null", "string"]},
        "amount": {"type": ["null", "string"], "format": "singer.decimal"},
        "count": {"type": ["null", "integer"]},
        "active": {"type": ["null", "boolean"]},
        "made_on": {"type": ["null", "string"], "format": "date"},
        "seen_at": {"type": ["null", "string"], "format": "date-time"},
    },
}


def written(value: object) -> object:
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


class TapThings(Source):
    """Things in a table that a tap reads whole, again and again."""

    connector = SingerProducer
    patience = 30.0
    many = 500

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path, self.rows = folder / "things.json", dict[str, dict[str, object]]()
        config = {"stream": "things", "schema": SCHEMA, "table": str(self.path), "password": "hunter2 is secret"}
        self.connection = {
            "command": [sys.executable, "-SE", toy_tap.__file__],
            "config": config,
            "catalog": "none",
            "every": "every 1s",
        }
        self.options = {
            "stream": "things",
            "replication": "FULL_TABLE",
            "removed_records": "delete",
            "max_deletes": 100,
        }
        self.save()

    def put(self, things: Mapping[str, Thing]) -> None:
        self.rows |= {id: {name: written(value) for name, value in thing.items()} for id, thing in things.items()}
        self.save()

    def remove(self, id: str) -> None:
        del self.rows[id]
        self.save()

    def spoil(self, id: str) -> None:
        self.rows[id] = {**self.rows[id], "made_on": "soon"}
        self.save()

    @contextmanager
    def broken(self) -> Iterator[None]:
        away = self.path.with_suffix(".away")
        self.path.rename(away)
        try:
            yield
        finally:
            away.rename(self.path)

    def save(self) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.rows), "utf-8")
        new.replace(self.path)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tap is started ten times a second, which no map can say."""
    monkeypatch.setattr(SingerConnection, "seconds", 0.1)
    monkeypatch.setattr("sorbus.producers.singer.producer._FIRST_PAUSE", 0.1)
    monkeypatch.setenv("SORBUS_CACHE", str(tmp_path / "cache"))


class TestTap(ProducerConformance):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        return TapThings(tmp_path)

    @pytest.mark.slow
    def test_a_crash_after_every_batch_loses_nothing(self, tape: InMemoryBus) -> None:
        super().test_a_crash_after_every_batch_loses_nothing(tape)

    @pytest.mark.slow
    def test_a_position_is_one_to_go_on_from_or_is_said_to_be_lost(self, tape: InMemoryBus) -> None:
        super().test_a_position_is_one_to_go_on_from_or_is_said_to_be_lost(tape)

    @pytest.mark.slow
    def test_what_did_not_change_is_not_published_again(self, tape: InMemoryBus) -> None:
        super().test_what_did_not_change_is_not_published_again(tape)
