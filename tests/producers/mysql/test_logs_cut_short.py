"""A log that lacks what was read of it, ends within a transaction, or is read again from before where it was left."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pymysql
import pytest

from sorbus.conformance.in_memory_bus import InMemoryBus
from sorbus.conformance.sample_type import NAME
from sorbus.errors import LostPosition
from sorbus.producers.mysql.capture import MysqlCapture
from sorbus.producers.mysql.collect import LogCollector
from sorbus.producers.mysql.dependents import Dependents, Writers
from sorbus.producers.mysql.gtids import MariadbGtids
from sorbus.producers.mysql.history import history_fault
from sorbus.producers.mysql.log_events import (
    Body,
    LogEvent,
    LogGtid,
    LogRows,
    Prepared,
    Rotate,
    Statement,
    TableDescription,
)
from sorbus.producers.mysql.position import MysqlPosition
from sorbus.producers.mysql.producer import MysqlProducer
from sorbus.producers.mysql.row_images import ServerCharsets
from sorbus.producers.mysql.server import MysqlServer
from sorbus.producers.mysql.snapshot_point import Told
from sorbus.producers.mysql.statement_targets import Captured
from tests.mariadb import Mariadb
from tests.producers.mysql.test_hard_cases import THINGS, Shop, run, shop, thing, until

__all__ = ["shop"]
STATE = MysqlPosition(
    is_mariadb=True, server="x", gtids=MariadbGtids("0-1-99"), version=1, before=MariadbGtids("0-1-98"), last="0-1-99",
    last_at=1, file="log.000007", end=5000,
)  # fmt: skip
HALF = replace(STATE, transaction="0-1-100", transaction_at=2, done=3)


def collector(state: MysqlPosition, *captures: MysqlCapture) -> LogCollector:
    captured = Captured(captures, Dependents(), Writers())
    return LogCollector(captured, state, ServerCharsets({}, {}), lambda *_: [], Writers)


def feed(to: LogCollector, *bodies: Body) -> None:
    for body in bodies:
        assert to.feed(LogEvent(0, 0, body, 50))


def begun(gtid: str, at: int = 2) -> LogGtid:
    return LogGtid(gtid, at, is_alone=False, is_prepared=False)


def test_what_was_read_must_be_seen_before_the_log_has_come_as_far_again() -> None:
    log = collector(STATE)
    feed(log, Rotate("log.000006", 4))
    assert log.told == Told("0-1-99", "log.000007", 5000)
    log.take()
    assert log.state == STATE
    feed(log, begun("0-1-99", 1), Statement("", "commit"))
    assert log.told == Told("0-1-99", "log.000007", 5000)
    feed(log, Rotate("log.000008", 4), begun("0-1-100"), Statement("", "commit"))
    assert log.told == Told("0-1-100", "log.000008", 4)


@pytest.mark.parametrize(
    ("gtid", "at", "is_fault"),
    [("0-1-100", 2, False), ("0-1-100", 3, True), ("0-2-100", 2, True), ("0-2-101", 2, True), ("7-1-1", 2, False)],
)
def test_a_transaction_that_was_read_in_part_must_come_again(gtid: str, at: int, is_fault: bool) -> None:
    log = collector(HALF)
    log.take()
    assert log.state == HALF
    if is_fault:
        with pytest.raises(LostPosition, match="of which a part was read"):
            feed(log, begun(gtid, at))
        return
    feed(log, begun(gtid, at), Statement("", "commit"))
    log.take()
    assert log.state.transaction == ("" if gtid == HALF.transaction else HALF.transaction)


def test_a_server_without_a_transaction_that_was_read_in_part_has_another_history() -> None:
    server = MysqlServer(is_mariadb=True, identity="x", variables={})
    assert history_fault(server, HALF, MariadbGtids("0-1-100")) is None
    assert "0-1-99 and 0-1-100 was read" in str(history_fault(server, HALF, MariadbGtids("0-1-99")))


@pytest.mark.slow
@pytest.mark.parametrize(
    "state",
    [
        replace(
            STATE, fresh={NAME: MariadbGtids("0-1-100")}
        ),  # a snapshot saw it prepared, which doesn't show its rows
        replace(STATE, transaction="0-1-100", done=1),
    ],
)
def test_what_a_transaction_in_two_phases_changed_is_kept(
    shop: Callable[..., InMemoryBus], state: MysqlPosition
) -> None:
    producer = shop().producer()
    assert isinstance(producer, MysqlProducer)
    [capture] = producer._captures
    log, name = collector(state, capture), "X'61',X'',1"
    feed(
        log,
        begun("0-1-100", 2),
        Statement("", f"XA START {name}"),
        TableDescription(1, capture.table.database, "thing", b""),
        LogRows("insert", 1, b"", is_compressed=False, is_last=True),
        Statement("", f"XA END {name}"),
        Prepared(),
    )
    assert log.state.prepared == {name: (NAME,)}
    feed(log, begun("0-1-101"), Statement("", f"XA COMMIT {name}"))
    log.take()
    assert log.state.resnapshot == (NAME,)


@pytest.mark.slow
def test_the_places_of_another_servers_log_count_for_nothing(shop: Callable[..., InMemoryBus]) -> None:
    tape = shop()
    run(tape, "insert into thing values ('a', 'a', 1)")
    until(tape, a=thing("a", 1))
    tape.crash()
    assert tape.position is not None
    tape.position = {**tape.position, "server": "another", "file": "log.000000", "done": 3}
    producer = tape.producer()
    assert isinstance(producer, MysqlProducer)
    assert producer._state is not None
    assert (producer._state.file, producer._state.end, producer._state.done) == ("", 0, 0)


@pytest.mark.slow
def test_a_transaction_whose_end_a_crash_took_from_the_log(tmp_path: Path) -> None:
    server = Mariadb(tmp_path)
    tape = InMemoryBus(Shop(server, server.make_database("d", THINGS)))
    try:
        until(tape)
        server.root("set global innodb_flush_log_at_trx_commit = 1")
        for id in "ab":
            run(tape, f"insert into thing values ('{id}', '{id}', 1)")
        until(tape, a=thing("a", 1), b=thing("b", 1))
        tape.crash()
        server.root(
            "set global rpl_semi_sync_master_timeout = 60000",
            "set global rpl_semi_sync_master_wait_point = AFTER_SYNC",
            "set global rpl_semi_sync_master_enabled = 1",
        )
        at = "set timestamp = 1700000000"

        def write() -> None:
            with suppress(pymysql.Error):
                run(tape, at, "insert into thing values ('x', 'x', 1)")

        writer = threading.Thread(target=write)
        before = server.root("select @@gtid_binlog_pos")
        writer.start()  # in the log, and not committed
        deadline = time.monotonic() + 20
        while server.root("select @@gtid_binlog_pos") == before:
            assert time.monotonic() < deadline, "not logged"
        server.stop(signal.SIGKILL)
        writer.join()
        log = tmp_path / "data" / "log.000001"
        assert log.read_bytes()[-27] == 16, "the log's last event isn't the end of a transaction"
        log.write_bytes(log.read_bytes()[:-31])
        server.start()
        run(tape, at, "insert into thing values ('c', 'c', 1)")
        until(tape, a=thing("a", 1), b=thing("b", 1), c=thing("c", 1))
    finally:
        tape.close()
        server.stop(signal.SIGKILL)
