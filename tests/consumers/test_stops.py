"""A consumer is gone within ten seconds of SIGTERM, whatever its target does just then, and the next one goes on."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.consumers.line import FLOW, Line, down, eventually, named


@contextmanager
def frozen(line: Line) -> Iterator[int]:
    """The server's side of the consumer's connection does nothing while the block lasts; the consumer's own port."""
    query = "select pid, client_port from pg_stat_activity where datname = current_database() and application_name = %s"
    ((pid, port),) = line.connection.execute(query, [f"sorbus {FLOW}"]).fetchall()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield port
    finally:
        os.kill(pid, signal.SIGCONT)


def unread_from(port: int) -> int:
    """Bytes that have come from this port of this machine and that nobody has read."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[4].partition(":")[2], 16) for row in rows if int(row[2].partition(":")[2], 16) == port)


def test_while_the_target_is_down(line: Line) -> None:
    line.publish([("g1", 1, named("x"))])
    with down(line), line.process() as process:
        eventually(lambda: "trying again" in process.told, "the first failure to connect")
        assert process.end() == 0
    with line.process("again") as process:
        line.until({"g1": "x"})
        assert process.end() == 0


def test_while_the_target_does_not_answer(line: Line) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"postgresql://sorbus@127.0.0.1:{silent.getsockname()[1]}/silent"
        with line.process(BOOKS_DSN=dsn) as process:
            silent.settimeout(30)
            caller, _ = silent.accept()
            assert process.end() == 0
            caller.close()


@pytest.mark.slow
def test_while_the_target_has_frozen_in_the_middle(line: Line) -> None:
    line.publish([("g1", 1, named("x"))])
    with line.process() as process:
        line.until({"g1": "x"})
        with frozen(line) as port:
            line.publish([("g2", 1, named("y"))])
            eventually(lambda: unread_from(port) > 0, "something that the consumer asks of the target")
            assert process.end() == 0
    with line.process("again") as process:
        eventually(lambda: "started" in process.told, "its start: the first one's commit may have been on its way")
        line.until({"g1": "x", "g2": "y"})
        assert process.end() == 0
