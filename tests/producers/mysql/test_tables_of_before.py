"""Tables that were otherwise when the log's changes were made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sorbus.conformance.in_memory_bus import InMemoryBus
from sorbus.conformance.sample_type import NAME
from sorbus.producers.mysql import producer, snapshot, snapshot_point
from tests.producers.mysql.test_hard_cases import CASCADES, THINGS, run, shop, thing, until

__all__ = ["shop"]
pytestmark = pytest.mark.slow
KEYED = (
    "create table thing (n int primary key, id varchar(40) not null, name varchar(100) not null, count bigint,"
    " unique key u (id))"
)


@pytest.mark.parametrize(
    ("gone", "back"),
    [
        ("alter table thing drop key u", "alter table thing add unique key u (id)"),
        ("drop index u on thing", "create unique index u on thing (id)"),
    ],
)
def test_a_key_that_was_not_unique_for_a_while(shop: Callable[..., InMemoryBus], gone: str, back: str) -> None:
    tape = shop(KEYED, "insert into thing values (1, 'a', 'one', 1), (3, 'c', 'three', 3)", key=["id"])
    until(tape, a=thing("one", 1), c=thing("three", 3))
    tape.crash()
    run(
        tape,
        gone,
        "insert into thing values (2, 'a', 'two', 2)",
        "delete from thing where n = 1",
        back,
        "insert into thing values (4, 'd', 'four', 4)",
    )
    until(tape, a=thing("two", 2), c=thing("three", 3), d=thing("four", 4))


def test_a_primary_key_that_was_not_there_for_a_while(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop(THINGS, "insert into thing values ('a', 'one', 1), ('c', 'three', 3)")
    until(tape, a=thing("one", 1), c=thing("three", 3))
    tape.crash()
    run(
        tape,
        "alter table thing drop primary key",
        "insert into thing values ('a', 'two', 2)",
        "delete from thing where name = 'one'",
        "alter table thing add primary key (id)",
        "insert into thing values ('d', 'four', 4)",
    )
    until(tape, a=thing("two", 2), c=thing("three", 3), d=thing("four", 4))


@pytest.mark.parametrize(
    "what",
    [
        "alter table thing modify extra int not null default 3, algorithm=copy",
        "alter table thing force",
        "truncate table thing; insert into thing (id, name) values ('z', 'z')",
        "alter table thing add other int default 5",
        "optimize table thing",
    ],
)
def test_a_table_is_rewritten_between_a_snapshot_and_its_reading(
    shop: Callable[..., InMemoryBus], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    tape = shop(
        "create table thing (id varchar(40) primary key, name varchar(100) not null, count bigint, extra int)",
        "insert into thing values ('a', 'one', 1, 1), ('c', 'three', 3, 1)",
    )
    real, done = snapshot_point.begin_snapshot, list[None]()

    def begin(*given: Any) -> Any:
        found = real(*given)
        if not done:
            done.append(None)
            run(tape, *what.split(";"))
        return found

    monkeypatch.setattr(snapshot, "begin_snapshot", begin)
    if "truncate" in what:
        until(tape, z=thing("z"))
    else:
        until(tape, a=thing("one", 1), c=thing("three", 3))


def test_a_table_is_rewritten_between_a_read_and_its_snapshot(
    shop: Callable[..., InMemoryBus], monkeypatch: pytest.MonkeyPatch
) -> None:
    tape = shop(
        "create table thing (id varchar(40) primary key, name varchar(100) not null, count bigint, extra int)",
        "insert into thing values ('a', 'one', 1, 1), ('c', 'three', 3, 1)",
    )
    until(tape, a=thing("one", 1), c=thing("three", 3))
    real, done = snapshot_point.begin_after, list[None]()

    def begin(*given: Any) -> Any:
        found = real(*given)
        if not done:
            done.append(None)
            run(tape, "alter table thing force")
        return found

    monkeypatch.setattr(producer, "begin_after", begin)
    events = len(tape.events)
    tape.producer().reread(NAME, [b"a", b"c"])  # type: ignore[attr-defined]
    tape.until(lambda: len(tape.events) >= events + 2, lambda: "not read")
    until(tape, a=thing("one", 1), c=thing("three", 3))


def test_a_table_between_is_dropped(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop(*CASCADES)
    until(tape, a=thing("a", 1), b=thing("b", 2), c=thing("c", 3))
    tape.crash()
    run(
        tape,
        "delete from holder where id = 1",
        "set foreign_key_checks = 0",
        "drop table parent",
        "insert into thing values ('d', 'd', 4, null)",
    )
    until(tape, b=thing("b", 2), c=thing("c", 3), d=thing("d", 4))


@pytest.mark.parametrize("how", ["rename table parent to other", "alter table parent rename to other"])
def test_a_parent_is_renamed(shop: Callable[..., InMemoryBus], how: str) -> None:
    tape = shop(
        "create table parent (id int primary key)",
        "create table thing (id varchar(40) primary key, name varchar(100) not null, count bigint, parent int,"
        " foreign key (parent) references parent(id) on delete cascade)",
        "insert into parent values (1), (2)",
        "insert into thing values ('a', 'a', 1, 1), ('b', 'b', 2, 2), ('c', 'c', 3, null)",
    )
    until(tape, a=thing("a", 1), b=thing("b", 2), c=thing("c", 3))
    tape.crash()
    run(tape, "delete from parent where id = 1", how, "insert into thing values ('d', 'd', 4, null)")
    until(tape, b=thing("b", 2), c=thing("c", 3), d=thing("d", 4))


def test_rows_that_a_new_key_does_not_fit_are_ignored_away(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop(THINGS, "insert into thing values ('a', 'one', 1), ('b', 'one', 2), ('c', 'three', 3)")
    until(tape, a=thing("one", 1), b=thing("one", 2), c=thing("three", 3))
    run(tape, "alter ignore table thing add unique key (name)", "insert into thing values ('d', 'four', 4)")
    until(tape, a=thing("one", 1), c=thing("three", 3), d=thing("four", 4))


def test_a_table_is_altered_between_a_look_at_it_and_the_first_snapshot(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop(
        "create table thing (id varchar(40) primary key, name varchar(100) not null, count bit(16))",
        "insert into thing values ('a', 'a', 49)",
    )
    tape.producer()
    run(tape, "alter table thing modify count varchar(9)")
    until(tape, a=thing("a", 49))
