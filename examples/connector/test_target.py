"""The target passes Sorbus's conformance suite."""

import json
import sqlite3
from contextlib import closing, contextmanager
from datetime import date, datetime
from decimal import Decimal

import pytest
from sorbus_sqlite.target import SqliteConsumer

from sorbus.conformance import ConsumerConformance, Target

TYPES = {"amount": Decimal, "made_on": date.fromisoformat, "seen_at": datetime.fromisoformat}


def typed(record):
    return {name: TYPES[name](value) if name in TYPES and value else value for name, value in record.items()}


class Things(Target):
    connector = SqliteConsumer
    options = {"resource": "things"}  # as under `target:` in a map

    def __init__(self, folder):
        self.file = folder / "target.db"
        self.connection = {"file": self.file}  # as under `connection:` in a map

    def execute(self, statement, *values):
        with closing(sqlite3.connect(self.file)) as file, file:
            return file.execute(statement, values).fetchall()

    def read(self):  # id -> thing: all that is in the target now, as Python values, and not through Sorbus
        rows = self.execute("select id, record from records where record is not null")
        return {id: json.loads(record, object_hook=typed) for id, record in rows}

    @contextmanager
    def broken(self):  # it can't be reached while the block lasts
        with closing(sqlite3.connect(self.file, isolation_level=None)) as file:
            file.execute("begin exclusive")
            yield

    def refused(self):  # a thing that it refuses for good
        return {"name": "x" * 11_000_000}

    def damage(self, id):  # a person changes a record by hand
        self.execute("update records set record = json_set(record, '$.name', 'damaged') where id = ?", id)


class TestTarget(ConsumerConformance):
    @pytest.fixture
    def target(self, tmp_path):
        return Things(tmp_path)
