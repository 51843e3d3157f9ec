"""Commits that are streamed before anybody sees them, for want of a standby, or that are seen before they are durable.

Nothing that is read beside the stream may stay another than the table's.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from sorbus.errors import TransientError
from sorbus.ops.embedded.postgres import Postgres
from sorbus.producers.postgres import earlier_transactions, fetch
from sorbus.schema import AvroType
from sorbus.settings import Settings
from tests.producers.postgres.live import Live
from tests.producers.shop import Record, Shop
from tests.producers.test_another_history import OwnServer, own_folder, serving

TEXT: list[AvroType] = [{"name": "v", "type": ["null", "string"]}]


@pytest.fixture
def server() -> Iterator[OwnServer]:
    """Its settings are changed."""
    with own_folder() as folder:
        yield from serving(folder)


@pytest.fixture
def live(server: OwnServer, tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    monkeypatch.setattr(fetch, "_PATIENCE", 0.2)
    monkeypatch.setattr(earlier_transactions, "_PATIENCE", 0.2)
    shop = Shop(tmp_path, Postgres.dsn(server.port, "sorbus"), f"{unique}.", Settings(kafka="", registry=""))
    shop.execute(
        "create table items (id int primary key, v text)",
        "create table olds (primary key (id)) inherits (items)",
        "create table pens (id int primary key, v text)",
        "insert into items values (1, 'a'), (2, 'b')",
        "insert into pens values (1, 'a'), (2, 'b')",
    )
    shop.describe({"item": (TEXT, {"table": "items"}), "pen": (TEXT, {"table": "pens"})})
    found = Live(shop)
    until_equal(found)
    yield found
    found.close()


@contextmanager
def unseen(shop: Shop, statement: str) -> Iterator[None]:
    """While this lasts, a statement has been committed and nobody sees it."""
    shop.execute("alter system set synchronous_standby_names = 'nobody'", "select pg_reload_conf()")
    while shop.rows("show synchronous_standby_names") != [("nobody",)]:  # the server is told by a signal
        pass

    def run() -> None:
        with psycopg.connect(shop.dsn, autocommit=True) as session:
            session.execute("set synchronous_commit = on")
            session.execute(statement.encode())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        with psycopg.connect(shop.dsn, autocommit=True) as session:
            while session.execute("select 1 from pg_stat_activity where wait_event = 'SyncRep'").fetchone() is None:
                assert thread.is_alive()
        yield
    finally:
        shop.execute("alter system reset synchronous_standby_names", "select pg_reload_conf()")
        thread.join(20)


def local(shop: Shop, statement: str) -> None:
    """A commit that waits for no standby."""
    shop.execute(f"set synchronous_commit = local; {statement}")


def rows(shop: Shop, table: str) -> dict[str, Record]:
    return {str(id): {"v": v} for id, v in shop.rows(f"select id, v from {table}")}


def until_equal(live: Live) -> None:
    """Until all that was committed is published, the last of it a change that this makes."""
    local(live.shop, "insert into pens values (9, '.') on conflict (id) do update set v = pens.v || '.'")

    def is_equal() -> bool:
        return all(live.records(name) == rows(live.shop, f"{name}s") for name in ("item", "pen"))

    live.wait(is_equal, lambda: (live.records("item"), live.records("pen")))


def read_on(live: Live) -> None:
    """A few reads, of which some may fail while something isn't visible."""
    for _ in range(10):
        with contextlib.suppress(TransientError):
            live.step()


@pytest.mark.parametrize("batches", [1, 2])
def test_a_row_that_goes_does_not_take_the_record_that_another_row_has_become(live: Live, batches: int) -> None:
    shop = live.shop
    with unseen(shop, "insert into olds values (1, 'moved')"):
        if batches == 2:
            live.wait(lambda: live.records("item").get("1") == {"v": "moved"}, lambda: live.records("item"))
        local(shop, "delete from only items where id = 1")
        read_on(live)
        assert "1" in live.records("item")
    until_equal(live)


def test_a_row_that_goes_after_a_restart_does_not_take_the_record_of_before(live: Live) -> None:
    shop = live.shop
    with unseen(shop, "insert into olds values (1, 'moved')"):
        live.wait(lambda: live.records("item").get("1") == {"v": "moved"}, lambda: live.records("item"))
        live.close()
        local(shop, "delete from only items where id = 1")
        live.wait(lambda: "1" not in live.records("item"), lambda: "what the table shows")
        live.close()
    until_equal(live)


def test_a_record_that_was_deleted_before_a_restart_does_not_come_back(live: Live) -> None:
    shop = live.shop
    with unseen(shop, "delete from pens where id = 1"):
        live.wait(lambda: "1" not in live.records("pen"), lambda: live.records("pen"))
        live.close()
        live.step()
        live.reread("pen", b"1")
        live.wait(lambda: "1" in live.records("pen"), lambda: "what the table shows")
    until_equal(live)
    live.step()
    assert live.records("pen") == rows(shop, "pens")


def test_what_a_crash_of_the_server_takes_back_was_never_published(server: OwnServer, live: Live) -> None:
    shop = live.shop
    shop.execute(
        "alter system set wal_writer_delay = '10s'",
        "alter system set wal_writer_flush_after = '1GB'",
        "select pg_reload_conf()",
        "set synchronous_commit = off; update pens set v = 'seen' where id = 1",
    )
    live.reread("pen", b"1")
    live.wait(lambda: live.records("pen")["1"] == {"v": "seen"}, lambda: live.records("pen"))
    server.program("pg_ctl", "stop", "-m", "immediate")
    server.stop()
    server.start()
    until_equal(live)
