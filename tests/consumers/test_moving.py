"""Unique values that move between records land, however they are told; the version guard holds all the while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from typing import NamedTuple

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sorbus.connector import Delivery
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.errors import MustWait
from tests.consumers.gadgets import TODAY, Record, Writer, flow_into, gadget, make_tables, opened

BASE = "id {key} primary key, name text not null, note text, price numeric, made_on date"
LAYOUTS = {
    "not null": f"create table gadgets ({BASE}, unique (name));",
    "short": "create table gadgets (id text primary key, name varchar(12) not null unique, note text, price numeric,"
    " made_on date);",
    "nullable": f"create table gadgets ({BASE}, unique (note));",
    "nulls not distinct": f"create table gadgets ({BASE}, unique nulls not distinct (note, name));",
    "two of them": f"create table gadgets ({BASE}, unique (note), unique (name));",
    "together": f"create table gadgets ({BASE}, unique (name, note));",
    "expression": f"create table gadgets ({BASE}); create unique index on gadgets (lower(name));",
    "partial": f"create table gadgets ({BASE}); create unique index on gadgets (name) where note is not null;",
    "generated": f"create table gadgets ({BASE}, code text generated always as (lower(name)) stored unique);",
    "deferrable": f"create table gadgets ({BASE}, unique (name) deferrable);",
    "deferred": f"create table gadgets ({BASE}, unique (name) deferrable initially deferred);",
    "exclusion": f"create table gadgets ({BASE}, exclude using btree (name with =));",
    "range": f"create table gadgets ({BASE}, exclude using gist (daterange(made_on, made_on + 1) with &&));",
    "referred to": f"create table gadgets ({BASE}, unique (name));"
    " create table uses (gadget text references gadgets on delete cascade, kept text default 'kept');",
    "integer key": f"create table gadgets ({BASE.replace('{key}', 'integer')}, unique (name));",
    "other columns": f"create table gadgets ({BASE}, remark text not null default 'of the owner', unique (name));",
}
PATIENT = settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


class Target:
    """A table of one layout, emptied between examples."""

    def __init__(self, dsn: str, layout: str, *, made: bool = False) -> None:
        self.connection = psycopg.connect(dsn, autocommit=True)
        if not made:
            self.connection.execute(LAYOUTS[layout].replace("{key}", "text").encode())
        self.flow = flow_into(dsn, existing=not made)
        make_tables(self.flow)
        if made:
            self.connection.execute("alter table gadgets add unique (name)")
        self.has_kept = "uses" in LAYOUTS.get(layout, "")
        self.consumer, self.writer = opened(self.flow), Writer()

    def clear(self) -> None:
        self.connection.execute("truncate gadgets cascade; truncate sorbus_applied")

    def rows(self) -> dict[str, tuple[object, object]]:
        found = self.connection.execute("select id::text, name, note from gadgets").fetchall()
        return {str(id): (name, note) for id, name, note in found}

    def land(self, batches: list[list[Delivery]]) -> None:
        """As the loop does it: what must wait is tried again with what comes next, and then by itself."""
        waiting: dict[bytes, Delivery] = {}
        for batch in [*batches, *([[]] * 6)]:
            newest = {**waiting, **{one.id: one for one in batch}}
            for id, one in waiting.items():
                if newest[id].version < one.version:
                    newest[id] = one
            all_of_it = list(newest.values())
            refusals = self.consumer.apply(all_of_it, alone=bool(waiting))
            assert all(isinstance(refusal.error, MustWait) for refusal in refusals), refusals
            waiting = {all_of_it[refusal.place].id: all_of_it[refusal.place] for refusal in refusals}
        assert waiting == {}

    def close(self) -> None:
        self.consumer.close()
        self.connection.close()


@pytest.fixture(scope="module", params=[*LAYOUTS, "made by Sorbus"])
def target(request: pytest.FixtureRequest, new_database: Callable[[], str]) -> Iterator[Target]:
    made = Target(new_database(), request.param, made=request.param == "made by Sorbus")
    yield made
    made.close()


class Story(NamedTuple):
    """States of records in which a value is one record's at any time: before, after, how it is told, what is late."""

    before: dict[str, str]
    after: dict[str, str]
    cuts: list[int]
    order: list[str]
    late: list[str]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    ids = [str(n) for n in range(1, draw(st.integers(2, 7)) + 1)]
    values = [f"v{'x' * n}" for n in range(len(ids) + 2)]
    before = dict(zip(ids, draw(st.permutations(values)), strict=False))
    kept = draw(st.lists(st.sampled_from([*ids, "98", "99"]), unique=True, min_size=1))
    after = dict(zip(kept, draw(st.permutations(values)), strict=False))
    order = draw(st.permutations(sorted({*before, *after})))
    cuts = draw(st.lists(st.integers(1, len(order)), max_size=2))
    return Story(before, after, sorted(cuts), list(order), draw(st.lists(st.sampled_from(ids), max_size=3)))


def record(value: str) -> Record:
    return gadget(value, note=value, made_on=TODAY + timedelta(days=len(value)))


@given(story=stories())
@PATIENT
def test_any_move_of_values_between_records_lands(target: Target, story: Story) -> None:
    target.clear()
    writer = target.writer
    target.land([[writer.delivery(id, 10, record(value)) for id, value in story.before.items()]])
    if target.has_kept:
        target.connection.execute("insert into uses (gadget) select id from gadgets")
    events = [writer.delivery(id, 20, record(story.after[id]) if id in story.after else None) for id in story.order]
    events_at = [0, *story.cuts, len(events)]
    batches = [events[start:end] for start, end in pairwise(events_at)]
    late = [writer.delivery(id, 5, record("of old")) for id in dict.fromkeys(story.late)]
    batches[-1] = [*batches[-1], *(one for one in late if one.id not in {each.id for each in batches[-1]})]
    target.land(batches)
    assert target.rows() == {id: (value, value) for id, value in story.after.items()}
    if target.has_kept:
        kept = target.connection.execute("select gadget from uses where kept = 'kept'").fetchall()
        assert {str(id) for (id,) in kept} == story.before.keys() & story.after.keys()


SWAP = {"1": "b", "2": "a", "3": "c"}


def swapping(make_database: Callable[[str], str], more: str) -> tuple[Target, PostgresConsumer]:
    target = Target(make_database(""), "not null")
    target.land([[target.writer.delivery(id, 1, record(id2)) for id, id2 in {"1": "a", "2": "b", "3": "c"}.items()]])
    target.connection.execute(more.encode())
    target.consumer.close()
    target.consumer.open()
    return target, target.consumer


def test_a_swap_lands_beside_a_value_that_a_row_of_nobody_holds(make_database: Callable[[str], str]) -> None:
    target, consumer = swapping(make_database, "insert into gadgets values ('owner', 'taken')")
    batch = [target.writer.delivery(id, 2, record(value)) for id, value in SWAP.items()]
    batch.insert(1, target.writer.delivery("4", 2, record("taken")))
    (refusal,) = consumer.apply(batch)
    assert refusal.place == 1
    assert isinstance(refusal.error, MustWait)
    assert refusal.error.refused is not None
    assert refusal.error.refused.reason == "UniqueViolation"
    assert {id: name for id, (name, _) in target.rows().items()} == {**SWAP, "owner": "taken"}
    target.close()


def test_a_write_that_the_owners_trigger_skips_leaves_no_placeholder(
    make_database: Callable[[str], str],
) -> None:
    target, consumer = swapping(
        make_database,
        "create function skip() returns trigger language plpgsql as"
        " $$ begin if new.id = '3' and new.name = 'z' then return null; end if; return new; end $$;"
        "create trigger skip before update on gadgets for each row execute function skip()",
    )
    batch = [target.writer.delivery(id, 2, record(value)) for id, value in {**SWAP, "3": "z"}.items()]
    assert consumer.apply(batch) == []
    assert {id: name for id, (name, _) in target.rows().items()} == {"1": "b", "2": "a", "3": "c"}
    target.close()


def test_where_placeholders_are_refused_the_records_wait(
    make_database: Callable[[str], str],
) -> None:
    target, consumer = swapping(make_database, "alter table gadgets add check (name ~ '^[a-z]$')")
    batch = [target.writer.delivery(id, 2, record(value)) for id, value in SWAP.items()]
    refusals = consumer.apply(batch)
    assert sorted(refusal.place for refusal in refusals) == [0, 1]
    assert all(isinstance(refusal.error, MustWait) for refusal in refusals)
    assert {id: name for id, (name, _) in target.rows().items()} == {"1": "a", "2": "b", "3": "c"}
    target.close()


def test_a_swap_lands_beside_a_record_that_refers_to_nobody(make_database: Callable[[str], str]) -> None:
    """Its deferred foreign key fails the transaction at its end: the two that swap mustn't be told apart for it."""
    target, consumer = swapping(
        make_database,
        "create table makers (name text primary key); alter table gadgets add foreign key (note) references makers"
        " deferrable initially deferred not valid",
    )
    target.connection.execute("insert into makers values ('m')")
    wanted = {"1": ("b", "m"), "3": ("c", "nobody"), "2": ("a", "m")}
    batch = [target.writer.delivery(id, 2, gadget(name, note=note)) for id, (name, note) in wanted.items()]
    (refusal,) = consumer.apply(batch)
    assert refusal.place == 1
    assert isinstance(refusal.error, MustWait)
    assert {id: name for id, (name, _) in target.rows().items()} == SWAP
    target.close()
