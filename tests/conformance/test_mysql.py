"""Our MySQL connectors pass the conformance suite, on a real MariaDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from sorbus.conformance import ConsumerConformance, ProducerConformance, Source, Target, Thing
from sorbus.consumers.mysql.consumer import MysqlConsumer
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


@pytest.mark.slow
class TestProducer(ProducerConformance):
    """From a table's log."""

    @pytest.fixture
    def source(self, mariadb_server: Mariadb, mariadb: Callable[..., str]) -> Source:
        return ThingTable(mariadb_server, mariadb(TABLE))


class MadeTable(Target):
    """A table that Sorbus makes."""

    connector = MysqlConsumer
    options = {"table": "thing"}  # noqa: RUF012 - read only

    def __init__(self, server: Mariadb, database: str) -> None:
        self.server, self.database = server, database
        self.connection = server.connection(database)

    def read(self) -> Mapping[str, Thing]:
        names = ["id", *sorted(self.fields)]
        rows = self.server.root(f"select {', '.join(names)} from thing", database=self.database)
        return {str(row[0]): {name: typed(name, value) for name, value in zip(names, row, strict=True)} for row in rows}

    @contextmanager
    def broken(self) -> Iterator[None]:
        with away(self.server):
            yield

    def refused(self) -> Thing:
        return {"name": "more digits than the column keeps", "amount": Decimal("12345678901234.5678")}

    def prepare(self) -> list[str]:
        steps = super().prepare()
        self.server.root("alter table thing modify amount decimal(12, 4)", database=self.database)
        return steps

    def damage(self, id: str) -> None:
        self.server.many(self.database, "update thing set name = 'damaged' where id = %s", [[id]])

    def writes(self) -> int:
        """Transactions in the log; one that changes nothing isn't there."""
        [(position,)] = self.server.root("select @@gtid_binlog_pos")
        return int(str(position).rpartition("-")[2])


def typed(name: str, value: object) -> object:
    if value is None:
        return None
    if name == "active":
        return bool(value)
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


@pytest.mark.slow
class TestConsumer(ConsumerConformance):
    """Into a table of Sorbus's own."""

    @pytest.fixture
    def target(self, mariadb_server: Mariadb, mariadb: Callable[..., str]) -> Target:
        return MadeTable(mariadb_server, mariadb())
