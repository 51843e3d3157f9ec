"""Our MySQL connectors pass the conformance suite, on a real MariaDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC

import pytest

from sorbus.conformance import ProducerConformance, Source, Thing
from sorbus.producers.mysql.producer import MysqlProducer
from tests.mariadb import USER, Mariadb, mariadb, mariadb_server

__all__ = ["mariadb", "mariadb_server"]
TABLE = """
create table thing (id varchar(100) primary key, name longtext not null, note longtext, amount decimal(19, 4),
                    count varchar(40), active tinyint(1), made_on date, seen_at timestamp(6) null)
"""


@contextmanager
def away(server: Mariadb) -> Iterator[None]:
    """Our user's connections are cut, and it may make no others."""
    server.root(f"alter user {USER}@'127.0.0.1' with max_user_connections -1")
    for (number,) in server.root(f"select id from information_schema.processlist where user = '{USER}'"):
        server.root(f"kill {number}")
    try:
        yield
    finally:
        server.root(f"alter user {USER}@'127.0.0.1' with max_user_connections 0")


def bound(value: object) -> object:
    """As the client library takes it: moments in UTC, without a zone."""
    return value.astimezone(UTC).replace(tzinfo=None) if hasattr(value, "tzinfo") and value.tzinfo else value


class ThingTable(Source):
    """A table captured from the log; `count` is text there, so that it can be spoiled."""

    connector = MysqlProducer
    options = {"table": "thing"}  # noqa: RUF012 - read only

    def __init__(self, server: Mariadb, database: str) -> None:
        self.server, self.database = server, database
        self.connection, self.topic_prefix = server.connection(database), f"{database}."
        self.mapping = [(field, field, "value | integer" if field == "count" else "") for field in sorted(self.fields)]

    def put(self, things: Mapping[str, Thing]) -> None:
        columns = ["id", *sorted(self.fields)]
        marks, sets = ", ".join(["%s"] * len(columns)), ", ".join(f"{one} = values({one})" for one in columns[1:])
        statement = f"insert into thing ({', '.join(columns)}) values ({marks}) on duplicate key update {sets}"
        rows = [[id, *(bound(one.get(name)) for name in columns[1:])] for id, one in things.items()]
        session = self.server.connect(self.database, autocommit=False)
        try:
            with session.cursor() as cursor:
                cursor.execute("set time_zone = '+00:00'")
                cursor.executemany(statement, rows)
            session.commit()
        finally:
            session.close()

    def remove(self, id: str) -> None:
        self.server.many(self.database, "delete from thing where id = %s", [[id]])

    def spoil(self, id: str) -> None:
        self.server.many(self.database, "update thing set count = 'not a number' where id = %s", [[id]])

    @contextmanager
    def broken(self) -> Iterator[None]:
        with away(self.server):
            yield


class TestProducer(ProducerConformance):
    """From a table's log."""

    @pytest.fixture
    def source(self, mariadb_server: Mariadb, mariadb: Callable[..., str]) -> Source:
        return ThingTable(mariadb_server, mariadb(TABLE))
