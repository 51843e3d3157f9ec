"""A rewrite of columns that nobody reads: to snapshots from before it the table looks empty, and nobody may believe that.

The oracle is the table itself, read by SQL.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from sorbus.producers.postgres import incremental_snapshot
from sorbus.producers.postgres.capture import Capture
from sorbus.producers.postgres.chunk import Chunk
from sorbus.producers.postgres.open_source import OpenSource
from sorbus.producers.postgres.snapshot import Snapshotter
from sorbus.producers.postgres.table_snapshot import TableSnapshot
from sorbus.schema import AvroType
from tests.producers.shop import Record, Shop, Tape

MakeShop = Callable[..., Shop]
TEXT: AvroType = ["null", "string"]
THING: list[AvroType] = [{"name": "v", "type": TEXT}]
REWRITE = "alter table items alter w type text using w || 'x'"


def rows(shop: Shop) -> dict[str, Record]:
    return {str(key): {"v": v} for key, v in shop.rows("select id, v from items")}


def settled(shop: Shop, tape: Tape) -> None:
    def equal() -> bool:
        return not tape.read(0.5) and tape.live() == rows(shop)

    tape.wait(equal, lambda: f"has {len(tape.live())}, should have {len(rows(shop))}: {tape.events[-3:]}", 20)


@contextmanager
def rewriting(shop: Shop, seconds: float) -> Iterator[None]:
    """Another session rewrites the table; it has the lock when the block begins."""
    with psycopg.connect(shop.dsn) as connection:
        connection.execute(REWRITE)
        ended = threading.Timer(seconds, connection.commit)
        ended.start()
        yield
        ended.join()


def test_a_chunk_waits_for_the_lock_of_a_rewrite(make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incremental_snapshot, "_ROWS", 20)
    shop = make_shop(
        """create table plains (id text primary key, v text); insert into plains values ('1', 'a');
        create table items (id int primary key, v text, w text);
        insert into items select n, 'a' || n, 'w' from generate_series(1, 100) n"""
    )
    plain = {"plain": (THING, {"table": "plains"})}
    shop.describe(plain)
    shop.apply()
    with shop.producing():
        tape = shop.tape("plain")
        tape.wait(lambda: not tape.read() and len(tape.live()) == 1, "plain")
    shop.describe({**plain, "item": (THING, {"table": "items"})})
    shop.apply()
    begun = Chunk.begin
    chunks = []

    def begin(session: object, xids: object) -> bool:
        found = begun(session, xids)  # type: ignore[arg-type]
        chunks.append(found)
        if len(chunks) == 3:
            shop.execute(REWRITE)
        return found

    monkeypatch.setattr(Chunk, "begin", begin)
    items = shop.tape("item")
    with shop.producing():
        settled(shop, items)


def test_a_rewrite_while_an_initial_snapshot_reads_another_table(
    make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_shop(
        """create table plains (id text primary key, v text); insert into plains values ('1', 'a');
        create table items (id int primary key, v text, w text);
        insert into items select n, 'a' || n, 'w' from generate_series(1, 100) n"""
    )
    shop.describe({"plain": (THING, {"table": "plains"}), "item": (THING, {"table": "items"})})
    shop.apply()
    real, done = TableSnapshot.__init__, []

    def rewritten(self: TableSnapshot, connection: object, snapshot: str, capture: Capture, *more: object, **named: object) -> None:
        if capture.name == "item" and not done:
            done.append(None)
            shop.execute(REWRITE)
        real(self, connection, snapshot, capture, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(TableSnapshot, "__init__", rewritten)
    items = shop.tape("item")
    with shop.producing():
        settled(shop, items)


def test_a_record_is_read_by_key_while_its_table_is_rewritten(make_shop: MakeShop) -> None:
    shop = make_shop(
        """create table items (id int, v text, w text); alter table items replica identity full;
        insert into items select n, 'a' || n, 'w' from generate_series(1, 10) n"""
    )
    shop.describe({"item": (THING, {"table": "items", "key": ["id"]})})
    shop.apply()
    tape = shop.tape("item")
    with shop.producing():
        settled(shop, tape)
        shop.execute("insert into items select n, 'b' || n, 'w' from generate_series(1, 10) n")
        settled(shop, tape)
        connection = psycopg.connect(shop.dsn)
        shop.execute("begin; delete from items where v like 'a%'; commit") if False else None
        with psycopg.connect(shop.dsn, autocommit=True) as other:
            # the delete is told while the table is locked
            import sorbus.producers.postgres.fetch as fetch
            real = fetch.KeyReader._begin
            done: list[None] = []
            def begin(self: fetch.KeyReader, after: object) -> None:
                real(self, after)  # type: ignore[arg-type]
                if not done:
                    done.append(None)
                    shop.execute(REWRITE)
            fetch.KeyReader._begin = begin  # type: ignore[method-assign]
            try:
                other.execute("delete from items where v like 'a%'")
                settled(shop, tape)
            finally:
                fetch.KeyReader._begin = real  # type: ignore[method-assign]
        connection.close()
