"""Snapshots beside the stream that wait for open transactions, on a server where something changes all the time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import psycopg
import pytest

from sorbus.producers.postgres import open_source
from sorbus.producers.postgres.source_watch import SourceWatch
from sorbus.schema import AvroType
from tests.producers.postgres.live import Live
from tests.producers.shop import Shop

TEXT: list[AvroType] = [{"name": "v", "type": ["null", "string"]}]
TABLES = """
create type mood as enum ('sad', 'ok');
create table items (id int primary key, v mood);
insert into items values (1, 'ok'), (2, 'ok');
create table parts (id int primary key, v text) partition by range (id);
create table others (id uuid default gen_random_uuid())
"""
Started = tuple[Live, Callable[[], None]]
Session = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def started(make_shop: Callable[[str], Shop], monkeypatch: pytest.MonkeyPatch) -> Started:
    """A producer that looks at the catalog all the time, and what waits until it has looked and read on."""
    looks, look = [0], SourceWatch.look

    def counted(self: SourceWatch, session: psycopg.Connection[tuple[object, ...]]) -> None:
        look(self, session)
        looks[0] += 1

    monkeypatch.setattr(SourceWatch, "look", counted)
    monkeypatch.setattr(open_source, "_LOOK_EVERY", 0.1)
    shop = make_shop(TABLES)
    shop.describe({"item": (TEXT, {"table": "items"}), "part": (TEXT, {"table": "parts"})})
    live = Live(shop)
    live.wait(lambda: len(live.records("item")) == 2, lambda: live.records("item"))

    def looked() -> None:
        seen = looks[0]
        live.wait(lambda: looks[0] > seen + 4, lambda: "looks at the catalog")

    return live, looked


def writer(shop: Shop, stack: ExitStack, statement: str) -> Session:
    """A transaction that has written something and is open."""
    session = stack.enter_context(psycopg.connect(shop.dsn))
    session.execute(statement.encode())
    return session


def rewritten_beside(started: Started, stack: ExitStack) -> Session:
    """The open transaction that a new snapshot of items waits for, since their labels are others."""
    live, looked = started
    first = writer(live.shop, stack, "insert into others default values")
    live.shop.execute("alter type mood rename value 'ok' to 'well'")
    looked()
    return first


def test_new_partitions_do_not_put_a_snapshot_off(started: Started) -> None:
    live, looked = started
    shop = live.shop
    with ExitStack() as stack:
        first = rewritten_beside(started, stack)
        writer(shop, stack, "insert into others default values")
        shop.execute("create table parts_1 partition of parts for values from (0) to (10)")
        looked()
        assert live.records("item")["1"] == {"v": "ok"}, "it waits"
        first.rollback()
        live.wait(lambda: live.records("item")["1"] == {"v": "well"}, lambda: live.records("item"))
        live.close()


def test_a_second_rewrite_waits_for_those_that_wrote_before_it(started: Started) -> None:
    """Their changes are streamed with the labels of then, and come later."""
    live, looked = started
    shop = live.shop
    with ExitStack() as stack:
        first = rewritten_beside(started, stack)
        second = writer(shop, stack, "insert into items values (3, 'well')")
        shop.execute("alter type mood rename value 'well' to 'fine'")
        looked()
        first.rollback()
        looked()
        second.commit()
        live.wait(
            lambda: live.records("item") == {id: {"v": "fine"} for id in "123"},
            lambda: live.records("item"),
        )
        looked()
        assert live.records("item") == {id: {"v": "fine"} for id in "123"}
        live.close()
