"""A statement under way: asked whether its answer has come, without waiting for it."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from sorbus.producers.postgres.pending_query import PendingQuery

ROWS = "create table items (id int, name text); insert into items select n, 'x' || n from generate_series(1, 5000) n"
COPY = sql.SQL("copy (select id, name from items order by id) to stdout").format()


@pytest.fixture
def dsn(database: str) -> str:
    with psycopg.connect(database) as connection:
        connection.execute(ROWS.encode())
    return database


def test_a_copy_that_a_lock_holds_up_has_not_begun_and_then_gives_every_line(dsn: str) -> None:
    with psycopg.connect(dsn) as other, psycopg.connect(dsn) as session:
        other.execute("lock table items")
        asked = PendingQuery(session, COPY)
        assert not asked.has_begun(0.2)
        assert not asked.has_begun(0.0)
        other.commit()
        assert asked.has_begun(20)
        assert [line for part in asked.lines() for line in part] == [f"{n}\tx{n}\n".encode() for n in range(1, 5001)]
        assert session.execute("select 'asked again'").fetchone() == ("asked again",)


def test_a_copy_of_nothing_begins_and_ends(dsn: str) -> None:
    with psycopg.connect(dsn) as session:
        asked = PendingQuery(session, sql.SQL("copy (select 1 where false) to stdout").format())
        assert asked.has_begun(20)
        assert list(asked.lines()) == []
        assert session.execute("select 1").fetchone() == (1,)


def test_what_the_server_refuses_before_or_in_the_middle_is_its_own_error(dsn: str) -> None:
    with psycopg.connect(dsn) as session, pytest.raises(psycopg.errors.UndefinedTable):
        PendingQuery(session, sql.SQL("copy (select * from nothing) to stdout").format()).answer(20)
    late = "copy (select 1 / (4000 - id) from items order by id) to stdout"
    with psycopg.connect(dsn) as session:
        asked = PendingQuery(session, sql.SQL(late).format())
        assert asked.has_begun(20)
        with pytest.raises(psycopg.errors.DivisionByZero):
            list(asked.lines())


def test_a_server_that_is_told_to_give_up_waits_no_more(dsn: str) -> None:
    with psycopg.connect(dsn) as other, psycopg.connect(dsn) as session:
        other.execute("lock table items")
        asked = PendingQuery(session, COPY)
        assert not asked.has_begun(0.2)
        asked.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            asked.answer(20)
