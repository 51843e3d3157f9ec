"""What PostgreSQL does to rows without a word in the stream: that data type is copied again, alone, and no other.

The oracle is the table itself, read by SQL; a second data type shows that nothing else is copied.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple, cast

import psycopg
import pytest
from psycopg import sql

from sorbus.postgres.connection import is_readable
from sorbus.producers.postgres import open_source, tables
from sorbus.producers.postgres.source_watch import SourceWatch
from sorbus.producers.postgres.stream import ReplicationStream
from sorbus.schema import AvroType
from tests.producers.shop import Record, Shop, Tape

MakeShop = Callable[..., Shop]
TEXT: AvroType = ["null", "string"]
ITEM: list[AvroType] = [{"name": name, "type": TEXT} for name in ("id", "v", "mood", "extra", "made")]
THING: list[AvroType] = [{"name": "v", "type": TEXT}]
TABLES = """
create type mood as enum ('sad', 'ok');
create domain feeling as mood;
create table items (id text primary key, v text, mood mood, w text, g text,
 made text generated always as (g || '!') stored);
insert into items select n, 'a' || n, 'ok', 'w', 'g' from generate_series(1, 5) n;
create table parts (id text, day date, v text, primary key (id, day)) partition by range (day);
create table parts_1 partition of parts for values from ('2025-01-01') to ('2026-01-01');
create table parts_2 partition of parts for values from ('2026-01-01') to ('2027-01-01');
create table parts_3 partition of parts for values from ('2027-01-01') to ('2028-01-01');
create table parts_9 partition of parts for values from ('2033-01-01') to ('2034-01-01') partition by list (id);
create table parts_9a partition of parts_9 for values in ('91', '92');
insert into parts values ('91', '2033-01-01', 'r91'), ('92', '2033-01-01', 'r92');
insert into parts select n, '2025-02-01', 'p' || n from generate_series(1, 3) n;
insert into parts select n, '2026-02-01', 'q' || n from generate_series(4, 5) n;
create table later (like parts including all);
create table base (id text primary key, v text);
create table heir (primary key (id)) inherits (base);
insert into base values ('1', 'one'), ('2', 'two');
insert into heir values ('11', 'eleven'), ('12', 'twelve'), ('13', 'thirteen');
create table plains (id text primary key, v text); insert into plains select n, 'v' || n from generate_series(1, 9) n;
create table things (id int primary key, v text); insert into things select n, 'thing' from generate_series(1, 50) n;
"""
SOURCES = {"item": "items", "plain": "plains", "part": "parts", "heirloom": "base"}


class Case(NamedTuple):
    """What is done, to which data type; whether that is copied again (its rows would otherwise be out of date)."""

    data_type: str
    statements: str
    is_copied: bool = True


CASES = {
    # rows rewritten
    "type with using": Case("item", "alter table items alter v type text using upper(v)"),
    "type with using, twice": Case(
        "item", "alter table items alter w type text using w || w; alter table items alter v type text using v || v"
    ),
    "plain rewritten": Case("plain", "alter table plains alter v type text using upper(v)"),
    "another type": Case("item", "alter table items alter id type int using id::int + 100"),
    "column with a default": Case("item", "alter table items add extra text default 'foo'"),
    "column with a volatile default": Case("item", "alter table items add extra text default random()::text"),
    "column dropped and made again": Case("item", "alter table items drop mood; alter table items add mood mood"),
    "columns that change names": Case(
        "item",
        "begin; alter table items rename w to x; alter table items rename mood to w;"
        " alter table items rename x to mood; commit",
    ),
    "a computed column made": Case("item", "alter table items add extra text generated always as (upper(v)) stored"),
    "a computed column made anew": Case(
        "item",
        "alter table items drop made; alter table items add made text generated always as ('<' || v || '>') stored",
    ),
    "label renamed": Case("item", "alter type mood rename value 'ok' to 'well'"),
    "label added, used and renamed": Case(
        "item",
        "alter type mood add value 'glad'; update items set mood = 'glad' where id = '1';"
        " alter type mood rename value 'glad' to 'happy'",
    ),
    "partitioned rewritten": Case("part", "alter table parts alter v type text using v || '?'"),
    "heirs rewritten": Case("heirloom", "alter table base alter v type text using v || '?'"),
    # rows that come and go
    "one partition truncated": Case("part", "truncate parts_1"),
    "partition detached": Case("part", "alter table parts detach partition parts_1"),
    "partition dropped": Case("part", "drop table parts_2"),
    "partition attached with rows": Case(
        "part",
        "insert into later values ('9', '2028-02-01', 'late');"
        " alter table parts attach partition later for values from ('2028-01-01') to ('2029-01-01')",
    ),
    "partition attached with rows in the transaction that made it": Case(
        "part",
        "begin; create table fresh (like parts including all); insert into fresh values ('9', '2028-02-01', 'late');"
        " alter table parts attach partition fresh for values from ('2028-01-01') to ('2029-01-01'); commit",
    ),
    "partition away and back": Case(
        "part",
        "alter table parts detach partition parts_2; update parts_2 set v = 'away';"
        " alter table parts attach partition parts_2 for values from ('2026-01-01') to ('2027-01-01')",
    ),
    "partition of partitions attached with rows": Case(
        "part",
        "create table year (id text, day date, v text, primary key (id, day)) partition by list (id);"
        " create table year_1 partition of year for values in ('9');"
        " insert into year values ('9', '2028-02-01', 'late');"
        " alter table parts attach partition year for values from ('2028-01-01') to ('2029-01-01')",
    ),
    "partition of partitions away and back": Case(
        "part",
        "alter table parts detach partition parts_9; update parts_9 set v = 'away' where id = '91';"
        " delete from parts_9 where id = '92';"
        " alter table parts attach partition parts_9 for values from ('2033-01-01') to ('2034-01-01')",
    ),
    "partition made, filled and dropped": Case(
        "part",
        "create table parts_4 partition of parts for values from ('2028-01-01') to ('2029-01-01');"
        " insert into parts values ('7', '2028-03-01', 'new'); drop table parts_4",
    ),
    "partition made, filled and detached": Case(
        "part",
        "create table parts_4 partition of parts for values from ('2028-01-01') to ('2029-01-01');"
        " insert into parts values ('7', '2028-03-01', 'new'); alter table parts detach partition parts_4",
    ),
    "partition made, filled, emptied while it was away, and back": Case(
        "part",
        "create table parts_4 partition of parts for values from ('2028-01-01') to ('2029-01-01');"
        " insert into parts values ('7', '2028-03-01', 'new'); alter table parts detach partition parts_4;"
        " delete from parts_4;"
        " alter table parts attach partition parts_4 for values from ('2028-01-01') to ('2029-01-01')",
    ),
    "partition of partitions made, filled, truncated while it was away, and back": Case(
        "part",
        "create table parts_4 partition of parts for values from ('2028-01-01') to ('2029-01-01')"
        " partition by list (id); create table parts_4a partition of parts_4 default;"
        " insert into parts values ('7', '2028-03-01', 'new'); alter table parts detach partition parts_4;"
        " truncate parts_4;"
        " alter table parts attach partition parts_4 for values from ('2028-01-01') to ('2029-01-01')",
    ),
    "partition made, filled and truncated": Case(
        "part",
        "create table parts_4 partition of parts for values from ('2028-01-01') to ('2029-01-01');"
        " insert into parts values ('7', '2028-03-01', 'new'); truncate parts_4",
    ),
    "partition filled while it was unlogged": Case(
        "part",
        "create unlogged table parts_4 partition of parts for values from ('2028-01-01') to ('2029-01-01');"
        " insert into parts values ('7', '2028-03-01', 'new'); alter table parts_4 set logged",
    ),
    "heir taken out": Case("heirloom", "alter table heir no inherit base"),
    "heir away and back": Case(
        "heirloom",
        "alter table heir no inherit base; delete from heir where id = '11'; alter table heir inherit base",
    ),
    "one heir truncated": Case("heirloom", "truncate heir"),
    "the parent alone truncated": Case("heirloom", "truncate only base"),
    # away for a while
    "out of the publication": Case(
        "item",
        "alter publication {slot} drop table items; update items set v = 'x'; alter publication {slot} add table items",
    ),
    "deleted out of the publication": Case(
        "plain",
        "alter publication {slot} drop table plains; delete from plains where id = '3';"
        " alter publication {slot} add table plains",
    ),
    "swapped": Case(
        "item",
        "begin; create table items_new (like items including all); insert into items_new (id, v) values ('9', 'new');"
        " alter publication {slot} add table items_new;"
        " alter table items rename to items_old; alter table items_new rename to items; commit;"
        " insert into items (id, v) values ('10', 'after')",
    ),
    # nothing to copy: the stream has told it, or no value has changed
    "renamed away and back": Case(
        "item",
        "alter table items rename to x; update x set v = 'away' where id = '1';"
        " insert into x (id, v) values ('6', 'new'); delete from x where id = '2'; alter table x rename to items",
        False,
    ),
    "renamed away and back at once": Case(
        "item",
        "begin; alter table items rename to x; update x set v = 'away' where id = '1'; delete from x where id = '2';"
        " alter table x rename to items; commit",
        False,
    ),
    "another schema and back": Case(
        "item",
        "create schema s; alter table items set schema s; update s.items set v = 'away' where id = '1';"
        " alter table s.items set schema public",
        False,
    ),
    "vacuum full": Case("item", "vacuum full items", False),
    "cluster": Case("item", "cluster items using items_pkey", False),
    "truncated": Case("item", "truncate items; insert into items (id, v) values ('9', 'new')", False),
    "all heirs truncated": Case("heirloom", "truncate base; insert into heir values ('9', 'new')", False),
    "an unread column": Case("item", "alter table items add other int default 3; alter table items drop w", False),
    "an unread column rewritten": Case("item", "alter table items alter w type text using upper(w)", False),
    "a wider type": Case("item", "alter table items alter w type varchar(900)", False),
    "label added": Case("item", "alter type mood add value 'glad' before 'ok'", False),
    "label added and used": Case(  # it may have been renamed meanwhile
        "item", "alter type mood add value 'glad' before 'ok'; update items set mood = 'glad' where id = '1'"
    ),
    "new partition": Case(
        "part",
        "create table parts_4 partition of parts for values from ('2028-01-01') to ('2029-01-01');"
        " insert into parts values ('7', '2028-03-01', 'new')",
        False,
    ),
    "new partition of partitions": Case(
        "part",
        "create table parts_4 partition of parts for values from ('2028-01-01') to ('2029-01-01')"
        " partition by list (id); create table parts_4a partition of parts_4 default;"
        " insert into parts values ('7', '2028-03-01', 'new')",
        False,
    ),
    "empty partition attached": Case(
        "part", "alter table parts attach partition later for values from ('2028-01-01') to ('2029-01-01')", False
    ),
    "replica role and disabled triggers": Case(
        "item", "set session_replication_role = replica; update items set v = 'quiet' where id = '1'", False
    ),
    "heirs change": Case(
        "heirloom",
        "insert into heir values ('14', 'new'); update base set v = v || '!' where id in ('1', '11'); delete from heir"
        " where id = '12'; update heir set id = '15' where id = '13'",
        False,
    ),
    "partitions without their root": Case("part", "analyze parts; reindex table parts_1", False),
}


def rows(shop: Shop, data_type: str) -> dict[str, Record]:
    """What the table has, by SQL; fields that it has no column for are null."""
    names = [str(field["name"]) for field in (ITEM if data_type == "item" else THING) if isinstance(field, dict)]
    found = shop.rows(f"select to_jsonb(t) from {SOURCES[data_type]} t")
    told: dict[str, Record] = {}
    for (row,) in found:
        assert isinstance(row, dict)
        told[str(row["id"])] = {name: None if row.get(name) is None else str(row[name]) for name in names}
    return told


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows with every look at the source."""
    seen: list[None] = []
    look = SourceWatch.look

    def counted(self: SourceWatch, session: psycopg.Connection[tuple[object, ...]]) -> None:
        look(self, session)
        seen.append(None)

    monkeypatch.setattr(SourceWatch, "look", counted)
    monkeypatch.setattr(open_source, "_LOOK_EVERY", 0.2)
    return seen


def started(make_shop: MakeShop) -> Shop:
    shop = make_shop(TABLES)
    shop.describe(
        {
            **{name: (ITEM if name == "item" else THING, {"table": SOURCES[name], "key": ["id"]}) for name in SOURCES},
            "thing": (THING, {"table": "things"}),
        }
    )
    shop.apply()
    return shop


def is_equal(shop: Shop, tape: Tape, data_type: str) -> Callable[[], bool]:
    return lambda: not tape.read() and tape.live() == rows(shop, data_type)


def difference(shop: Shop, tape: Tape, data_type: str) -> str:
    return f"is {tape.live()}, should be {rows(shop, data_type)}"


KEPT = (
    "type with using",
    "column with a default",
    "label renamed",
    "vacuum full",
    "one heir truncated",
    "deleted out of the publication",
    "swapped",
    "partition of partitions away and back",
    "partition made, filled and dropped",
    "partition made, filled, emptied while it was away, and back",
)


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=id, marks=() if id in KEPT else pytest.mark.slow) for id, case in CASES.items()]
)
@pytest.mark.parametrize("when", ["running", "behind", pytest.param("stopped", marks=pytest.mark.slow)])
def test_what_the_stream_does_not_tell_is_copied_again_alone(
    make_shop: MakeShop, looks: list[None], case: Case, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`behind`: the stream has yet to tell what happened to the same rows before."""
    shop = started(make_shop)
    tape, things = shop.tape(case.data_type), shop.tape("thing")
    name = case.data_type

    def copied() -> bool:
        return is_equal(shop, tape, name)() and len(things.events) == 50

    with shop.producing():
        tape.wait(lambda: not things.read() and copied(), lambda: difference(shop, tape, name))
        before = len(tape.events)
        if when != "stopped":
            with held(monkeypatch) if when == "behind" else nullcontext():
                if when == "behind":
                    before += 3 * len(rows(shop, name))
                    shop.execute(*[f"update {SOURCES[name]} set v = v || '.'"] * 3)
                shop.execute(*run(shop, case))
                seen = len(looks)
                tape.wait(lambda: len(looks) >= seen + 4 and not tape.read(), "four more looks at the source")
            settle(shop, tape, name, looks)
            last_of(things)
    if when == "stopped":
        shop.execute(*run(shop, case))
        with shop.producing():
            settle(shop, tape, name, looks)
            last_of(things)
    assert len(things.events) == 51, "the other data type is not copied again (one row of it was changed)"
    untouched = [id for id in rows(shop, name) if len(tape.events_of(id)) > 1]
    if not case.is_copied:
        assert len(tape.events) - before < 8, f"copied again without need: {untouched}"


def test_a_search_that_takes_long_counts_as_found(
    make_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream waits for it; another copy only costs time."""
    monkeypatch.setattr(tables, "_LONGEST_SEARCH", 100)
    with psycopg.connect(make_database(), autocommit=True) as session:
        assert tables._finds_row(session, sql.SQL("pg_sleep(60) p where p::text = 'x'"))
        assert not tables._finds_row(session, sql.SQL("pg_class where false"))


class _Between:
    """A session in whose look at the tables something happens, after the first query of the catalog."""

    def __init__(self, session: psycopg.Connection[tuple[object, ...]], happens: Callable[[], None]) -> None:
        self._session, self._happens = session, happens

    def execute(self, query: Any, *more: Any) -> Any:
        found = self._session.execute(query, *more)
        if "with recursive named" in str(query):
            self._happens()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def test_a_table_is_rewritten_while_it_is_looked_at(make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file of before and its columns of after, remembered together, would never show that it was rewritten."""
    shop = started(make_shop)
    tape, look, due = shop.tape("item"), SourceWatch.look, threading.Event()

    def alter() -> None:
        if due.is_set():
            due.clear()
            shop.execute("alter table items alter v type text using upper(v)")

    def looking(self: SourceWatch, session: psycopg.Connection[tuple[object, ...]]) -> None:
        look(self, cast("psycopg.Connection[tuple[object, ...]]", _Between(session, alter)))

    monkeypatch.setattr(SourceWatch, "look", looking)
    monkeypatch.setattr(open_source, "_LOOK_EVERY", 0.2)
    with shop.producing():
        tape.wait(is_equal(shop, tape, "item"), lambda: difference(shop, tape, "item"))
        due.set()
        tape.wait(lambda: not due.is_set() and not tape.read(), "the table is altered")
        tape.wait(is_equal(shop, tape, "item"), lambda: difference(shop, tape, "item"))


def run(shop: Shop, case: Case) -> list[str]:
    text = case.statements.format(slot=shop.slot)
    statements = []
    while "begin;" in text:  # one transaction is sent as one string
        head, _, rest = text.partition("begin;")
        inner, _, text = rest.partition("commit")
        statements += [each for each in head.split(";") if each.strip()]
        statements.append(inner)
        text = text.lstrip(";")
    return statements + [each for each in text.split(";") if each.strip()]


def last_of(things: Tape) -> None:
    """Until the one change of the other data type has come."""
    things.wait(lambda: not things.read() and len(things.events) >= 51, "the changed row of the other data type")


@contextmanager
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing arrives by any stream while this lasts, and nobody is woken by what would have arrived."""
    ended = threading.Event()

    def wait(_self: ReplicationStream, seconds: float, *others: int) -> bool:
        return is_readable(others[0], seconds, *others[1:]) if others else ended.wait(seconds)

    with monkeypatch.context() as patch:
        patch.setattr(ReplicationStream, "arrived", lambda _self: [])
        patch.setattr(ReplicationStream, "wait", wait)
        yield
    ended.set()


def settle(shop: Shop, tape: Tape, name: str, looks: list[None]) -> None:
    """Until everything of before is on the topic, and the producer has looked again twice."""
    seen = len(looks)
    shop.execute("update things set v = 'last' where id = 1")
    tape.wait(lambda: len(looks) >= seen + 2 and not tape.read(), "two more looks at the source")
    tape.wait(is_equal(shop, tape, name), lambda: difference(shop, tape, name))
