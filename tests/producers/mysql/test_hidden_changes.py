"""Changes that are easily overlooked in the log, or come to it before they can be seen in the tables."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from sorbus.conformance.in_memory_bus import InMemoryBus
from sorbus.conformance.sample_type import NAME
from sorbus.connector import Position
from sorbus.errors import MapError
from sorbus.producers.mysql.producer import MysqlProducer
from tests.mariadb import Mariadb
from tests.producers.mysql.test_hard_cases import THINGS, Shop, read_on, run, shop, thing, until

__all__ = ["shop"]
pytestmark = pytest.mark.slow
OTHER_COUNTS = "alter table thing drop column count, add column count bigint default 7"
"""The same table as before, with other values."""


def test_a_table_that_replaces_another(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop()
    run(tape, "insert into thing values ('a', 'a', 1), ('b', 'b', 2)")
    until(tape, a=thing("a", 1), b=thing("b", 2))
    run(tape, f"create or replace {THINGS.removeprefix('create ')}", "insert into thing values ('c', 'c', 3)")
    until(tape, c=thing("c", 3))


def test_a_table_whose_name_differs_by_case_alone(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop(THINGS, THINGS.replace("thing", "Thing"))
    run(tape, "insert into thing values ('a', 'a', 1)", "insert into Thing values ('x', 'x', 1)")
    until(tape, a=thing("a", 1))
    events = len(tape.events)
    run(tape, "truncate table Thing", "insert into thing values ('b', 'b', 2)")
    until(tape, a=thing("a", 1), b=thing("b", 2))
    assert all(state.data is not None for _, state in tape.events[events:]), "a record was deleted that is there"


def test_a_file_loaded_by_a_session_that_logs_statements(
    shop: Callable[..., InMemoryBus], mariadb_server: Mariadb
) -> None:
    tape = shop()
    until(tape)
    file = mariadb_server.folder / "things.csv"
    file.write_text("a\ta\t1\nb\tb\t2\n")
    file.chmod(0o644)
    run(tape, "set binlog_format = statement", f"load data infile '{file}' into table thing")
    until(tape, a=thing("a", 1), b=thing("b", 2))


def test_a_statement_that_is_logged_before_it_is_committed(
    shop: Callable[..., InMemoryBus], mariadb_server: Mariadb
) -> None:
    tape = shop()
    run(tape, "insert into thing values ('a', 'a', 1)")
    until(tape, a=thing("a", 1))
    mariadb_server.root(
        "set global rpl_semi_sync_master_timeout = 2000",
        "set global rpl_semi_sync_master_wait_point = AFTER_SYNC",
        "set global rpl_semi_sync_master_enabled = 1",
    )
    statements = ("set binlog_format = statement", "update thing set count = 2")
    writer = threading.Thread(target=run, args=(tape, *statements))
    try:
        writer.start()  # its commit waits for a replica, and the log has it already
        until(tape, a=thing("a", 2))
    finally:
        writer.join(20)
        mariadb_server.root("set global rpl_semi_sync_master_enabled = 0")


def test_a_record_asked_for_after_a_failover(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop()
    run(tape, "insert into thing values ('a', 'a', 1)")
    until(tape, a=thing("a", 1))
    run(tape, "update thing set count = 2")
    until(tape, a=thing("a", 2))
    tape.crash()
    assert tape.position is not None
    tape.position = {**tape.position, "file": "log.000999"}  # each server numbers its own files
    events = len(tape.events)
    tape.producer().reread(NAME, [b"a"])  # type: ignore[attr-defined]
    tape.until(lambda: len(tape.events) > events, lambda: "it was not read again")


@pytest.mark.parametrize("between", ["", "insert into thing values ('z', 'z', 1, null)"])
def test_a_foreign_key_that_comes_and_one_that_goes(shop: Callable[..., InMemoryBus], between: str) -> None:
    add = "alter table thing add foreign key f (parent) references parent(id) on delete cascade"
    tape = shop(
        "create table parent (id int primary key)",
        "create table thing (id varchar(40) primary key, name varchar(100) not null, count bigint, parent int)",
        "insert into parent values (1), (2), (3)",
        "insert into thing values ('a', 'a', 1, 1), ('b', 'b', 2, 2), ('c', 'c', 3, 3)",
    )
    until(tape, a=thing("a", 1), b=thing("b", 2), c=thing("c", 3))
    rest = {"z": thing("z", 1)} if between else {}
    run(tape, add, *filter(None, [between]), "delete from parent where id = 1")
    until(tape, b=thing("b", 2), c=thing("c", 3), **rest)
    tape.crash()
    run(tape, "delete from parent where id = 2", "alter table thing drop foreign key f", "delete from parent")
    until(tape, c=thing("c", 3), **rest)


def test_a_foreign_key_between_tables_that_are_not_captured(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop(
        "create table holder (id int primary key)",
        "create table parent (id int primary key, holder int)",
        "create table thing (id varchar(40) primary key, name varchar(100) not null, count bigint, parent int,"
        " foreign key (parent) references parent(id) on delete cascade)",
        "insert into holder values (1), (2)",
        "insert into parent values (1, 1), (2, 2)",
        "insert into thing values ('a', 'a', 1, 1), ('b', 'b', 2, 2)",
    )
    until(tape, a=thing("a", 1), b=thing("b", 2))
    run(
        tape,
        "alter table parent add foreign key f (holder) references holder(id) on delete cascade",
        "delete from holder where id = 1",
    )
    until(tape, b=thing("b", 2))


def test_a_key_with_a_date_that_no_calendar_has(
    shop: Callable[..., InMemoryBus], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sorbus.producers.mysql.snapshot._PAGE", 1)
    tape = shop(
        "create table thing (day date not null, id int, name varchar(100) not null, count bigint,"
        " primary key (day, id))",
        "insert into thing values ('0000-00-00', 1, 'a', 1), ('0000-00-00', 2, 'b', 2), ('2024-01-01', 3, 'c', 3)",
    )
    tape.until_live({"0000-00-00|1": thing("a", 1), "0000-00-00|2": thing("b", 2), "2024-01-01|3": thing("c", 3)})


def test_a_table_in_letters_of_another_character_set(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop(THINGS.replace("thing", "`größe`"), table="größe")
    run(tape, "insert into `größe` values ('a', 'a', 1)")
    until(tape, a=thing("a", 1))
    assert isinstance(tape.source, Shop)
    session = tape.source.server.connect(tape.source.database)
    session.query("set names latin1")
    session.query("truncate table `größe`".encode("latin-1"))
    session.close()
    until(tape)


def test_a_data_type_that_is_taken_out_for_a_while(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop()
    run(tape, "insert into thing values ('a', 'a', 1), ('b', 'b', 2)")
    until(tape, a=thing("a", 1), b=thing("b", 2))
    tape.crash()
    source = tape.source
    assert isinstance(source, Shop)
    run(tape, "create table other (id int primary key, name varchar(9) not null, count int)")
    [bound] = source.sources()
    other = replace(bound, name="other", options=MysqlProducer.Source.model_validate({"table": "other"}))
    producer = MysqlProducer(source.system(), [other])
    producer.open(tape.position)
    run(tape, "delete from thing where id = 'a'", "update thing set count = 3")
    for number in range(1, 3):
        run(tape, f"insert into other values ({number}, 'x', 1)")
        tape.position = until_changed(producer)
    producer.close()
    until(tape, b=thing("b", 3))


def until_changed(producer: MysqlProducer) -> Position:
    """The position after the next change."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        batch = producer.read(0.2)
        if batch is not None and batch.changes:
            return batch.position
    pytest.fail("the change didn't come")


def test_a_column_dropped_before_its_record_is_read_by_its_key(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop(THINGS.replace("count bigint", "count bigint as (5) virtual"))
    until(tape)
    run(tape, "insert into thing (id, name) values ('a', 'a')", "alter table thing drop column count")
    tape.until(lambda: "a" in tape.rejected, lambda: "the missing column was not told of")
    assert "column count is gone" in tape.rejected["a"]


def test_a_mapping_that_changes_in_the_middle_of_a_snapshot(
    shop: Callable[..., InMemoryBus], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sorbus.producers.mysql.snapshot._PAGE", 1)
    tape = shop(
        THINGS.replace("name varchar", "alias varchar(9), name varchar"),
        "insert into thing values ('a', 'x', 'a', 1), ('b', 'y', 'b', 2), ('c', 'z', 'c', 3)",
    )
    while "a" not in tape.states:
        tape.step()
    assert "c" not in tape.states
    tape.crash()
    tape.source.mapping = [("name", "alias", ""), ("count", "count", "")]
    until(tape, a=thing("x", 1), b=thing("y", 2), c=thing("z", 3))


@pytest.mark.parametrize(
    ("logs", "statement", "count"),
    [
        ("row", "set statement lock_wait_timeout = 5 for truncate table thing", None),
        ("row", f"set statement lock_wait_timeout = 5 for {OTHER_COUNTS}", 7),
        ("row", f"{OTHER_COUNTS}, add column colour varchar(9) comment '#rrggbb'", 7),
        ("row", f"alter table thing add column a int comment '#1', {OTHER_COUNTS[18:]}", 7),
        ("row", f"alter table thing add column a int comment 'a -- b', {OTHER_COUNTS[18:]}", 7),
        ("row", f"alter table thing add column a int comment 'it\\'s', {OTHER_COUNTS[18:]}", 7),
        ("statement", "set statement lock_wait_timeout = 5 for update thing set count = 7", 7),
        ("statement", "analyze update thing set count = 7", 7),
        ("statement", "analyze format=json update thing set count = 7", 7),
    ],
)
def test_statements_that_begin_with_another_word_or_have_signs_of_comments_in_texts(
    shop: Callable[..., InMemoryBus], logs: str, statement: str, count: int | None
) -> None:
    tape = shop()
    run(tape, "insert into thing values ('a', 'a', 1)")
    until(tape, a=thing("a", 1))
    run(tape, f"set binlog_format = {logs}", statement)
    run(tape, "insert into thing (id, name, count) values ('b', 'b', 2)")
    until(tape, b=thing("b", 2), **({} if count is None else {"a": thing("a", count)}))


@pytest.mark.parametrize("how", ["stored", "virtual"])
def test_a_column_that_another_is_computed_from_is_altered(shop: Callable[..., InMemoryBus], how: str) -> None:
    tape = shop(
        "create table thing (id varchar(40) primary key, name varchar(100) not null, price decimal(9,2),"
        f" cents decimal(9,2) as (price * 10) {how}, count bigint as (cents) {how})",
        "insert into thing (id, name, price) values ('a', 'a', 1.6)",
    )
    until(tape, a=thing("a", 16))
    run(tape, "alter table thing modify price int")
    until(tape, a=thing("a", 20))


def test_a_database_dropped_by_a_statement_with_a_comment(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop()
    run(tape, "insert into thing values ('a', 'a', 1)")
    until(tape, a=thing("a", 1))
    assert isinstance(tape.source, Shop)
    server, name = tape.source.server, tape.source.database
    server.root(f"/*!40000 DROP DATABASE IF EXISTS `{name}`*/")
    with pytest.raises(MapError, match="has no table thing"):
        read_on(tape)


@pytest.mark.parametrize("logs", ["row", "mixed", "statement"])
def test_a_temporary_table_that_hides_a_captured_one_is_truncated(shop: Callable[..., InMemoryBus], logs: str) -> None:
    tape = shop()
    run(tape, "insert into thing values ('a', 'a', 1)")
    until(tape, a=thing("a", 1))
    run(tape, f"set binlog_format = {logs}", "create temporary table thing (id int)", "truncate table thing")
    run(tape, "insert into thing values ('b', 'b', 2)")
    until(tape, a=thing("a", 1), b=thing("b", 2))
    assert all(state.data is not None for _, state in tape.events), "a record was deleted that is there"
