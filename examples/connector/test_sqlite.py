"""The connector passes Sorbus's conformance suite: `pip install . pytest`, then `pytest`."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from sorbus_sqlite.source import SqliteProducer
from sorbus_sqlite.target import SqliteConsumer

from sorbus.conformance import ConsumerConformance, ProducerConformance, Source, Target, Thing

READ = {"amount": Decimal, "made_on": date.fromisoformat, "seen_at": datetime.fromisoformat}


@contextmanager
def locked(file: Path) -> Iterator[None]:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("begin exclusive")
    try:
        yield
    finally:
        connection.close()


def execute(file: Path, statement: str, *values: object) -> list[tuple[str, ...]]:
    connection = sqlite3.connect(file)
    with connection:
        found = connection.execute(statement, values).fetchall()
    connection.close()
    return found


class Things(Target):
    connector = SqliteConsumer
    options = {"resource": "things"}

    def __init__(self, folder: Path) -> None:
        self.file = folder / "target.db"
        self.connection = {"file": self.file}

    def read(self) -> Mapping[str, Thing]:
        found = {id: json.loads(text) for id, text in execute(self.file, "select id, record from records") if text}
        return {
            id: {name: READ[name](value) if name in READ and value else value for name, value in one.items()}
            for id, one in found.items()
        }

    def broken(self) -> Iterator[None]:
        return locked(self.file)

    def refused(self) -> Thing:
        return {"name": "x" * 11_000_000}

    def damage(self, id: str) -> None:
        execute(self.file, "update records set record = json_set(record, '$.name', 'damaged') where id = ?", id)


class TestTarget(ConsumerConformance):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Target:
        return Things(tmp_path)


class OwnThings(Source):
    connector = SqliteProducer
    options = {"resource": "things", "every": 0.02}

    def __init__(self, folder: Path) -> None:
        self.file = folder / "source.db"
        self.connection = {"file": self.file}

    def put(self, things: Mapping[str, Thing]) -> None:
        rows = [(id, json.dumps(dict(one), default=str)) for id, one in things.items()]
        connection = sqlite3.connect(self.file)
        with connection:
            connection.executemany("insert or replace into records values ('things', ?, 0, ?)", rows)
        connection.close()

    def remove(self, id: str) -> None:
        execute(self.file, "delete from records where id = ?", id)

    def spoil(self, id: str) -> None:
        execute(self.file, "update records set record = json_set(record, '$.made_on', 'soon') where id = ?", id)

    def broken(self) -> Iterator[None]:
        return locked(self.file)


class TestSource(ProducerConformance):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        return OwnThings(tmp_path)
