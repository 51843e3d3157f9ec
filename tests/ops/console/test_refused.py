"""A console that is refused waits for a person, and takes up what the person gave without being started again."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from socket import create_server

import httpx

from sorbus.cli.refusal import WAIT, WHEN_REFUSED
from sorbus.errors import AuthError, refused_login
from sorbus.map.loaded import LoadedMap
from sorbus.ops.console.access.accounts import Accounts
from sorbus.ops.console.access.user import Role
from sorbus.ops.console.live import Live
from sorbus.ops.console.serve import _beat
from sorbus.ops.monitoring.measure import Measurement
from sorbus.state import State, migrate
from tests.ops.console.visitor import eventually

COMMAND = str(Path(sys.executable).with_name("sorbus"))


def test_a_console_without_accounts_waits_for_the_first_one(loaded: LoadedMap, database: str) -> None:
    state = State(database, loaded.map.topic_prefix)
    migrate(state)
    port, health = _free_ports(2)
    env = {**os.environ, "SORBUS_DATABASE": database, "SORBUS_KAFKA": "127.0.0.1:1", WHEN_REFUSED: WAIT}
    words = ("--map", str(loaded.file), "console", "--login", "--port", str(port), "--metrics-port", str(health))
    with subprocess.Popen((COMMAND, *words), env=env, cwd=loaded.file.parent, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: "there are no accounts" in _answer(health, "/healthz/ready"), "it does not say why")
            Accounts(state).add("ada", Role.admin, "three quiet rowan trees", "root")
            (loaded.file.parent / ".env").write_text("SOMETHING=else\n")
            eventually(lambda: "Password" in _answer(port, "/login"), "the account is not noticed")
            assert process.poll() is None
        finally:
            process.kill()
    state.close()


def test_an_open_console_looks_for_other_files_while_a_login_is_refused() -> None:
    def measure() -> Measurement:
        raise refused_login(AuthError("Kafka refuses the password"))

    asked, told = [], list[str | None]()
    live = Live(measure, every=0.01)
    _beat(live, told.append, lambda: asked.append("before"))
    with live:
        eventually(lambda: bool(live.troubles), "it does not say that it is refused")
        assert live.is_refused()
        _beat(live, told.append, lambda: asked.append("while refused"))
    assert asked == ["while refused"]
    assert told == ["Kafka refuses the password"]


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(one.getsockname()[1]) for one in sockets]


def _answer(port: int, path: str) -> str:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5, trust_env=False).text
    except httpx.HTTPError:
        return ""
