"""A server of the stack that ends by itself is started again, on its port, with its data, but not for ever."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import psycopg
import pytest

from sorbus.ops.demo.environment import Progress
from sorbus.ops.embedded import Ports, StackError, packages
from sorbus.ops.embedded.keeper import MOST, WITHIN, Keeper
from sorbus.ops.embedded.postgres import Postgres
from sorbus.ops.embedded.process import ServerProcess
from tests.consumers.line import eventually


class Clock:
    """Seconds as a test wants them."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class ShortLived:
    """A server that has always ended; `fails` while it is started."""

    def __init__(self, *, fails: bool = False) -> None:
        self.starts, self._fails = 0, fails

    def start(self) -> None:
        self.starts += 1

    def wait(self) -> None:
        if self._fails:
            raise StackError("it ended before it answered")

    def is_running(self) -> bool:
        return False


@pytest.mark.parametrize("victim", ["server", "guard"])
def test_a_killed_server_is_started_again_on_its_port_with_its_data(tmp_path: Path, victim: str) -> None:
    port = Ports.free().database
    server = Postgres(tmp_path, packages.fetch(), port=port)  # not `fast`: the row must outlive a kill
    server.start()
    try:
        server.wait()
        with psycopg.connect(server.address) as connection:
            connection.execute("create table person (id int)")
        guard, child = (entry["pid"] for entry in json.loads((tmp_path / "postgres.pids").read_text()))
        os.kill({"server": child, "guard": guard}[victim], signal.SIGKILL)
        eventually(lambda: not server.is_running(), "the server's end")
        said: list[str] = []
        keeper = Keeper({"postgres": server})
        eventually(lambda: keeper.restart_ended(said.append) or server.is_running(), "the server's return")
        assert said[0].startswith("postgres exited")
        assert said[-1] == "postgres answers again"
        with psycopg.connect(server.address) as connection:
            assert connection.execute("select count(*) from person").fetchone() == (0,)
        before = len(said)
        keeper.restart_ended(said.append)
        assert len(said) == before, "one that runs is left alone"
    finally:
        server.stop()


@pytest.mark.parametrize("fails", [False, True])
def test_a_server_that_ends_again_and_again_is_given_up(*, fails: bool) -> None:
    server, clock = ShortLived(fails=fails), Clock()
    keeper = Keeper({"kafka": server}, clock=clock)
    for _ in range(MOST):
        keeper.restart_ended(lambda _: None)
    with pytest.raises(StackError, match=f"kafka has ended {MOST + 1} times within 10 minutes"):
        keeper.restart_ended(lambda _: None)
    assert server.starts == MOST
    clock.now += WITHIN + 1
    keeper.restart_ended(lambda _: None)
    assert server.starts == MOST + 1, "what was long ago no longer counts"


def test_the_log_of_what_ended_is_kept(tmp_path: Path) -> None:
    server = ServerProcess("sayer", tmp_path, stop=signal.SIGTERM, death=signal.SIGKILL)
    for word in ("first", "second"):
        server.start(["echo", word])
        eventually(lambda: not server.is_running(), "its end")
    assert server.log.read_text() == "first\nsecond\n"


def test_patience_begins_anew_with_each_step_forward_and_with_no_other() -> None:
    clock = Clock()
    progress = Progress(120, clock=clock)
    for clock.now, newest, running in ((100, 0, 1), (200, 0, 2), (300, 7, 2)):
        assert not progress.is_over(newest, running)
    for clock.now, running in ((350, 1), (400, 2), (420, 0)):  # a process that comes back again and again
        assert not progress.is_over(7, running)
    clock.now = 421
    assert progress.is_over(7, 2)
