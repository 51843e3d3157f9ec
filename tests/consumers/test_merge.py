"""The merge: whatever comes again, late, in other batches or from two consumers at once, the newest state stands."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sorbus.connector import Delivery
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.consumers.postgres.writing import Writing
from sorbus.errors import TransientError
from tests.consumers.gadgets import (
    GADGET,
    GADGET_WITH_LINES,
    Record,
    Writer,
    expected_state,
    flow_into,
    gadget,
    make_tables,
    opened,
    state_of,
)

Connection = psycopg.Connection[tuple[object, ...]]
EXISTING = "create table gadgets (id text primary key, name text, note text, price numeric(14,2), made_on date"
EXISTING_LINES = "create table gadget_lines (parent_id text not null, position int, sku text, quantity int);"
PATIENT = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Layout(NamedTuple):
    """A kind of target."""

    name: str
    existing: bool
    deletes: str
    lines: bool
    key: str = "text"
    partitioned: bool = False


LAYOUTS = [
    Layout("made by Sorbus", existing=False, deletes="hard", lines=False),
    Layout("made by Sorbus, with lines", existing=False, deletes="hard", lines=True),
    Layout("made by Sorbus, soft deletes", existing=False, deletes="soft", lines=False),
    Layout("existing", existing=True, deletes="hard", lines=False),
    Layout("existing, integer key, with lines", existing=True, deletes="hard", lines=True, key="integer"),
    Layout("existing, soft deletes", existing=True, deletes="soft", lines=False),
    Layout("existing, partitioned, with lines", existing=True, deletes="hard", lines=True, partitioned=True),
]
PARTITIONED = (
    " partition by hash (id); create table half partition of gadgets for values with (modulus 2, remainder 0);"
)
PARTITIONED += "create table other partition of gadgets for values with (modulus 2, remainder 1);"


class Target:
    """A target of one layout, emptied between examples; two consumers are ready to deliver to it."""

    def __init__(self, layout: Layout, dsn: str) -> None:
        self.layout = layout
        children = {"lines": {"table": "gadget_lines"}} if layout.lines else {}
        schema = GADGET_WITH_LINES if layout.lines else GADGET
        self.writer = Writer(schema)
        self.flow = flow_into(dsn, schema=schema, deletes=layout.deletes, existing=layout.existing, children=children)
        self.connection = psycopg.connect(dsn)
        if layout.existing:
            more = ", sorbus_deleted_at timestamptz" if layout.deletes == "soft" else ""
            end = PARTITIONED if layout.partitioned else ";"
            existing = EXISTING.replace("id text", f"id {layout.key}") + f"{more}){end}"
            lines = EXISTING_LINES.replace("parent_id text", f"parent_id {layout.key}")
            self.connection.execute((existing + (lines if layout.lines else "")).encode())
            self.connection.commit()
        make_tables(self.flow)
        self.consumers = [opened(self.flow), opened(self.flow)]

    def clear(self) -> None:
        """Begins anew, as if nothing had ever been delivered."""
        self.connection.execute("truncate gadgets, sorbus_applied")
        if self.layout.lines:
            self.connection.execute("truncate gadget_lines")
        self.connection.commit()

    def close(self) -> None:
        for consumer in self.consumers:
            consumer.close()
        self.connection.close()

    def must_hold(self, newest: dict[str, Record | None]) -> None:
        found = state_of(self.connection, soft=self.layout.deletes == "soft", lines=self.layout.lines)
        assert found == expected_state(newest, lines=self.layout.lines)


@pytest.fixture(scope="module", params=LAYOUTS, ids=lambda layout: layout.name)
def target(request: pytest.FixtureRequest, new_database: Callable[[], str]) -> Iterator[Target]:
    made = Target(request.param, new_database())
    yield made
    made.close()


PRICES = st.builds(lambda n: Decimal(n).scaleb(-2), st.integers(-(10**13), 10**13))
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


class Batch(NamedTuple):
    """Of (id, version), and how it is applied; `few`: the most records that are given as arrays, and not by COPY."""

    coming: list[tuple[str, int]]
    again: bool
    alone: bool
    few: int


class Told(NamedTuple):
    """A history, and how it is told."""

    history: dict[str, dict[int, Record | None]]
    batches: list[Batch]

    @property
    def newest(self) -> dict[str, Record | None]:
        return {id: versions[max(versions)] for id, versions in self.history.items()}


@st.composite
def told(draw: st.DrawFn) -> Told:
    """Records with versions (states, deletes, re-creations); each newest comes at least once, the others as they may,
    in any order, as often as they like.
    """
    history: dict[str, dict[int, Record | None]] = {}
    version = 0
    for number in range(draw(st.integers(1, 5))):
        states: dict[int, Record | None] = {}
        for _ in range(draw(st.integers(1, 5))):
            version += draw(st.integers(1, 3))
            if draw(st.integers(0, 2)) == 0:
                states[version] = None
                continue
            lines = draw(st.lists(st.integers(1, 9), max_size=3))
            states[version] = gadget(
                draw(WORDS),
                note=draw(st.none() | WORDS),
                price=draw(st.none() | PRICES),
                made_on=draw(st.none() | st.dates(date(1, 1, 1))),
                lines=[{"sku": f"s{place}", "quantity": count} for place, count in enumerate(lines)],
            )
        history[str(number + 1)] = states
    every = [(id, number) for id, states in history.items() for number in states]
    coming = draw(st.lists(st.sampled_from(every), max_size=14))
    coming = draw(st.permutations([*coming, *((id, max(states)) for id, states in history.items())]))
    batches: list[Batch] = []
    while coming:
        size = draw(st.integers(1, len(coming)))
        few = draw(st.sampled_from([0, 100]))
        batches.append(Batch(list(coming[:size]), draw(st.booleans()), draw(st.booleans()), few))
        coming = coming[size:]
    return Told(history, batches)


def deliveries(target: Target, story: Told, batch: Sequence[tuple[str, int]]) -> list[Delivery]:
    """A batch as the intake makes it: the newest of each record."""
    newest: dict[str, int] = {}
    for id, version in batch:
        newest[id] = max(version, newest.get(id, 0))
    return [target.writer.delivery(id, version, story.history[id][version]) for id, version in newest.items()]


class Ledger:
    """What a target does with deliveries, by what was delivered before."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._versions: dict[bytes, int] = {}
        self._rows: set[bytes] = set()

    def expected(self, given: Sequence[Delivery], *, again: bool) -> Counter[str]:
        counts: Counter[str] = Counter()
        for one in given:
            before = self._versions.get(one.id, 0)
            is_newer = one.version > before or (again and one.version == before)
            there = one.id in self._rows
            if not is_newer or (one.deleted and not there):
                counts["skipped"] += 1
            elif one.deleted:
                counts["deleted"] += 1
                self._rows -= {one.id} if self._layout.deletes == "hard" else set()
            else:
                counts["written" if self._layout.partitioned else "updated" if there else "created"] += 1
                self._rows.add(one.id)
            self._versions[one.id] = max(before, one.version)
        return counts


@given(story=told())
@PATIENT
def test_any_order_of_redeliveries_deletes_and_replays_ends_in_the_newest_state(target: Target, story: Told) -> None:
    target.clear()
    ledger = Ledger(target.layout)
    for batch in story.batches:
        given = deliveries(target, story, batch.coming)
        writing_of(target.consumers[0]).few = batch.few
        assert target.consumers[0].apply(given, again=batch.again, alone=batch.alone) == []
        outcomes = target.consumers[0].take_outcomes()
        assert {name: count for name, count in outcomes.items() if count} == ledger.expected(given, again=batch.again)
    target.must_hold(story.newest)


@given(story=told())
@settings(PATIENT, max_examples=15)
def test_two_consumers_at_once_end_in_the_newest_state(target: Target, story: Told) -> None:
    target.clear()
    faults: list[BaseException] = []

    def deliver(consumer: PostgresConsumer, part: Sequence[Batch]) -> None:
        try:
            for batch in part:
                persistently(consumer, deliveries(target, story, batch.coming), batch)
        except BaseException as error:  # noqa: BLE001 - shown by the test itself
            faults.append(error)

    threads = [
        threading.Thread(target=deliver, args=(consumer, story.batches[place::2]))
        for place, consumer in enumerate(target.consumers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "a consumer didn't finish within 30 s"
    assert faults == []
    target.must_hold(story.newest)


def writing_of(consumer: PostgresConsumer) -> Writing:
    assert consumer._target is not None
    return consumer._target.writing


def persistently(consumer: PostgresConsumer, given: Sequence[Delivery], batch: Batch) -> None:
    """As the loop does it: a deadlock with the other one is tried again."""
    for _ in range(20):
        writing_of(consumer).few = batch.few
        try:
            assert consumer.apply(given, again=batch.again, alone=batch.alone) == []
            return
        except TransientError:
            consumer.close()
            consumer.open()
    raise AssertionError("twenty transient errors in a row")


def test_a_delete_waits_for_an_older_state_that_another_consumer_is_just_writing(target: Target) -> None:
    """A member that lost its partition in the middle of a transaction must not bring a deleted record back."""
    target.clear()
    old = target.writer.delivery("1", 5, gadget("old", lines=[{"sku": "a", "quantity": 1}]))
    gone = target.writer.delivery("1", 6, None)
    with psycopg.connect(target.connection.info.dsn, autocommit=True) as gate:
        delete_during_write(gate, lambda: target.consumers[0].apply([old]), lambda: target.consumers[1].apply([gone]))
    target.must_hold({"1": None})


def delete_during_write(gate: Connection, write: Callable[[], object], delete: Callable[[], object]) -> None:
    """The delete begins while the insert of the same record into `gadgets` is held in its transaction."""
    gate.execute("select pg_advisory_lock(4711)")
    gate.execute(
        "create function hold() returns trigger language plpgsql as"
        " 'begin perform pg_advisory_xact_lock(4711); return null; end'"
    )
    gate.execute("create trigger hold after insert on gadgets for each statement execute function hold()")
    try:
        writing = threading.Thread(target=write)
        writing.start()
        held = (
            "select 1 from pg_locks join pg_database d on d.oid = database and datname = current_database()"
            " where locktype = 'advisory' and objid = 4711 and not granted"
        )
        wait_for(gate, held, "insert")
        deleting = threading.Thread(target=delete)
        deleting.start()
        # It either waits for the other one (a lock not granted) or, wrongly, is done.
        deadline = time.monotonic() + 20
        while deleting.is_alive() and len(waiting(gate)) < 2:
            assert time.monotonic() < deadline, "the delete neither waits nor ends"
        gate.execute("select pg_advisory_unlock(4711)")
        writing.join(20)
        deleting.join(20)
    finally:
        gate.execute("drop function hold() cascade")


def waiting(connection: Connection) -> list[tuple[object, ...]]:
    return connection.execute(
        "select pid from pg_locks l join pg_database d on d.oid = l.database"
        " where not granted and d.datname = current_database() union"
        " select pid from pg_stat_activity where wait_event = 'transactionid' and datname = current_database()"
    ).fetchall()


def wait_for(connection: Connection, query: str, missing: str) -> None:
    deadline = time.monotonic() + 20
    while connection.execute(query.encode()).fetchone() is None:
        assert time.monotonic() < deadline, f"still waiting for the {missing}"


def test_an_emptied_target_is_rebuilt_by_a_replay_and_by_nothing_else(target: Target) -> None:
    target.clear()
    newest: dict[str, Record | None] = {
        str(n): gadget(f"n{n}", lines=[{"sku": "a", "quantity": n}]) for n in range(1, 30)
    }
    batch = [target.writer.delivery(id, 7, record) for id, record in newest.items()]
    consumer = target.consumers[0]
    assert consumer.apply(batch) == []
    target.must_hold(newest)
    target.connection.execute("truncate gadgets")
    if target.layout.lines:
        target.connection.execute("truncate gadget_lines")
    target.connection.commit()
    assert consumer.apply(batch, again=True, alone=True) == []
    target.must_hold(newest)


def test_a_soft_delete_keeps_the_row_and_its_first_moment(target: Target) -> None:
    if target.layout.deletes != "soft":
        pytest.skip("hard deletes")
    target.clear()
    consumer = target.consumers[0]
    query = "select name, sorbus_deleted_at from gadgets"
    consumer.apply([target.writer.delivery("1", 1, gadget("kept"))])
    consumer.apply([target.writer.delivery("1", 2, None)])
    first = target.connection.execute(query).fetchall()
    target.connection.rollback()
    consumer.apply([target.writer.delivery("1", 2, None)], again=True)
    assert target.connection.execute(query).fetchall() == first
    assert first[0][0] == "kept"
    target.connection.rollback()
    consumer.apply([target.writer.delivery("1", 3, gadget("back"))])
    target.must_hold({"1": gadget("back")})
