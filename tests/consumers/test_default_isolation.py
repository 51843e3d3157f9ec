"""A server whose default isolation level sees the past: deletes and versions are right all the same."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from psycopg import sql

from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.errors import TransientError
from tests.consumers.gadgets import Writer, flow_into, gadget, make_tables, opened
from tests.consumers.test_merge import delete_during_write


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
        old, gone = writer.delivery("1", 5, gadget("old")), writer.delivery("1", 6, None)
        delete_during_write(gate, lambda: patiently(first, old), lambda: patiently(second, gone))
        alive = "" if deletes == "hard" else " where sorbus_deleted_at is null"
        assert gate.execute(f"select id, name from gadgets{alive}".encode()).fetchall() == []
    first.close()
    second.close()
