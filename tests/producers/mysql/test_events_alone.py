"""What needs no server: GTID sets (as another library writes them), statements, MySQL 8's own events."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymysqlreplication.gtid import GtidSet

from sorbus.producers.mysql.gtids import MariadbGtids, MysqlGtids
from sorbus.producers.mysql.log_events import BadEvent, LogGtid, Other, Unreadable, inflated, read_event
from sorbus.producers.mysql.statements import effect_of, moves_tables, names_column, names_table

SERVERS = ("3e11fa47-71ca-11e1-9e33-c80aa9429562", "57b70f4e-20d3-11e5-a393-4a63946f7eac")
NUMBERS = st.lists(st.tuples(st.sampled_from(SERVERS), st.integers(1, 60)), min_size=1, max_size=40)


@given(NUMBERS)
def test_gtid_sets_are_as_another_library_writes_them(read: list[tuple[str, int]]) -> None:
    ours = MysqlGtids("")
    for server, number in read:
        ours = ours.including(f"{server}:{number}")
    assert GtidSet(str(ours)).encoded() == MysqlGtids(str(ours)).encoded()
    for server in SERVERS:
        for number in range(62):
            assert (f"{server}:{number}" in ours) == ((server, number) in read)
    assert MysqlGtids(str(ours)).covers(ours)
    assert ours.covers(MysqlGtids(str(ours)))


def test_mariadb_keeps_the_last_of_each_domain() -> None:
    seen = MariadbGtids("0-1-100,7-2-5")
    assert "0-9-99" in seen
    assert "0-1-101" not in seen
    assert "8-1-1" not in seen
    assert str(seen.including("0-2-101")) == "0-2-101,7-2-5"
    assert not MariadbGtids("0-1-99,7-2-5").covers(seen)


@pytest.mark.parametrize(
    ("text", "kind", "columns"),
    [
        ("alter table t add index i (a), drop key j", "ddl", ()),
        ("ALTER TABLE `s`.`t` MODIFY `a` enum('x,y','(') COMMENT 'b', ADD COLUMN c int", "ddl",
         ("MODIFY `a` enum('x,y','(') COMMENT 'b'", "ADD COLUMN c int")),
        ("alter table t engine = InnoDB", "ddl", None),
        ("alter table t truncate partition p0", "ddl", None),
        ("alter table t drop partition p0", "ddl", None),
        ("alter table t rename to u", "ddl", None),
        ("rename table t to u", "ddl", None),
        ("/* hi */ truncate table `t`", "truncate", None),
        ("--\ntruncate table t", "truncate", None),
        ("-- why */ not\n# this\ntruncate /* a */ table t", "truncate", None),
        ("alter table t add a int comment 'src/*', drop key j", "ddl", ("add a int comment 'src/*'",)),
        ("alter table t add a int comment '#aabbcc', drop b", "ddl", ("add a int comment '#aabbcc'", "drop b")),
        ('alter table t add a int comment "x -- /* y", drop b /* z */', "ddl",
         ('add a int comment "x -- /* y"', "drop b")),
        ("alter table t add a int comment 'it''s', drop `#b` # why", "ddl", ("add a int comment 'it''s'", "drop `#b`")),
        (r"alter table t add a int comment 'it\'s, add key', drop b", "ddl", None),
        (r"alter table t add a int comment '\', drop b, comment 'x, add key'", "ddl", None),
        ("/*My*/ /*M!100100 truncate t */", "truncate", None),
        ("set statement max_statement_time = 5 for truncate t", "truncate", None),
        ("SET STATEMENT a='x for y', b=2\nFOR /* why */ alter table t drop b", "ddl", ("drop b",)),
        ("set statement a=1 for set statement b=2 for update t set a = 1", "dml", None),
        ("set statement_timeout = 5", "none", None),
        ("analyze format=json update t set a = 1", "dml", None),
        ("analyze delete from t", "dml", None),
        ("analyze table t", "none", None),
        ("analyze no_write_to_binlog table t", "none", None),
        ("drop table t", "ddl", None),
        ("CREATE OR REPLACE TABLE t (a int)", "ddl", None),
        ("create or replace database s", "ddl", None),
        ("create or replace view v as select 1", "program", None),
        ("CREATE DEFINER=`root`@`localhost` trigger a before insert on t for each row set new.a = 1", "program", None),
        ("CREATE ALGORITHM=UNDEFINED DEFINER=`a`@`%` SQL SECURITY DEFINER VIEW `t` AS select 1", "program", None),
        ("CREATE DEFINER=`an app`@`%` FUNCTION f() returns int return 1", "program", None),
        ("create or replace definer = 'an app'@'%' sql security invoker view v as select 1", "program", None),
        ("drop function if exists t", "program", None),
        ("create table view_t (a int)", "ddl", None),
        ("alter table t add system versioning", "ddl", None),
        ("alter table t drop period for system_time, drop column s", "ddl", None),
        ("alter table t drop foreign key f", "ddl", None),
        ("truncate table `gr\ufffd\ufffde`", "ddl", None),
        ("create unique index i on t (a)", "ddl", ()),
        ("insert into t select * from u", "dml", None),
        ("/*!40000 update t set a = 1 */", "dml", None),
        ("with x as (select 1) delete from t", "dml", None),
        ("savepoint a", "none", None),
    ],
)  # fmt: skip
def test_what_statements_do(text: str, kind: str, columns: tuple[str, ...] | None) -> None:
    effect = effect_of(text, "s")
    assert (effect.kind, effect.columns) == (kind, columns)


def test_which_table_a_statement_is_about() -> None:
    assert effect_of("replace into percona.checksums select * from t", "s").tables == (("percona", "checksums"),)
    assert names_table("delete from `T` where 1", "s", "t", "s")
    assert not names_table("delete from tt where 1", "s", "t", "s")
    assert names_table("alter table `a``b` engine = InnoDB", "s", "a`b", "s")
    assert names_column("modify `a``b` int", "a`b")
    assert names_table("drop database s", "s", "t", "x")
    assert names_table("create or replace schema s", "s", "t", "x")
    assert names_table("/*!40000 DROP DATABASE IF EXISTS `s`*/", "s", "t", "x")
    assert names_table("/* hi */ set statement max_statement_time=5 for drop schema s", "s", "t", "x")
    assert moves_tables("/*!40000 DROP TABLE t*/")
    assert names_column("drop gr\ufffd\ufffde", "größe")
    assert names_table("drop table `gr\ufffd\ufffde`", "s", "größe", "s")
    assert not names_table("drop table `gr\ufffd\ufffde`", "s", "t", "s")


def event(kind: int, body: bytes) -> bytes:
    return struct.pack("<IBIIIH", 1_700_000_000, kind, 1, 19 + len(body), 500, 0) + body


def test_mysql_8_says_when_a_transaction_was_committed_first() -> None:
    server = bytes.fromhex(SERVERS[0].replace("-", ""))
    begun = b"\1" + server + struct.pack("<Q", 77) + b"\2" + struct.pack("<QQ", 1, 2)
    micros = 1_700_000_000_123_456
    found = read_event(event(33, begun + micros.to_bytes(7, "little")), has_checksum=False).body
    assert found == LogGtid(f"{SERVERS[0]}:77", micros, is_alone=False, is_prepared=False)
    replica = (micros + 5 | 1 << 55).to_bytes(7, "little") + micros.to_bytes(7, "little")
    assert read_event(event(33, begun + replica), has_checksum=False).body == found
    old = read_event(event(33, begun), has_checksum=False).body
    assert isinstance(old, LogGtid)
    assert old.committed_at == 1_700_000_000_000_000


@pytest.mark.parametrize("kind", [26, 34, 39, 40, 42, 164, 99])  # 26: the server couldn't log all; 99: no such kind
def test_what_cannot_be_read_is_said(kind: int) -> None:
    assert isinstance(read_event(event(kind, bytes(60)), has_checksum=False).body, Unreadable)


def test_an_unknown_event_that_a_replica_may_ignore_is_ignored() -> None:
    head = struct.pack("<IBIIIH", 1_700_000_000, 99, 1, 19, 500, 0x80)
    assert isinstance(read_event(head, has_checksum=False).body, Other)


@given(st.integers(0, 255), st.binary(max_size=80), st.booleans())
def test_bytes_that_are_no_event_end_in_words(kind: int, body: bytes, checked: bool) -> None:
    try:
        read_event(event(kind, body), has_checksum=checked)
    except BadEvent:
        return


@given(st.binary(min_size=1, max_size=60))
def test_compressed_parts_have_an_end(data: bytes) -> None:
    calls: list[Callable[[bytes], bytes]] = [inflated]
    for call in calls:
        try:
            assert len(call(data)) < 1 << 20
        except (BadEvent, IndexError, ValueError, zlib.error):
            continue
