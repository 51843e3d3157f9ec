"""Lists in a column of the record's own table: a set's labels, or JSON; a text is never split by a guess."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.avro.decode import read_record
from sorbus.connector import BoundSource, Change, RejectedRecord
from sorbus.mapfile.model import DataType
from sorbus.producers.mysql.producer import MysqlProducer
from sorbus.schema import parse_schema
from tests.mariadb import Mariadb
from tests.producers.mysql.test_hard_cases import Shop

pytestmark = pytest.mark.slow
LIST = {"name": "tags", "type": {"type": "array", "items": "string"}}
SCHEMA = parse_schema({"type": "record", "name": "thing", "fields": [LIST]})


@pytest.mark.parametrize(
    ("native", "literal", "expected"),
    [
        ("set('a','[b')", "'a,[b'", ["a", "[b"]),
        ("set('a','b')", "''", []),
        ("text", '\'["x, y", "z"]\'', ["x, y", "z"]),
        ("varchar(50)", "''", []),
        ("varchar(50)", "'Smith, John'", None),
        ("varchar(50)", "'a'", None),
        ("enum('a,b')", "'a,b'", None),
        ("varchar(50)", "'{\"a\": 1}'", None),
    ],
)
def test_what_becomes_a_list(
    mariadb_server: Mariadb, mariadb: Callable[..., str], native: str, literal: str, expected: list[str] | None
) -> None:
    database = mariadb(f"create table thing (id int primary key, tags {native})")
    mariadb_server.root(f"insert into thing values (1, {literal})", database=database)
    options = MysqlProducer.Source.model_validate({"table": "thing"})
    source = BoundSource("thing", DataType(system_of_record="source"), SCHEMA, (), options)
    [[found]] = MysqlProducer.scan(Shop(mariadb_server, database).system(), source)
    if expected is None:
        assert isinstance(found, RejectedRecord)
        assert found.error.field == "tags"
    else:
        assert isinstance(found, Change)
        assert found.data is not None
        assert read_record(SCHEMA, found.data, 0)[0]["tags"] == expected
