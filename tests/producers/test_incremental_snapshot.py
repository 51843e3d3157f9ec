"""A data type that joins a running source is read beside the stream, whatever writers do and whenever it is killed."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from sorbus.bus.kafka import idempotent_producer
from sorbus.bus.names import Names
from sorbus.bus.positions import read_positions
from sorbus.bus.requests import backfill_message
from sorbus.bus.sending import send
from sorbus.producers.postgres import incremental_snapshot
from sorbus.producers.postgres.open_source import OpenSource
from sorbus.schema import AvroType
from sorbus.snapshot_control import SnapshotAction, SnapshotStatus, SupportsBackfill
from tests.producers.shop import Record, Shop

MakeShop = Callable[..., Shop]
FIELDS: list[AvroType] = [{"name": "name", "type": "string"}, {"name": "size", "type": "int"}]
TABLES = """
create table things (id int primary key, name text not null, size int not null);
create table items (id int primary key, name text not null, size int not null);
insert into things values (1, 'thing', 0);
insert into items select n, 'item ' || n, 0 from generate_series(1, {rows}) n;
"""


def _alone(shop: Shop) -> None:
    shop.describe({"thing": (FIELDS, {"table": "things"})})


def _both(shop: Shop) -> None:
    shop.describe({"thing": (FIELDS, {"table": "things"}), "item": (FIELDS, {"table": "items"})})


def _expected(shop: Shop, table: str) -> dict[str, Record]:
    rows = shop.rows(f"select id, name, size from {table}")
    return {str(id): {"name": name, "size": size} for id, name, size in rows}


class Writers:
    """Threads that change both tables at random, some transactions kept open for a while."""

    def __init__(self, shop: Shop, rows: int, seed: int) -> None:
        self._shop, self._rows = shop, rows
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(random.Random(seed * 10 + n),)) for n in range(3)]
        self.faults: list[Exception] = []
        self.written = 0

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert self.faults == []

    def _run(self, chance: random.Random) -> None:
        try:
            with psycopg.connect(self._shop.dsn) as connection:
                while not self._stop.is_set():
                    try:
                        for _ in range(chance.choice((1, 1, 1, 5, 50))):
                            self._write(connection, chance)
                        if chance.random() < 0.1:
                            self._stop.wait(chance.random() * 0.2)
                        connection.rollback() if chance.random() < 0.05 else connection.commit()
                    except (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected):
                        connection.rollback()
        except (psycopg.Error, AssertionError) as error:
            self.faults.append(error)

    def _write(self, connection: psycopg.Connection, chance: random.Random) -> None:
        id, other = chance.randrange(1, self._rows * 2), chance.randrange(1, self._rows * 2)
        what = chance.random()
        if what < 0.4:
            connection.execute("update items set size = size + 1 where id = %s", (id,))
        elif what < 0.6:
            connection.execute("delete from items where id = %s", (id,))
        elif what < 0.75:
            connection.execute("insert into items values (%s, 'new', 0) on conflict do nothing", (id,))
        elif what < 0.9:
            connection.execute("update items set id = %s where id = %s", (other, id))
        else:
            connection.execute("update things set size = size + 1")
        self.written += 1


@contextmanager
def _joined(make_shop: MakeShop, rows: int) -> Iterator[Shop]:
    """A shop whose producer has published the things, and now is to publish the items too."""
    shop = make_shop(TABLES.format(rows=rows))
    _alone(shop)
    shop.apply()
    things = shop.tape("thing")
    with shop.producing():
        things.wait_for({"1": {"name": "thing", "size": 0}})
    _both(shop)
    shop.apply()
    yield shop


def test_the_stream_goes_on_while_a_new_data_type_is_read(make_shop: MakeShop) -> None:
    with _joined(make_shop, 8000) as shop:
        things, items = shop.tape("thing"), shop.tape("item")
        stop = threading.Event()

        def write() -> None:
            with psycopg.connect(shop.dsn, autocommit=True) as connection:
                while not stop.wait(0.02):
                    connection.execute("update things set size = size + 1")

        writer = threading.Thread(target=write)
        with shop.producing():
            items.wait(lambda: bool(items.events), "the first item")
            writer.start()
            try:
                items.wait(lambda: len(items.live()) == 8000, lambda: len(items.live()), 60)
                things.read()
                published = len(things.events)
            finally:
                stop.set()
                writer.join()
            things.wait_for(_expected(shop, "things"))
        assert published >= 3, "things were changed while items were read, and waited for their end"
        assert items.live() == _expected(shop, "items")


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_whatever_writers_do_meanwhile_the_topic_ends_as_the_table(make_shop: MakeShop, seed: int) -> None:
    with _joined(make_shop, 3000) as shop:
        items = shop.tape("item")
        with Writers(shop, 3000, seed) as writers:
            for stop in range(4):
                with shop.process() as process:
                    before = len(items.events)
                    items.wait(
                        lambda before=before, most=300 * (stop + 1): len(items.events) >= before + most,  # type: ignore[misc]
                        lambda: f"{len(items.events)} events\n{shop.log.read_text()[-2000:]}",
                        60,
                    )
                    process.kill()
        assert writers.written > 0
        with shop.producing():
            items.wait_for(_expected(shop, "items"), 60)
            shop.tape("thing").wait_for(_expected(shop, "things"))


def test_a_changed_mapping_is_published_beside_the_stream_and_what_is_gone_is_deleted(make_shop: MakeShop) -> None:
    with _joined(make_shop, 2000) as shop:
        items = shop.tape("item")
        with shop.producing():
            items.wait(lambda: len(items.live()) == 2000, lambda: len(items.live()))
        shop.execute("delete from items where id > 1900")
        rows = [("items.name", "item.name", "value | upper"), ("items.size", "item.size", "")]
        shop.describe({"thing": (FIELDS, {"table": "things"}), "item": (FIELDS, {"table": "items"})}, sheet=rows)
        expected = {id: {**row, "name": str(row["name"]).upper()} for id, row in _expected(shop, "items").items()}
        with Writers(shop, 10, 1), shop.producing():
            items.wait(lambda: sum(str(row["name"]).isupper() for row in items.live().values()) > 1500, "upper case")
        with shop.producing():
            wanted = {id: {**row, "name": str(row["name"]).upper()} for id, row in _expected(shop, "items").items()}
            items.wait_for(wanted)
        assert len(expected) == 1900


class Person:
    """Asks the producer for snapshots, and for how far they are."""

    def __init__(self, shop: Shop) -> None:
        self._shop, self._names = shop, Names(shop.prefix)
        connector = shop.loaded().producer("shop")
        assert isinstance(connector, SupportsBackfill)
        self._connector = connector

    def ask(self, action: SnapshotAction, data_type: str = "item", where: str = "") -> None:
        message = backfill_message(self._names, "shop", data_type, action, where)
        send(idempotent_producer(self._shop.settings, "test"), [message], "asking")

    def all(self) -> list[SnapshotStatus]:
        position = read_positions(self._shop.settings, self._names)["shop"]
        return self._connector.snapshots(position, list(self._shop.loaded().map.data_types))

    def states(self) -> list[tuple[str, str]]:
        return [(one.data_type, one.state) for one in self.all() if one.state != "ended"]


def test_a_person_starts_pauses_resumes_and_cancels_snapshots(make_shop: MakeShop) -> None:
    with _joined(make_shop, 2000) as shop, psycopg.connect(shop.dsn) as other:
        items, things, person = shop.tape("item"), shop.tape("thing"), Person(shop)

        def change(size: int) -> None:
            shop.execute(f"update things set size = {size}")
            things.wait_for({"1": {"name": "thing", "size": size}})

        def until(*states: tuple[str, str]) -> None:
            things.wait(lambda: person.states() == [*states], lambda: person.all())

        with shop.producing() as running:
            items.wait(lambda: len(items.live()) == 2000, lambda: len(items.live()), 60)
            until()
            other.execute("lock table items")  # the second can't be read
            person.ask("start")
            until(("item", "waiting"))
            change(1)
            person.ask("pause")
            until(("item", "paused"))
            told = running.health.waiting()
            assert told == "the snapshot of item is paused; resume it: sorbus backfill item --resume"
            other.rollback()
            person.ask("start", "thing")  # which is not held up
            things.wait(lambda: len(things.events_of("1")) == 3, "the thing, published again")
            until(("item", "paused"))
            change(3)
            items.read()
            assert len(items.events) == 2000
        with shop.producing():  # a restart changes nothing
            change(4)
            assert person.states() == [("item", "paused")]
            person.ask("resume")
            until()
            items.wait(lambda: len(items.events) == 4000, lambda: len(items.events))
            other.execute("lock table items")
            person.ask("start")
            until(("item", "waiting"))
            person.ask("cancel")
            until()
            other.rollback()
            change(5)
        items.read()
        assert len(items.events) == len(items.live()) * 2 == 4000


def test_a_condition_chooses_records_and_what_it_cannot_decide_is_said(make_shop: MakeShop) -> None:
    with _joined(make_shop, 300) as shop:
        items, person = shop.tape("item"), Person(shop)
        shop.execute("update items set name = 'ten' where id = 7")
        with shop.producing():
            items.wait_for(_expected(shop, "items"))
            items.wait(lambda: not person.states(), "the end of the first snapshot")
            shop.execute("delete from items where id = 300")
            items.wait(lambda: len(items.live()) == 299, "the delete")
            before = len(items.events)
            person.ask("start", where='(name | replace("item ", "") | integer) > 290')
            items.wait(lambda: any(one.state == "ended" for one in person.all()), lambda: person.all())
        items.wait(lambda: len(items.events) >= before + 9, lambda: len(items.events))
        assert sorted(event.id for event in items.events[before:]) == [str(n) for n in range(291, 300)]
        (ended,) = person.all()
        assert (ended.records, ended.left_out, ended.undecided) == (299, 290, 1)
        assert ended.example.startswith("7: ")
        assert items.live() == _expected(shop, "items")


def test_who_holds_a_snapshot_up_is_named(make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incremental_snapshot, "_PATIENCE", 0.0)
    with _joined(make_shop, 10) as shop, psycopg.connect(shop.dsn, application_name="night job") as other:
        other.execute("insert into things values (2, 'open', 0)")
        shop.execute("update things set size = 1")  # a later one that has ended
        pid = other.info.backend_pid
        with shop.producing() as running:
            items = shop.tape("item")
            items.wait(lambda: f"pid {pid} of" in (running.health.waiting() or ""), lambda: running.health.waiting())
            told = running.health.waiting() or ""
            assert "(night job), open since" in told
            assert f"select pg_terminate_backend({pid})" in told
            other.commit()
            items.wait_for(_expected(shop, "items"))
            items.wait(lambda: running.health.waiting() is None, lambda: running.health.waiting())


def test_a_transaction_of_another_database_holds_nothing_up(
    make_shop: MakeShop, make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, look = list[int](), OpenSource.oldest_open_here

    def looked(source: OpenSource) -> int:
        looks.append(look(source))
        return looks[-1]

    monkeypatch.setattr(OpenSource, "oldest_open_here", looked)
    monkeypatch.setattr(incremental_snapshot, "_LONG", 0.05)
    elsewhere = make_database("create table other (id int)")
    with _joined(make_shop, 10) as shop, psycopg.connect(elsewhere) as other, psycopg.connect(shop.dsn) as here:
        other.execute("insert into other values (1)")
        here.execute("insert into things values (2, 'open', 0)")
        with shop.producing():
            items = shop.tape("item")
            items.wait(lambda: len(looks) > 3, lambda: looks)
            items.read()
            assert items.events == []
            here.commit()
            items.wait_for(_expected(shop, "items"))


def test_a_transaction_that_began_while_the_table_joined_the_publication_is_waited_for(
    make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incremental_snapshot, "_PATIENCE", 0.0)
    shop = make_shop(TABLES.format(rows=10))
    _alone(shop)
    shop.apply()
    with shop.producing():
        shop.tape("thing").wait_for({"1": {"name": "thing", "size": 0}})
    _both(shop)
    with psycopg.connect(shop.dsn) as joins, psycopg.connect(shop.dsn) as writes:
        (publication,) = joins.execute("select pubname from pg_publication").fetchone() or ("",)
        joins.execute(f"alter publication {publication} add table items")
        # The newest transaction: until a newer one has ended, no snapshot shows that it is open.
        writes.execute("insert into items values (11, 'unstreamed', 0)")
        joins.commit()
        shop.apply()
        with shop.producing() as running:
            items = shop.tape("item")
            items.wait(
                lambda: "transaction" in (running.health.waiting() or "") or bool(items.read()), "it waits, or reads"
            )
            writes.commit()
            items.wait_for(_expected(shop, "items"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_whatever_people_and_writers_do_the_topic_ends_as_the_table(make_shop: MakeShop, seed: int) -> None:
    """Snapshots are started, paused, resumed, cancelled; the table truncated, altered, filled; the process killed."""
    chance = random.Random(seed)
    with _joined(make_shop, 3000) as shop:
        items, things, person = shop.tape("item"), shop.tape("thing"), Person(shop)
        done: list[str] = []

        def change(statement: str) -> None:
            with contextlib.suppress(psycopg.errors.DeadlockDetected):  # with a writer
                shop.execute(statement)

        def refill() -> None:
            change("insert into items select n, 'again', 0 from generate_series(1, 3000) n on conflict do nothing")

        acts: dict[str, Callable[[], object]] = {
            "start": lambda: person.ask("start"),
            "start the other": lambda: person.ask("start", "thing"),
            "start some": lambda: person.ask("start", where="size > 1"),
            "pause": lambda: person.ask("pause"),
            "resume": lambda: person.ask("resume"),
            "cancel": lambda: person.ask("cancel"),
            "truncate": lambda: change("truncate items"),
            "add a column": lambda: change("alter table items add column if not exists more text default 'x'"),
            "drop it": lambda: change("alter table items drop column if exists more"),
            "refill": refill,
            "rewrite": lambda: change("update items set size = size + 1"),
        }
        with Writers(shop, 3000, seed):
            for _ in range(3):
                with shop.process() as process:
                    for _ in range(8):
                        done.append(chance.choice([*acts, "start", "refill"]))
                        acts[done[-1]]()
                        marker, before = chance.randrange(10**6), len(items.events)
                        shop.execute(f"update things set name = 'mark {marker}'")
                        things.wait(
                            lambda name=f"mark {marker}": any(  # type: ignore[misc]
                                event.record is not None and event.record["name"] == name for event in things.events
                            ),
                            lambda: f"{done}\n{shop.log.read_text()[-3000:]}",
                            90,
                        )
                        items.read(chance.random() * 0.2)
                        assert len(items.events) >= before
                    process.kill()
        with shop.producing():
            person.ask("resume")
            items.wait(lambda: not person.states(), lambda: f"{done}: {person.all()}", 90)
            items.wait_for(_expected(shop, "items"), 60)
            things.wait_for(_expected(shop, "things"))


WITH_LINES = """
create table orders (id int primary key, size int not null);
create table lines (id int primary key, order_id int not null, what text not null);
insert into orders select n, 0 from generate_series(1, 4000) n;
insert into lines select n, n, 'line' from generate_series(1, 4000) n;
create index on lines (order_id);
"""
ORDER: list[AvroType] = [
    {"name": "size", "type": "int"},
    {
        "name": "lines",
        "default": [],
        "type": {
            "type": "array",
            "items": {"type": "record", "name": "line", "fields": [{"name": "what", "type": "string"}]},
        },
    },
]


def test_what_only_a_snapshot_can_show_is_not_lost_while_one_is_under_way(
    make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incremental_snapshot, "_MOST_AGGREGATES", 20)
    shop = make_shop(TABLES.format(rows=1) + WITH_LINES)
    _alone(shop)
    shop.apply()
    things = shop.tape("thing")
    with shop.producing():
        things.wait_for({"1": {"name": "thing", "size": 0}})
    source = {"table": "orders", "children": {"lines": {"table": "lines", "parent": ["order_id"]}}}
    shop.describe({"thing": (FIELDS, {"table": "things"}), "order": (ORDER, source)})
    shop.apply()
    orders = shop.tape("order")
    with shop.producing():
        orders.wait(lambda: len(orders.events) > 100, "the first orders")
        shop.execute("truncate lines")  # the stream says nothing of whose lines these were
        orders.read()
        assert len(orders.events) < 4000, "the snapshot was over before its lines were gone"
        orders.wait_for({str(n): {"size": 0, "lines": []} for n in range(1, 4001)}, 60)
