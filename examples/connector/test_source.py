"""The source passes Sorbus's conformance suite."""

import json
import sqlite3
from contextlib import closing, contextmanager

import pytest
from sorbus_sqlite.source import SqliteProducer

from sorbus.conformance import ProducerConformance, Source


class Things(Source):
    connector = SqliteProducer
    options = {"resource": "things", "every": 0.02}  # as under `source:` in a map

    def __init__(self, folder):
        self.file = folder / "source.db"
        self.connection = {"file": self.file}

    def execute(self, statement, *rows):
        with closing(sqlite3.connect(self.file)) as file, file:
            file.executemany(statement, rows)

    def put(self, things):  # makes or changes these
        rows = [(id, json.dumps(dict(one), default=str)) for id, one in things.items()]
        self.execute("insert or replace into records values ('things', ?, 0, ?)", *rows)

    def remove(self, id):
        self.execute("delete from records where id = ?", [id])

    def spoil(self, id):  # what can't become canonical
        self.execute("update records set record = json_set(record, '$.made_on', 'soon') where id = ?", [id])

    @contextmanager
    def broken(self):  # it can't be reached while the block lasts
        with closing(sqlite3.connect(self.file, isolation_level=None)) as file:
            file.execute("begin exclusive")
            yield


class TestSource(ProducerConformance):
    @pytest.fixture
    def source(self, tmp_path):
        return Things(tmp_path)
