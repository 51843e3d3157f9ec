"""What the log doesn't say, says otherwise, or says of tables as they were: nothing is lost, doubled or guessed."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import pymysql
import pytest

from sorbus.conformance.in_memory_bus import InMemoryBus
from sorbus.conformance.sample_type import NAME, Thing
from sorbus.conformance.source import Source
from sorbus.connector import Position
from sorbus.errors import AuthError, LostPosition, MapError, TransientError
from sorbus.producers.mysql.producer import MysqlProducer
from tests.mariadb import USER, Mariadb

pytestmark = pytest.mark.slow
THINGS = "create table thing (id varchar(40) primary key, name varchar(100) not null, count bigint)"


class Shop(Source):
    """Things in a table of a test's own."""

    connector = MysqlProducer
    fields = frozenset({"name", "count"})
    patience = 20.0

    def __init__(self, server: Mariadb, database: str, **options: object) -> None:
        self.server, self.database = server, database
        self.connection, self.topic_prefix = server.connection(database), f"{database}."
        self.options = {"table": "thing", **options}

    def run(self, *statements: str) -> None:
        self.server.root(*statements, database=self.database)


@pytest.fixture
def shop(mariadb_server: Mariadb, mariadb: Callable[..., str]) -> Iterator[Callable[..., InMemoryBus]]:
    """Makes a shop with these tables, its things read once."""
    made: list[InMemoryBus] = []

    def make(*statements: str, **options: object) -> InMemoryBus:
        tape = InMemoryBus(Shop(mariadb_server, mariadb(*(statements or (THINGS,))), **options))
        made.append(tape)
        return tape

    yield make
    for tape in made:
        tape.close()


def run(tape: InMemoryBus, *statements: str) -> None:
    assert isinstance(tape.source, Shop)
    tape.source.run(*statements)


def thing(name: str, count: int | None = None) -> Thing:
    return {"name": name, "count": count}


CASCADES = (
    "create table holder (id int primary key)",
    "create table parent (id int primary key, holder int, foreign key (holder) references holder(id)"
    " on delete cascade)",
    "create table thing (id varchar(40) primary key, name varchar(100) not null, count bigint, parent int,"
    " foreign key (parent) references parent(id) on delete cascade)",
    "insert into holder values (1), (2)",
    "insert into parent values (1, 1), (2, 2)",
    "insert into thing values ('a', 'a', 1, 1), ('b', 'b', 2, 2), ('c', 'c', 3, null)",
)
"""Things of parents of holders."""


def until(tape: InMemoryBus, **things: Thing) -> None:
    tape.until_live({id.lstrip("_"): one for id, one in things.items()})


def test_deletes_by_a_foreign_key_are_found(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop(*CASCADES)
    until(tape, a=thing("a", 1), b=thing("b", 2), c=thing("c", 3))
    run(tape, "delete from parent where id = 1")
    until(tape, b=thing("b", 2), c=thing("c", 3))
    run(tape, "delete from holder where id = 2")  # by a table between
    until(tape, c=thing("c", 3))


def test_rows_of_before_a_change_of_the_table_go_by_their_own_names(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop()
    until(tape)
    run(
        tape,
        "insert into thing values ('a', 'first', 1)",
        "alter table thing modify count bigint first",
        "insert into thing values (2, 'b', 'second')",
        "alter table thing add column extra int first, drop column count, add column count bigint default 7",
        "insert into thing (id, name, count) values ('c', 'third', 3)",
    )
    until(tape, a=thing("first", 7), b=thing("second", 7), c=thing("third", 3))
    tape.crash()
    run(tape, "update thing set count = 9 where id = 'a'")
    until(tape, a=thing("first", 9), b=thing("second", 7), c=thing("third", 3))


def test_a_truncated_and_a_swapped_table(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop()
    run(tape, "insert into thing values ('a', 'a', 1), ('b', 'b', 2)")
    until(tape, a=thing("a", 1), b=thing("b", 2))
    run(tape, "truncate table thing", "insert into thing values ('c', 'c', 3)")
    until(tape, c=thing("c", 3))
    run(
        tape,
        "create table thing_new like thing",
        "insert into thing_new values ('d', 'd', 4)",
        "rename table thing to thing_old, thing_new to thing",
    )
    until(tape, d=thing("d", 4))


def test_sessions_that_log_otherwise(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop()
    run(tape, "insert into thing values ('a', 'a', 1), ('b', 'b', 2)")
    until(tape, a=thing("a", 1), b=thing("b", 2))
    run(tape, "set binlog_row_image = minimal", "update thing set count = 5 where id = 'a'")
    until(tape, a=thing("a", 5), b=thing("b", 2))
    run(tape, "set binlog_format = statement", "update thing set count = count + 1", "delete from thing where id = 'b'")
    until(tape, a=thing("a", 6))
    run(tape, "set binlog_row_image = noblob", "update thing set id = 'A' where id = 'a'")
    until(tape, A=thing("a", 6))


def test_xa_transactions_count_once_they_are_committed(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop()
    until(tape)
    run(tape, "xa start 'one'", "insert into thing values ('a', 'a', 1)", "xa end 'one'", "xa prepare 'one'")
    run(tape, "insert into thing values ('b', 'b', 2)")
    until(tape, b=thing("b", 2))
    run(tape, "xa commit 'one'")
    until(tape, a=thing("a", 1), b=thing("b", 2))
    run(tape, "xa start 'two'", "delete from thing", "xa end 'two'", "xa prepare 'two'", "xa rollback 'two'")
    run(tape, "insert into thing values ('c', 'c', 3)")
    until(tape, a=thing("a", 1), b=thing("b", 2), c=thing("c", 3))


def test_a_compressed_log(shop: Callable[..., InMemoryBus], mariadb_server: Mariadb) -> None:
    tape = shop()
    until(tape)
    mariadb_server.root("set global log_bin_compress = 1, global log_bin_compress_min_len = 10")
    try:
        run(tape, f"insert into thing values ('a', '{'a' * 90}', 1)", "update thing set count = 2")
        until(tape, a=thing("a" * 90, 2))
    finally:
        mariadb_server.root("set global log_bin_compress = 0")


def test_a_transaction_larger_than_a_batch(shop: Callable[..., InMemoryBus], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sorbus.producers.mysql.collect.MAX_CHANGES", 50)
    tape = shop()
    until(tape)
    run(tape, *(["begin"] + [f"insert into thing values ('{n}', 'n', {n})" for n in range(300)] + ["commit"]))
    for _ in range(3):
        batch = tape.read()
        if batch is not None:
            assert len(batch.changes) < 300
            tape.publish(batch)
        tape.crash()
    tape.until_live({str(number): thing("n", number) for number in range(300)})
    assert len([id for id, _ in tape.events]) == 300, "what was published came again"


def read_on(tape: InMemoryBus) -> None:
    for _ in range(50):
        tape.step()


def lost(tape: InMemoryBus) -> str:
    try:
        read_on(tape)
    except LostPosition as error:
        return str(error)
    pytest.fail("a lost position was not found")


def test_another_history_is_found(shop: Callable[..., InMemoryBus], mariadb_server: Mariadb) -> None:
    tape, number = other_history(shop, mariadb_server)
    run(tape, "insert into thing values ('c', 'c', 3)")
    assert "another history" in lost(tape)
    tape.crash()
    # The same numbers as before, of other transactions: only their time tells.
    run(tape, f"set gtid_seq_no = {number - 1}", "update thing set count = 8 where id = 'c'")
    run(tape, "set timestamp = 1700000000", "update thing set count = 9 where id = 'c'")
    run(tape, "update thing set count = 10 where id = 'c'")
    assert "was committed at another time" in lost(tape)


def test_numbers_that_go_back_within_a_domain_are_not_taken_for_read(
    shop: Callable[..., InMemoryBus], mariadb_server: Mariadb
) -> None:
    tape = shop()
    run(tape, "insert into thing values ('a', 'a', 1)")
    until(tape, a=thing("a", 1))
    number = last_number(mariadb_server)
    # As on a replica that somebody writes to: its own changes are numbered on, then come its primary's.
    run(tape, "set server_id = 77", f"set gtid_seq_no = {number + 5}", "insert into thing values ('b', 'b', 2)")
    run(tape, f"set gtid_seq_no = {number + 1}", "insert into thing values ('c', 'c', 3)")
    assert "two servers write in one domain" in lost(tape)


def test_a_failover_to_a_server_that_went_on_without_the_last_transaction(
    shop: Callable[..., InMemoryBus], mariadb_server: Mariadb
) -> None:
    tape, number = other_history(shop, mariadb_server)
    run(tape, "set sql_log_bin = 0", "delete from thing where id = 'b'")
    run(tape, f"set gtid_seq_no = {number - 1}", "update thing set count = 5")
    run(tape, "set server_id = 77", f"set gtid_seq_no = {number}", "insert into thing values ('c', 'c', 3)")
    assert "another history since a failover" in lost(tape)


@pytest.mark.parametrize("may_ask", [True, False])
def test_a_replica_that_does_not_log_what_it_gets_is_refused(
    shop: Callable[..., InMemoryBus], mariadb_server: Mariadb, may_ask: bool
) -> None:
    tape, right = shop(), "slave monitor on *.*"
    mariadb_server.root(f"grant {right} to {USER}@'127.0.0.1'" if may_ask else "set global gtid_slave_pos = '5-5-5'")
    try:
        if may_ask:
            mariadb_server.root("change master to master_host = '127.0.0.1', master_port = 1, master_user = 'x'")
        with pytest.raises(AuthError, match="log_slave_updates"):
            tape.producer()
    finally:
        mariadb_server.root("reset slave all", "set global gtid_slave_pos = ''")
        if may_ask:
            mariadb_server.root(f"revoke {right} from {USER}@'127.0.0.1'")


def other_history(shop: Callable[..., InMemoryBus], server: Mariadb) -> tuple[InMemoryBus, int]:
    """Two rows captured, each in a transaction, and the server's log begun again; the number of the second."""
    tape = shop()
    run(tape, "insert into thing values ('a', 'a', 1)")
    until(tape, a=thing("a", 1))
    run(tape, "insert into thing values ('b', 'b', 2)")
    until(tape, a=thing("a", 1), b=thing("b", 2))
    tape.crash()
    number = last_number(server)
    end_dumps(server)
    server.root("reset master")
    return tape, number


def last_number(server: Mariadb) -> int:
    """Of the last transaction in the server's log."""
    [(position,)] = server.root("select @@gtid_binlog_pos")
    return int(str(position).rpartition("-")[2])


def end_dumps(server: Mariadb) -> None:
    """Ends the server's side of readers that are gone: it would keep their files."""
    for (number,) in server.root("select id from information_schema.processlist where command = 'Binlog Dump'"):
        with suppress(pymysql.Error):
            server.root(f"kill {number}")
    deadline = time.monotonic() + 20
    while server.root("select id from information_schema.processlist where command = 'Binlog Dump'"):
        assert time.monotonic() < deadline, "the server still sends its log to a reader that is gone"
        time.sleep(0.02)


def test_a_purged_log_is_found(shop: Callable[..., InMemoryBus], mariadb_server: Mariadb) -> None:
    tape = shop()
    run(tape, "insert into thing values ('a', 'a', 1)")
    until(tape, a=thing("a", 1))
    tape.crash()
    run(tape, "insert into thing values ('b', 'b', 2)", "flush binary logs", "insert into thing values ('c', 'c', 3)")
    end_dumps(mariadb_server)
    [*_, (newest, *_)] = mariadb_server.root("show binary logs")
    deadline = time.monotonic() + 20
    while len(mariadb_server.root("show binary logs")) > 1:  # it keeps a file until InnoDB has what is in it
        assert time.monotonic() < deadline, "the server keeps its log"
        mariadb_server.root(f"purge binary logs to '{newest}'")
        time.sleep(0.05)
    assert "on_lost_slot: resnapshot" in lost(tape)
    tape.crash()
    tape.source.system = resnapshotting(tape.source)  # type: ignore[method-assign]
    until(tape, a=thing("a", 1), b=thing("b", 2), c=thing("c", 3))


def resnapshotting(source: Source) -> Callable[[], object]:
    system = source.system()
    changed = system.system.model_copy(update={"on_lost_slot": "resnapshot"})
    return lambda: type(system)(system.name, changed, system.connection, system.topic_prefix, system.folder)


def test_what_cannot_be_captured_is_refused_in_words(shop: Callable[..., InMemoryBus], mariadb_server: Mariadb) -> None:
    cases = {
        "create table thing (id int, name varchar(9) not null, count int)": "no primary key",
        "create table thing (id int primary key, name text not null, count int) engine = MyISAM": "ENGINE = InnoDB",
        "create table thing (id float primary key, name varchar(9) not null, count int)": "compared exactly",
        "create view thing as select '1' as id, 'n' as name, 1 as count": "is a view",
    }
    for statement, words in cases.items():
        with pytest.raises(MapError, match=words):
            shop(statement).producer()
    mariadb_server.root("set global binlog_row_metadata = minimal")
    try:
        with pytest.raises(AuthError, match="SET GLOBAL binlog_row_metadata = FULL"):
            shop().producer()
    finally:
        mariadb_server.root("set global binlog_row_metadata = full")


def test_rows_without_column_names_are_never_read_by_todays(
    shop: Callable[..., InMemoryBus], mariadb_server: Mariadb
) -> None:
    tape = shop()
    until(tape)
    tape.crash()
    mariadb_server.root("set global binlog_row_metadata = minimal")
    try:
        run(tape, "insert into thing values ('a', 'a', 1)")
    finally:
        mariadb_server.root("set global binlog_row_metadata = full")
    assert "without the names of their columns" in lost(tape)


def test_keys_of_many_kinds(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop(
        "create table thing (kind enum('z', 'a') not null, code varbinary(4) not null, day date not null,"
        " number bigint unsigned not null, name varchar(100) not null, count int,"
        " primary key (kind, code, day, number))",
        "insert into thing values ('z', x'00ff', '2024-01-02', 18446744073709551615, 'n', 1),"
        " ('a', x'00ff', '2024-01-02', 0, 'm', 2)",
    )
    first, second = "z|00ff|2024-01-02|18446744073709551615", "a|00ff|2024-01-02|0"
    tape.until_live({first: thing("n", 1), second: thing("m", 2)})
    run(tape, "update thing set count = 3 where kind = 'a'", "delete from thing where kind = 'z'")
    tape.until_live({second: thing("m", 3)})
    tape.producer().reread(NAME, [second.encode(), first.encode()])  # type: ignore[attr-defined]
    before = len(tape.events)
    tape.until(lambda: len(tape.events) > before, lambda: "nothing was read again")
    tape.until_live({second: thing("m", 3)})


def test_a_position_is_plain_json(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop()
    run(tape, "insert into thing values ('a', 'a', 1)")
    until(tape, a=thing("a", 1))
    stored: Position | None = tape.position
    assert stored is not None
    assert json.loads(json.dumps(stored)) == stored
    with suppress(AttributeError):
        assert isinstance(stored["gtids"], Mapping | str)


def test_a_server_that_is_killed_at_work_is_waited_for(
    shop: Callable[..., InMemoryBus], mariadb_server: Mariadb
) -> None:
    tape = shop()
    run(tape, "insert into thing values ('a', 'a', 1)")
    until(tape, a=thing("a", 1))
    mariadb_server.stop(signal.SIGKILL)
    with pytest.raises(TransientError):
        read_on(tape)
    mariadb_server.start()
    run(tape, "insert into thing values ('b', 'b', 2)")
    until(tape, a=thing("a", 1), b=thing("b", 2))
