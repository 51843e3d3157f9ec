"""Triggers of a target that change a row's key: no record's row goes to another one."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from sorbus.errors import TransientError
from tests.consumers.gadgets import Writer, gadget, opened
from tests.consumers.keyed_tables import keyed_flow, values_of


@pytest.mark.parametrize("column", ["id text primary key", "id integer primary key"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_key_that_a_trigger_changes_is_refused(make_database: Callable[[str], str], column: str, count: int) -> None:
    """Its delete would not find the row, which may be another record's."""
    dsn, flow = keyed_flow(make_database, column)
    with psycopg.connect(dsn) as session:
        session.execute(
            "create function lower_it() returns trigger language plpgsql as 'begin if new.name = ''skip'' then return"
            " null; end if; if new.id::text <> ''1'' then new.id := 7; end if; return new; end';"
            "create trigger lower_it before insert or update on gadgets for each row execute function lower_it()"
        )
    writer, consumer = Writer(), opened(flow)
    ids = ["7", "8", "9"][:count]
    refused = [*consumer.apply([writer.delivery("7", 1, gadget("A")), writer.delivery("1", 1, gadget("B"))])]
    assert refused == []
    refused = consumer.apply([writer.delivery(id, 2, gadget(f"C{id}")) for id in ids])
    assert [one.place for one in refused] == list(range(1, count))
    assert all("changes the row's key to '7'" in str(one.error) for one in refused)
    assert consumer.apply([writer.delivery("7", 3, gadget("skip"))]) == []
    consumer.close()
    assert values_of(dsn) == ["B", "C7"]


@pytest.mark.parametrize("when", ["insert", "update", "insert or update"])
@pytest.mark.parametrize("last", [1, 2])
def test_a_spelling_that_a_trigger_changes_gives_no_row_away(
    make_database: Callable[[str], str], when: str, last: int
) -> None:
    """The column takes both for one, so that only their texts tell what was done."""
    dsn, flow = keyed_flow(make_database, "id citext primary key")
    with psycopg.connect(dsn) as session:
        session.execute(
            "create function small() returns trigger language plpgsql as"
            " 'begin new.id := lower(new.id); return new; end';"
            f"create trigger small before {when} on gadgets for each row execute function small()"
        )
    writer, consumer = Writer(), opened(flow)
    one = [
        len(consumer.apply([writer.delivery("Ab", version, gadget(f"A{version}"))])) for version in range(1, last + 1)
    ]
    other = consumer.apply([writer.delivery("ab", 3, gadget("B"))])
    assert consumer.apply([writer.delivery("ef", 4, gadget("E"))]) == []
    consumer.close()
    names = values_of(dsn)
    assert ("A1" in names) + ("A2" in names) + ("B" in names) == 1, "a row is one record's"
    assert ("B" in names) == (other == []), "who is told nothing has the row"
    assert (f"A{last}" in names) == (one[-1] == 0)
    assert "E" in names


def test_a_trigger_that_comes_under_a_running_flow_is_noticed(make_database: Callable[[str], str]) -> None:
    dsn, flow = keyed_flow(make_database, "id integer primary key")
    writer, consumer = Writer(), opened(flow)
    assert consumer.apply([writer.delivery("7", 1, gadget("A"))]) == []
    with psycopg.connect(dsn) as session:
        session.execute(
            "create function seven() returns trigger language plpgsql as 'begin new.id := 7; return new; end';"
            "create trigger seven before insert on gadgets for each row execute function seven()"
        )
    with pytest.raises(TransientError):
        consumer.apply([writer.delivery("8", 1, gadget("B"))])
    consumer.open()
    assert [one.place for one in consumer.apply([writer.delivery("8", 1, gadget("B"))])] == [0]
    consumer.close()
    assert values_of(dsn) == ["A"]
