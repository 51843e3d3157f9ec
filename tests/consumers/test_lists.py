"""A list in a table of its own: it ends as the record has it, and what did not change is not written again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from sorbus.consumers.mysql.options import MysqlTarget
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.consumers.postgres.options import PostgresTarget
from tests.consumers.gadgets import GADGET_WITH_LINES, Writer, flow_into, gadget, make_tables, opened

TABLES = """
create table gadgets (id text primary key, name text, note text, price numeric(14,2), made_on date);
create table gadget_lines (gadget_id text not null, position int, sku text, quantity int)
"""
COUNT = """
create table written (gadget text, op text);
create function note_it() returns trigger language plpgsql as $$
begin
  insert into written select coalesce(new.gadget_id, old.gadget_id), tg_op;
  return null;
end $$;
create trigger count after insert or update or delete on gadget_lines for each row execute function note_it();
"""
Line = tuple[str, int]
LISTS = st.lists(st.tuples(st.sampled_from(["a", "b", "ä", ""]), st.integers(0, 2)), max_size=6)


class Target(NamedTuple):
    dsn: str
    connection: psycopg.Connection[tuple[object, ...]]
    consumer: PostgresConsumer
    is_ours: bool

    def bring(self, version: int, **lists: list[Line]) -> None:
        writer = Writer(GADGET_WITH_LINES)
        records = {
            id: gadget(id, lines=[{"sku": sku, "quantity": quantity} for sku, quantity in lines])
            for id, lines in lists.items()
        }
        assert self.consumer.apply([writer.delivery(id, version, record) for id, record in records.items()]) == []

    def lines(self, id: str) -> list[tuple[object, ...]]:
        return self.connection.execute(
            "select position, sku, quantity from gadget_lines where gadget_id = %s order by position", [id]
        ).fetchall()

    def written(self) -> list[tuple[object, ...]]:
        """(Record, operation, rows) since it was last asked."""
        rows = self.connection.execute(
            "select gadget, op, count(*) from written group by 1, 2 order by 1, 2"
        ).fetchall()
        self.connection.execute("truncate written")
        return rows


@pytest.fixture(scope="module", params=["made by Sorbus", "existing"])
def target(request: pytest.FixtureRequest, new_database: Callable[[], str]) -> Iterator[Target]:
    dsn, is_ours = str(new_database()), request.param != "existing"
    with psycopg.connect(dsn, autocommit=True) as connection:
        if not is_ours:
            connection.execute(TABLES.encode())
        children = {"lines": {"table": "gadget_lines", "parent": "gadget_id"}}
        flow = flow_into(dsn, schema=GADGET_WITH_LINES, children=children, existing=not is_ours)
        make_tables(flow)
        connection.execute(COUNT.encode())
        consumer = opened(flow)
        yield Target(dsn, connection, consumer, is_ours)
        consumer.close()


def staged(lines: list[Line]) -> list[tuple[object, ...]]:
    return [(place, *line) for place, line in enumerate(lines, 1)]


def test_one_line_of_many_is_one_row_written(target: Target) -> None:
    lines = [(f"sku{n}", n) for n in range(2000)]
    target.bring(1, long=lines)
    target.written()
    lines[777] = ("other", 1)
    target.bring(2, long=lines)
    assert target.lines("long") == staged(lines)
    assert target.written() == [("long", "DELETE", 1), ("long", "INSERT", 1)]
    target.bring(3, long=lines)
    assert target.written() == []
    target.bring(4, long=[])
    assert target.lines("long") == []


@given(states=st.lists(st.tuples(LISTS, LISTS), min_size=2, max_size=5))
@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_lists_end_as_the_record_has_them_and_only_places_that_differ_are_written(
    target: Target, states: list[tuple[list[Line], list[Line]]]
) -> None:
    target.connection.execute("truncate gadgets, gadget_lines, written")
    if not target.is_ours:
        target.connection.execute("truncate sorbus_applied")
    before: dict[str, list[Line]] = {"one": [], "other": []}
    for version, (one, other) in enumerate(states, 1):
        now = {"one": one, "other": other}
        target.bring(version, **now)
        expected = []
        for id, lines in now.items():
            assert target.lines(id) == staged(lines)
            kept = sum(old == new for old, new in zip(before[id], lines, strict=False))
            for op, rows in (("DELETE", len(before[id]) - kept), ("INSERT", len(lines) - kept)):
                if rows:
                    expected.append((id, op, rows))
        assert target.written() == expected
        before = now


def test_a_delete_takes_the_lines_of_a_record_whose_row_a_person_removed(target: Target) -> None:
    target.bring(1, removed=[("a", 1), ("b", 2)], kept=[("c", 3)], newer=[("d", 4)])
    target.bring(3, newer=[("e", 5)])
    target.connection.execute("delete from gadgets where id = 'removed'")
    writer = Writer(GADGET_WITH_LINES)
    deletes = [writer.delivery(id, 2, None) for id in ("removed", "newer")]
    assert target.consumer.apply(deletes) == []
    assert target.lines("removed") == []
    assert target.lines("kept") == staged([("c", 3)])
    assert target.lines("newer") == staged([("e", 5)])


def test_what_somebody_changed_in_a_list_is_put_right_by_a_replay(target: Target) -> None:
    target.bring(1, torn=[("a", 1), ("b", 2), ("c", 3)])
    target.connection.execute("update gadget_lines set quantity = 9 where gadget_id = 'torn' and sku = 'b'")
    target.connection.execute("delete from gadget_lines where gadget_id = 'torn' and sku = 'c'")
    target.connection.execute("insert into gadget_lines values ('torn', 17, 'more', 1)")
    if not target.is_ours:  # nothing keeps a second row out of a place, or one without
        target.connection.execute("insert into gadget_lines values ('torn', 1, 'a', 1), ('torn', null, 'a', 1)")
    writer = Writer(GADGET_WITH_LINES)
    lines = [{"sku": sku, "quantity": quantity} for sku, quantity in (("a", 1), ("b", 2), ("c", 3))]
    assert target.consumer.apply([writer.delivery("torn", 1, gadget("torn", lines=lines))], again=True) == []
    assert target.lines("torn") == staged([("a", 1), ("b", 2), ("c", 3)])


def test_a_delete_takes_the_lines_before_the_row_that_they_refer_to(target: Target) -> None:
    target.bring(1, ended=[("a", 1)], longer=[("b", 2)])
    target.bring(3, longer=[("c", 3)])
    target.connection.execute("alter table gadget_lines add constraint f foreign key (gadget_id) references gadgets")
    target.consumer.take_outcomes()
    writer = Writer(GADGET_WITH_LINES)
    assert target.consumer.apply([writer.delivery(id, 2, None) for id in ("ended", "longer")]) == []
    target.connection.execute("alter table gadget_lines drop constraint f")
    assert target.consumer.take_outcomes()["deleted"] == 1
    assert target.lines("ended") == []
    assert target.lines("longer") == staged([("c", 3)])


@pytest.mark.parametrize("target", [PostgresTarget, MysqlTarget])
def test_items_without_a_place_go_into_existing_tables_alone(target: type[BaseModel]) -> None:
    """Those that Sorbus makes have one in their key; a map that had none was applied, and delivered nothing."""
    children = {"lines": {"table": "lines", "position": None}}
    with pytest.raises(ValidationError, match="position: null is for existing tables"):
        target.model_validate({"table": "orders", "children": children})
    target.model_validate({"table": "orders", "children": children, "existing": True})
