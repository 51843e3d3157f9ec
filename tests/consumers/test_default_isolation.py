"""A server whose default isolation level sees the past: deletes and versions are right all the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psycopg
import pytest
from psycopg import sql

from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.errors import TransientError
from tests.consumers.gadgets import Writer, flow_into, gadget, make_tables, opened
from tests.consumers.test_merge import wait_for, waiting


def patiently(consumer: PostgresConsumer, *deliveries: object) -> None:
    """As the loop does it: a transient error is tried again."""
    while True:
        try:
            assert consumer.apply(deliveries) == []  # type: ignore[arg-type]
            return
        except TransientError:
            if consumer._target is None or not consumer._target.is_open:
                consumer.open()


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
@pytest.mark.parametrize("deletes", ["hard", "soft"])
def test_a_delete_sees_what_another_consumer_was_just_writing(
    make_database: Callable[[], str], level: str, deletes: str
) -> None:
    dsn = make_database()
    with psycopg.connect(dsn, autocommit=True) as gate:
        name = sql.Identifier(gate.info.dbname)
        gate.execute(sql.SQL("alter database {} set default_transaction_isolation = {}").format(name, level))
    flow = flow_into(dsn, deletes=deletes)
    make_tables(flow)
    first, second, writer = opened(flow), opened(flow), Writer()
    with psycopg.connect(dsn, autocommit=True) as gate:
        gate.execute("select pg_advisory_lock(4711)")
        gate.execute(
            "create function hold() returns trigger language plpgsql as"
            " 'begin perform pg_advisory_xact_lock(4711); return null; end'"
        )
        gate.execute("create trigger hold after insert on gadgets for each statement execute function hold()")
        old, gone = writer.delivery("1", 5, gadget("old")), writer.delivery("1", 6, None)
        writing = threading.Thread(target=patiently, args=(first, old))
        writing.start()
        wait_for(gate, "select 1 from pg_locks where locktype = 'advisory' and objid = 4711 and not granted", "insert")
        deleting = threading.Thread(target=patiently, args=(second, gone))
        deleting.start()
        deadline = time.monotonic() + 20
        while deleting.is_alive() and len(waiting(gate)) < 2:
            assert time.monotonic() < deadline, "the delete neither waits nor ends"
        gate.execute("select pg_advisory_unlock(4711)")
        writing.join(20)
        deleting.join(20)
        alive = "" if deletes == "hard" else " where sorbus_deleted_at is null"
        assert gate.execute(f"select id, name from gadgets{alive}".encode()).fetchall() == []
    first.close()
    second.close()
