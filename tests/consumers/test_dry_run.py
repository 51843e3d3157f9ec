"""A dry run's actions are those of the delivery that follows it, whatever the records, and it changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sorbus.abilities import Preview
from sorbus.connector import BoundFlow, Delivery
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.dry_run import DryRunReads
from sorbus.errors import MustWait
from tests.consumers.gadgets import GADGET_WITH_LINES, Writer, flow_into, gadget, make_tables, opened

_CHILD = {"lines": {"table": "gadget_lines"}}
_RULES = ["", "value | upper", "value | truncate(3)", "value | replace('a', '')"]
_TABLES = """
drop table if exists gadget_lines, gadgets, sorbus_applied cascade;
create table gadgets (
    id varchar(3) primary key, name varchar(5) not null check (name <> 'bad'), note text unique{deferrable},
    price numeric(8, 1), made_on date, parent varchar(3) references gadgets{deferred}
);
create table gadget_lines (
    parent_id varchar(3) references gadgets on delete cascade, position integer, sku varchar(2), quantity integer
        check (quantity < 5), primary key (parent_id, position)
);
"""
_NAMES = st.sampled_from(["a", "abc", "abcd", "toolong", "bad", "Aa", ""])
_NOTES = st.one_of(st.none(), st.sampled_from(["x", "y", "z", "u", "a\0b"]))
_LINES = st.lists(
    st.fixed_dictionaries({"sku": st.sampled_from(["a", "bb", "ccc"]), "quantity": st.integers(1, 5)}), max_size=2
)
_RECORDS = st.builds(
    lambda name, note, price, lines: gadget(name, note=note, price=price, lines=lines),
    _NAMES,
    _NOTES,
    st.one_of(st.none(), st.decimals(0, 99, places=2)),
    _LINES,
)
_IDS = [f"g{number}" for number in range(8)] + ["long-id"]
_ROUNDS = st.lists(
    st.dictionaries(st.sampled_from(_IDS), st.one_of(st.none(), _RECORDS), max_size=8), min_size=1, max_size=3
)
Record = Mapping[str, object]


@pytest.mark.parametrize("examples", [8, pytest.param(100, marks=pytest.mark.slow)])
def test_a_dry_run_says_what_delivery_then_does(database: str, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        _ROUNDS,
        st.sampled_from(["hard", "soft", "ignore"]),
        st.tuples(st.sampled_from(_RULES), st.sampled_from(_RULES)),
        st.booleans(),
        st.integers(1, 9),
    )
    def check(
        rounds: list[dict[str, Record | None]], deletes: str, rules: tuple[str, str], later: bool, size: int
    ) -> None:
        _compare(database, rounds, deletes, rules, size, deferrable=later)

    check()


def _compare(
    dsn: str,
    rounds: list[dict[str, Record | None]],
    deletes: str,
    rules: tuple[str, str],
    size: int,
    *,
    deferrable: bool,
) -> None:
    own = " deferrable initially deferred" if deferrable else ""
    script = _TABLES.format(deferrable=own, deferred=own)
    rows = [("name", "gadgets.name", ""), ("note", "gadgets.note", ""), ("price", "gadgets.price", "")]
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(script)
        if deletes == "soft":
            connection.execute("alter table gadgets add sorbus_deleted_at timestamptz")
        writer, version = Writer(GADGET_WITH_LINES), 0
        for number, records in enumerate(rounds):
            rule = rules[number % 2]
            mapping = [(field, column, rule if field == "name" else made) for field, column, made in rows]
            flow = flow_into(
                dsn,
                schema=GADGET_WITH_LINES,
                deletes=deletes,
                rows=mapping,
                existing=True,
                children={"lines": {"table": "gadget_lines", "parent": "parent_id", "position": "position"}},
            )
            make_tables(flow)
            deliveries = [writer.delivery(id, version := version + 1, record) for id, record in records.items()]
            parts = [deliveries[at : at + size] for at in range(0, len(deliveries), size)]
            before = _content(connection)
            said = _dry_run(flow, parts)
            assert _content(connection) == before
            refused = _deliver(flow, parts)
            after = _content(connection)
            was = {one.id.decode(): _outcome(one, before, after, refused) for one in deliveries}
            assert {id: shown.action for id, shown in said.items()} == was, Counter(was.values())


def _dry_run(flow: BoundFlow, parts: list[list[Delivery]]) -> dict[str, Preview]:
    consumer = PostgresConsumer(flow)
    consumer.begin_dry_run(DryRunReads())
    try:
        return {
            one.id.decode(): shown
            for part in parts
            for one, shown in zip(part, consumer.preview_all(part), strict=True)
        }
    finally:
        consumer.close()


def _deliver(flow: BoundFlow, parts: list[list[Delivery]]) -> dict[str, str]:
    """What the deliveries' refusals would become."""
    consumer, refused = opened(flow), {}
    for part in parts:
        for one in consumer.apply(part, again=True):
            refused[part[one.place].id.decode()] = "wait" if isinstance(one.error, MustWait) else "refuse"
    consumer.close()
    return refused


def _content(connection: psycopg.Connection[tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    """Each row with its items, by id."""
    found = connection.execute(
        "select id, to_jsonb(g)::text, (select coalesce(jsonb_agg(to_jsonb(l) order by position), '[]')::text"
        " from gadget_lines l where parent_id = id) from gadgets g"
    ).fetchall()
    return {str(id): tuple(rest) for id, *rest in found}


def _outcome(
    one: Delivery,
    before: Mapping[str, tuple[object, ...]],
    after: Mapping[str, tuple[object, ...]],
    refused: Mapping[str, str],
) -> str:
    id = one.id.decode()
    if id in refused:
        return refused[id]
    if before.get(id) == after.get(id):
        return "nothing"
    if one.deleted:
        return "delete"
    return "update" if id in before else "create"
