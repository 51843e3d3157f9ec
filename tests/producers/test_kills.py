"""`kill -9` at any moment: what a reader of committed transactions sees is whole, single and in order."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import psycopg
import pytest

from sorbus.schema import AvroType
from tests.producers.shop import Record, Shop, Tape

MakeShop = Callable[..., Shop]
ITEM: list[AvroType] = [{"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"]}]


def items_shop(make_shop: MakeShop, rows: int) -> Shop:
    shop = make_shop(
        "create table items (id int primary key, name text);"
        f"insert into items select n, 'first ' || n from generate_series(1, {rows}) n"
    )
    shop.describe({"item": (ITEM, {"table": "items"})})
    shop.apply()
    return shop


def source(shop: Shop) -> dict[str, Record | None]:
    return {str(id): {"id": id, "name": name} for id, name in shop.rows("select id, name from items")}


def killed_when(shop: Shop, tape: Tape, until: Callable[[], bool]) -> None:
    """Runs the producer's process until something is on the topic, and kills it there and then."""
    with shop.process() as process:
        tape.wait(until, lambda: f"more of it; the process says:\n{shop.log.read_text()[-2000:]}", 90)
        assert process.poll() is None, shop.log.read_text()[-2000:]


def test_an_initial_snapshot_killed_in_the_middle_goes_on(make_shop: MakeShop) -> None:
    shop = items_shop(make_shop, 60_000)
    tape, positions = shop.tape("item"), shop.positions()
    killed_when(shop, tape, lambda: len(tape.events) > 0)
    positions.read(1.0)
    copying = positions.positions[-1]["copying"]
    shop.execute(
        "update items set name = 'changed' where id % 7 = 0",
        "delete from items where id % 11 = 0",
        "insert into items select n, 'new' from generate_series(100001, 100500) n",
    )
    with shop.producing():
        tape.wait_for(source(shop), 90)
    if not isinstance(copying, dict):
        pytest.skip("the copy was over before it could be killed")
    first = [event.id for event in tape.events if event.version == copying["version"]]
    assert len(set(first)) == len(first), "the copy goes on behind what is on the topic"


@pytest.mark.slow
def test_kills_at_random_moments_lose_and_double_nothing(make_shop: MakeShop) -> None:
    shop = items_shop(make_shop, 20_000)
    tape = shop.tape("item")
    chance, stop = random.Random(5), threading.Event()

    def write() -> None:
        with psycopg.connect(shop.dsn, autocommit=True) as connection:
            while not stop.wait(0.002):
                id = chance.randrange(1, 25_000)
                connection.execute("delete from items where id = %s", (chance.randrange(1, 25_000),))
                connection.execute(
                    "insert into items values (%s, %s) on conflict (id) do update set name = excluded.name",
                    (id, f"n{chance.random()}"),
                )
                connection.execute("update items set name = name || '.' where id between %s and %s", (id, id + 50))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(6):
            more = len(tape.events) + chance.randrange(1, 6_000)
            killed_when(shop, tape, lambda more=more: len(tape.events) >= more)  # type: ignore[misc]
    finally:
        stop.set()
        writer.join(30)
    with shop.producing():
        tape.wait_for(source(shop), 120)
    # Tape itself fails on a doubled event id or on a version that goes back.
    assert set(tape.tombstones) == {event.id for event in tape.events if event.record is None}
