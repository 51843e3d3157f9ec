"""A session that is open for months keeps neither the target's server from forgetting old transactions, nor a pause."""

from __future__ import annotations

import time

import psycopg
import pytest

from sorbus.bus.controls import FlowPause, pause_message
from sorbus.bus.kafka import idempotent_producer
from sorbus.bus.sending import send
from sorbus.consumers.postgres import open_target
from tests.consumers.gadgets import Writer, flow_into, gadget, make_tables, opened
from tests.consumers.line import Line, eventually

_OLDEST = "select max(age(relfrozenxid)) from pg_class where relpersistence = 't' and relkind in ('r', 't')"
_SOME = 50


def oldest_of_sessions(connection: psycopg.Connection[tuple[int]]) -> int:
    """How many transactions ago the oldest temporary table was made, or vacuumed."""
    row = connection.execute(_OLDEST).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("is_idle", [False, True])
def test_a_flow_that_is_open_for_long_vacuums_its_own_tables(
    database: str, monkeypatch: pytest.MonkeyPatch, *, is_idle: bool
) -> None:
    """Autovacuum can't: two thousand million transactions later the server would take no more writes."""
    flow = flow_into(database)
    make_tables(flow)
    consumer, writer = opened(flow), Writer()
    with psycopg.connect(database, autocommit=True) as connection:
        assert consumer.apply([writer.delivery("1", 1, gadget("a"))]) == []
        for _ in range(_SOME):
            connection.execute("select pg_current_xact_id()")
        assert oldest_of_sessions(connection) >= _SOME
        monkeypatch.setattr(open_target, "_VACUUM_EVERY", 0.0)
        if is_idle:
            consumer.progress("gadget")
        else:
            assert consumer.apply([writer.delivery("1", 2, gadget("b"))]) == []
        assert oldest_of_sessions(connection) < _SOME
        assert consumer.apply([writer.delivery("1", 3, gadget("c"))]) == []
        assert connection.execute("select name from gadgets").fetchall() == [("c",)]
    consumer.close()


def tell(line: Line, pause: FlowPause | None) -> None:
    message = pause_message(line.names, line.flow.flow.id, pause)
    send(idempotent_producer(line.settings, "test"), [message], "pausing")


def sessions(line: Line) -> int:
    row = line.connection.execute(
        "select count(*) from pg_stat_activity where datname = current_database() and application_name = %s",
        (f"sorbus {line.flow.flow.id}",),
    ).fetchone()
    assert row is not None
    return int(str(row[0]))


def test_a_paused_flow_leaves_its_target(line: Line) -> None:
    """Nobody vacuums its tables meanwhile, and it may be paused for weeks."""
    line.publish([("1", 1, gadget("a", lines=[]))])
    with line.consuming():
        eventually(lambda: sessions(line) == 1, "a session with the target")
        tell(line, FlowPause("Ada", "a test", time.time()))
        eventually(lambda: sessions(line) == 0, "the session's end")
        line.publish([("1", 2, gadget("b", lines=[]))])
        tell(line, None)
        eventually(
            lambda: line.connection.execute("select name from gadgets").fetchall() == [("b",)], "what came meanwhile"
        )
