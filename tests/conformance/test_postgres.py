"""Our PostgreSQL connectors pass the conformance suite that we ask of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from sorbus.conformance import ConsumerConformance, ProducerConformance, Source, Target, Thing
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.producers.postgres.producer import PostgresProducer
from tests.replication_slots import drop_slots

TABLE = """
create table thing (id text primary key, name text not null, note text, amount numeric(19, 4), count text,
                    active boolean, made_on date, seen_at timestamptz)
"""


@contextmanager
def away(dsn: str) -> Iterator[None]:
    """The database takes no connections, and those there were are cut."""
    admin, _, name = dsn.rpartition("/")
    with psycopg.connect(f"{admin}/postgres", autocommit=True) as connection:
        statement = sql.SQL("alter database {} allow_connections {}")
        connection.execute(statement.format(sql.Identifier(name), sql.SQL("false")))
        connection.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s", [name])
        try:
            yield
        finally:
            connection.execute(statement.format(sql.Identifier(name), sql.SQL("true")))


class Table(Target):
    """A table that Sorbus makes."""

    connector = PostgresConsumer
    options = {"table": "thing"}  # noqa: RUF012 - read only

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.connection = {"dsn": dsn}

    def read(self) -> Mapping[str, Thing]:
        with psycopg.connect(self.dsn, row_factory=psycopg.rows.dict_row) as connection:
            return {str(row["id"]): row for row in connection.execute("select * from thing")}

    @contextmanager
    def broken(self) -> Iterator[None]:
        with away(self.dsn):
            yield

    def refused(self) -> Thing:
        return {"name": "a NUL \0 has no place in PostgreSQL's text"}

    def damage(self, id: str) -> None:
        self._execute("update thing set name = 'damaged' where id = %s", id)

    def writes(self) -> int:
        with psycopg.connect(self.dsn) as connection:
            found = connection.execute("select max(xmin::text::bigint) from thing").fetchone()
        assert found is not None
        return int(found[0])

    def _execute(self, statement: str, *values: object) -> None:
        with psycopg.connect(self.dsn) as connection:
            connection.execute(statement.encode(), values)


class TestConsumer(ConsumerConformance):
    """Into a table of Sorbus's own."""

    @pytest.fixture
    def target(self, database: str) -> Target:
        return Table(database)


class ShopTable(Source):
    """A table captured from the log; `count` is text there, so that it can be spoiled."""

    connector = PostgresProducer
    options = {"table": "thing"}  # noqa: RUF012 - read only

    def __init__(self, dsn: str, prefix: str) -> None:
        self.dsn = dsn
        self.connection, self.topic_prefix = {"dsn": dsn}, f"{prefix}."
        self.mapping = [(field, field, "value | integer" if field == "count" else "") for field in sorted(self.fields)]

    def put(self, things: Mapping[str, Thing]) -> None:
        columns = ["id", *sorted(self.fields)]
        statement = sql.SQL("insert into thing ({}) values ({}) on conflict (id) do update set ({}) = row ({})").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join(sql.Placeholder() for _ in columns),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join(sql.SQL("excluded.{}").format(sql.Identifier(column)) for column in columns),
        )
        with psycopg.connect(self.dsn) as connection, connection.cursor() as cursor:
            cursor.executemany(
                statement,
                [
                    [id, *(str(v) if (v := one.get(f)) is not None and f == "count" else v for f in columns[1:])]
                    for id, one in things.items()
                ],
            )

    def remove(self, id: str) -> None:
        self._execute("delete from thing where id = %s", id)

    def spoil(self, id: str) -> None:
        self._execute("update thing set count = 'not a number' where id = %s", id)

    @contextmanager
    def broken(self) -> Iterator[None]:
        with away(self.dsn):
            yield

    def _execute(self, statement: str, *values: object) -> None:
        with psycopg.connect(self.dsn) as connection:
            connection.execute(statement.encode(), values)


class TestProducer(ProducerConformance):
    """From a table's log."""

    @pytest.fixture
    def source(self, make_database: Callable[[str], str], unique: str) -> Iterator[Source]:
        source = ShopTable(make_database(TABLE), unique)
        yield source
        with psycopg.connect(source.dsn, autocommit=True) as connection:
            drop_slots(connection)
