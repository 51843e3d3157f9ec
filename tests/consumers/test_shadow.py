"""Whatever happened to a live table, applying its shadow makes it what the events say: no more, no less."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.consumers.postgres.shadow import PostgresShadow
from tests.consumers.gadgets import GADGET_WITH_LINES, Writer, flow_into, gadget, make_tables

IDS = [f"g{n}" for n in range(8)]
THEIRS = """
create table gadgets (
    number int generated always as identity, id text primary key, name text not null check (length(name) < 20),
    note text, price numeric(14, 2), made_on date, theirs text not null default 'keep', made serial,
    long text generated always as (upper(name)) stored
);
create table gadget_lines (
    parent_id text references gadgets (id) on delete cascade, position int, sku text, quantity int
)
"""
Event = tuple[str, str | None, int]
"""Id, name (None: deleted), lines."""
events = st.lists(
    st.tuples(st.sampled_from(IDS), st.none() | st.sampled_from(["a", "b", "c"]), st.integers(0, 3)), max_size=14
)
DAMAGE = {
    "other value": "update gadgets set name = 'wrong' where id = '{id}'",
    "gone": "delete from gadget_lines where parent_id = '{id}'; delete from gadgets where id = '{id}'",
    "no lines": "delete from gadget_lines where parent_id = '{id}'",
    "wrong line": "update gadget_lines set sku = 'wrong' where parent_id = '{id}'",
    "null": "update gadgets set note = '' where id = '{id}'",
}
damages = st.lists(st.tuples(st.sampled_from(sorted(DAMAGE)), st.sampled_from(IDS)), max_size=8)


class Table:
    """A live table of one kind, with the writer of its events."""

    def __init__(self, dsn: str, *, existing: bool, deletes: str) -> None:
        self.deletes = deletes
        if existing:
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(THEIRS.encode())
        children = {"lines": {"table": "gadget_lines", "parent": "parent_id", "position": "position"}}
        self.flow = flow_into(
            dsn, schema=GADGET_WITH_LINES, deletes=deletes, children=children, existing=existing, key="id"
        )
        make_tables(self.flow)
        self.writer = Writer(GADGET_WITH_LINES)
        self.connection = psycopg.connect(dsn, autocommit=True)

    def deliver(self, consumer: PostgresConsumer, happened: Sequence[Event]) -> None:
        """Each event by itself, as a stream brings them; the version is its place."""
        for version, (id, name, lines) in enumerate(happened, start=1):
            record = None
            if name is not None:
                items = [{"sku": f"s{n}", "quantity": n} for n in range(lines)]
                record = gadget(name, lines=items)
            assert consumer.apply([self.writer.delivery(id, version, record)], again=True, alone=True) == []

    def rows(self) -> dict[str, tuple[object, ...]]:
        """Live records: name, note, lines."""
        live = " where sorbus_deleted_at is null" if self.deletes == "soft" else ""
        query = (
            "select id, name, note, (select array_agg(sku || quantity order by position) from gadget_lines l"
            f" where l.parent_id = g.id) from gadgets g{live}"
        )
        return {str(row[0]): row[1:] for row in self.connection.execute(query.encode()).fetchall()}


def expected(happened: Sequence[Event]) -> dict[str, tuple[object, ...]]:
    """What a ledger of the events says: the last one of each record counts."""
    last = {id: (name, lines) for id, name, lines in happened}
    return {
        id: (name, None, [f"s{n}{n}" for n in range(lines)] or None)
        for id, (name, lines) in last.items()
        if name is not None
    }


@pytest.fixture(scope="module", params=["ours-hard", "ours-soft", "theirs-hard"])
def table(request: pytest.FixtureRequest, new_database: Callable[[], str]) -> Table:
    kind, deletes = request.param.split("-")
    return Table(new_database(), existing=kind == "theirs", deletes=deletes)


Case = tuple[list[Event], int, list[tuple[str, str]]]
cases = st.tuples(events, st.integers(0, 5), damages)
quiet = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(case=cases)
@settings(quiet, max_examples=3)
def test_a_shadow_brings_a_damaged_table_to_what_the_events_say(table: Table, case: Case) -> None:
    _rebuild(table, *case)


@pytest.mark.slow
@given(case=cases)
@settings(quiet, max_examples=60)
def test_a_shadow_brings_any_damaged_table_to_what_the_events_say(table: Table, case: Case) -> None:
    _rebuild(table, *case)


def _rebuild(table: Table, happened: list[Event], missed: int, damaged: list[tuple[str, str]]) -> None:
    table.connection.execute("truncate gadgets cascade; truncate gadget_lines, sorbus_applied")
    live = PostgresConsumer(table.flow)
    with closing(live), closing(PostgresShadow(table.flow)) as shadow:
        live.open()
        table.deliver(live, happened[: max(0, len(happened) - missed)])
        for kind, id in damaged:
            table.connection.execute(DAMAGE[kind].format(id=id).encode())
        assert not shadow.prepare(keep=False)
        filling = PostgresConsumer.shadow_consumer(table.flow)
        with closing(filling):
            filling.open()
            assert isinstance(filling, PostgresConsumer)
            table.deliver(filling, happened)
        found = shadow.compare()
        done = shadow.apply(without=[], remove_extra=False)
        assert done.refused == []
        assert done.changed == found.to_apply
        assert table.rows() == expected(happened)
        proof = shadow.prove()
        assert proof.are_equal
        again = shadow.compare()
        assert (again.to_apply, again.extra, again.newer) == (0, 0, 0)
        shadow.drop()


def test_what_the_live_table_has_newer_or_alone_is_kept(new_database: Callable[[], str]) -> None:
    table = Table(new_database(), existing=True, deletes="hard")
    live = PostgresConsumer(table.flow)
    with closing(live), closing(PostgresShadow(table.flow)) as shadow:
        live.open()
        table.deliver(live, [("g1", "a", 0), ("g2", "b", 1), ("g3", "c", 0)])
        table.connection.execute("insert into gadgets (id, name, theirs) values ('own', 'own', 'mine')")
        shadow.prepare(keep=False)
        filling = PostgresConsumer.shadow_consumer(table.flow)
        with closing(filling):
            filling.open()
            assert isinstance(filling, PostgresConsumer)
            table.deliver(filling, [("g1", "old", 0)])
        live.apply([table.writer.delivery("g1", 9, gadget("new", lines=[]))])
        found = shadow.compare()
        assert (found.newer, found.extra, found.foreign, found.to_apply) == (1, 2, 1, 0)
        live.apply([table.writer.delivery("g3", 10, gadget("newer", lines=[]))])
        live.apply([table.writer.delivery("g5", 1, gadget("came", lines=[]))])
        found = shadow.compare(again=True)
        assert (found.newer, found.extra, found.foreign, found.to_apply) == (3, 1, 1, 0)
        live.apply([table.writer.delivery("g2", 11, gadget("late", lines=[]))])
        shadow.apply(without=[], remove_extra=True)
        assert {id: row[0] for id, row in table.rows().items()} == {
            "g1": "new",
            "g2": "late",
            "g3": "newer",
            "g5": "came",
            "own": "own",
        }
        assert table.connection.execute("select last_value from gadgets_made_seq").fetchone() == (8,)  # live inserts
        shadow.drop()


SPELLED = {
    "uuid": [f"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A1{n}" for n in range(5)],
    "integer": [f"00{n}" for n in range(5)],
    "char(8)": [f"g{n}" for n in range(5)],
    "numeric(10,2)": [f"{n}" for n in range(5)],
    "text": [f"g{n}" for n in range(5)],
}


@pytest.mark.parametrize("kind", SPELLED)
def test_the_guard_holds_where_the_key_column_spells_ids_in_its_own_way(
    new_database: Callable[[], str], kind: str
) -> None:
    dsn, ids, writer = new_database(), SPELLED[kind], Writer()
    with psycopg.connect(dsn, autocommit=True) as connection:
        columns = f"id {kind} primary key, name text, note text, price numeric(14, 2), made_on date"
        connection.execute(f"create table gadgets ({columns})".encode())
        flow = flow_into(dsn, existing=True)
        make_tables(flow)
        live = PostgresConsumer(flow)
        with closing(live), closing(PostgresShadow(flow)) as shadow:
            live.open()
            assert live.apply([writer.delivery(id, 1, gadget("a")) for id in ids]) == []
            connection.execute("update gadgets set name = 'wrong' where id = %s", (ids[1],))
            connection.execute("delete from gadgets where id = %s", (ids[2],))
            shadow.prepare(keep=False)
            filling = PostgresConsumer.shadow_consumer(flow)
            with closing(filling):
                filling.open()
                events = [writer.delivery(id, 1, gadget("a")) for id in ids[:4]]
                assert filling.apply(events, again=True, alone=True) == []
                assert filling.apply([writer.delivery(ids[3], 2, None)], again=True, alone=True) == []
            assert live.apply([writer.delivery(ids[0], 9, gadget("new"))]) == []
            found = shadow.compare()
            assert (found.newer, found.different, found.missing, found.deleted) == (1, 1, 1, 1)
            assert (found.extra, found.foreign) == (1, 0)
            assert shadow.apply(without=[ids[1]], remove_extra=True).changed == 3
            rows = connection.execute("select name from gadgets order by id").fetchall()
            assert rows == [("new",), ("wrong",), ("a",)]
            assert shadow.prove().records == 2
            assert live.apply([writer.delivery(ids[3], 2, gadget("of old"))]) == []
            assert connection.execute("select count(*) from gadgets").fetchall() == [(3,)]
            shadow.drop()
