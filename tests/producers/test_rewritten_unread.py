"""A rewrite of columns that nobody reads: to snapshots from before it the table looks empty, and that isn't so.

The oracle is the table itself, read by SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest

from sorbus.producers.postgres import incremental_snapshot
from sorbus.producers.postgres.capture import Capture
from sorbus.producers.postgres.chunk import Chunk
from sorbus.producers.postgres.fetch import KeyReader
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


def test_a_rewrite_after_a_chunks_snapshot(make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch) -> None:
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
    begun, chunks = Chunk.begin, list[bool]()

    def begin(session: Any, xids: Collection[int]) -> bool:
        found = begun(session, xids)
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
    real, done = TableSnapshot.__init__, list[None]()

    def rewritten(
        self: TableSnapshot, connection: Any, snapshot: str, capture: Capture, *more: Any, **named: Any
    ) -> None:
        if capture.name == "item" and not done:
            done.append(None)
            shop.execute(REWRITE)
        real(self, connection, snapshot, capture, *more, **named)

    monkeypatch.setattr(TableSnapshot, "__init__", rewritten)
    items = shop.tape("item")
    with shop.producing():
        settled(shop, items)


def test_a_record_is_read_by_key_while_its_table_is_rewritten(
    make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows that share a key are read once one of them is gone: the others are there."""
    shop = make_shop(
        """create table items (id int, v text, w text); alter table items replica identity full;
        insert into items select n, 'a' || n, 'w' from generate_series(1, 10) n"""
    )
    shop.describe({"item": (THING, {"table": "items", "key": ["id"]})})
    shop.apply()
    tape, begun, done = shop.tape("item"), KeyReader._begin, list[None]()

    def begin(self: KeyReader, after: Collection[int]) -> None:
        begun(self, after)
        if not done:
            done.append(None)
            shop.execute(REWRITE)

    with shop.producing():
        settled(shop, tape)
        shop.execute("insert into items select n, 'b' || n, 'w' from generate_series(1, 10) n")
        settled(shop, tape)
        monkeypatch.setattr(KeyReader, "_begin", begin)
        shop.execute("delete from items where v like 'a%'")
        settled(shop, tape)
