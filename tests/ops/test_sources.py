"""The watch asks the sources: those that don't answer, and those that refuse its login for a while."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from sorbus.bus.status import reporting
from sorbus.map.load import load_map
from sorbus.ops.monitoring.build_monitor import open_watch
from sorbus.ops.monitoring.from_state import FromState
from sorbus.ops.monitoring.sources import SourceLags
from sorbus.ops.monitoring.state_answers import StateAnswers
from sorbus.producers.postgres.producer import PostgresProducer
from sorbus.state import State
from sorbus.telemetry.health import Health
from tests.consumers.line import SORBUS, Line, eventually
from tests.consumers.plugin import line, make_line

__all__ = ["line", "make_line"]

COUNT = 4


def test_sources_that_never_answer_cost_the_time_of_one(tmp_path: Path) -> None:
    """One after another they took longer than figures stay fresh, so that no alert that waits ever fired."""
    with ExitStack() as opened:
        silent = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(COUNT)]
        connections = {f"s{n}": f"postgresql://x@127.0.0.1:{one.getsockname()[1]}/x" for n, one in enumerate(silent)}
        written = {
            "systems": {name: {"kind": "postgres", "connection": {"dsn": dsn}} for name, dsn in connections.items()},
            "data_types": {f"t{name}": {"system_of_record": name, "source": {"table": "t"}} for name in connections},
            "flows": [],
        }
        (tmp_path / "map.yaml").write_text(json.dumps(written))
        (tmp_path / "schemas").mkdir()
        for name in connections:
            fields = [{"name": "id", "type": "string"}]
            schema = {"type": "record", "name": f"t{name}", "fields": fields}
            (tmp_path / "schemas" / f"t{name}.avsc").write_text(json.dumps(schema))
        lags, began = SourceLags(load_map(tmp_path / "map.yaml")), time.monotonic()
        assert lags() == dict.fromkeys(connections)
        took = time.monotonic() - began
        lags.close()
    assert lags.away.keys() == connections.keys()
    assert took < 0.6 * COUNT * 5, f"{took:.0f} s, with 5 s for each connection"


def test_a_connector_that_fails_by_itself_leaves_the_others_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of somebody's own, for instance: else every figure, and every alert, ends with it."""
    names = ("broken", "well")
    systems = {name: {"kind": "postgres", "connection": {"dsn": "postgresql://127.0.0.1:1/x"}} for name in names}
    types = {f"t{name}": {"system_of_record": name, "source": {"table": "t"}} for name in names}
    (tmp_path / "map.yaml").write_text(json.dumps({"systems": systems, "data_types": types, "flows": []}))
    (tmp_path / "schemas").mkdir()
    for name in types:
        schema = {"type": "record", "name": name, "fields": [{"name": "id", "type": "string"}]}
        (tmp_path / "schemas" / f"{name}.avsc").write_text(json.dumps(schema))

    def lag(self: PostgresProducer) -> int:
        if self._name.endswith("broken"):
            raise ZeroDivisionError("a connector's own fault")
        return 7

    monkeypatch.setattr(PostgresProducer, "lag", lag)
    lags = SourceLags(load_map(tmp_path / "map.yaml"))
    try:
        assert lags() == {"broken": None, "well": 7}
        assert "ZeroDivisionError: a connector's own fault" in lags.away["broken"][1]
    finally:
        lags.close()


def test_what_can_not_be_read_in_the_state_leaves_the_rest_measured(state: State) -> None:
    """What another release of Sorbus has stored, say."""

    def ask(_: State) -> int:
        raise KeyError("a kind of another release")

    answers = StateAnswers()
    assert answers.told(FromState("", ask, 0, "how many wait", is_asked=True)) == 0
    (problem,) = answers.problems(1.0)
    assert "it doesn't say how many wait: what it holds can't be read: KeyError" in problem.why


@contextmanager
def refused(line: Line) -> Iterator[tuple[psycopg.Connection, str]]:
    """The source's login, which isn't permitted until the test permits it; and its role."""
    role = f"reader_{line.names.prefix.strip('.')}"
    with psycopg.connect(line.dsn, autocommit=True) as owner:
        owner.execute(f"create role {role} superuser nologin".encode())
        env = line.folder / ".env"
        env.write_text(f"{env.read_text()}CRM_DSN='{make_conninfo(line.dsn, user=role)}'\n")
        yield owner, role


def test_a_source_that_refused_is_asked_again_once_its_producer_works(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever gives a login back on the server changes no file of ours."""
    monkeypatch.delenv("CRM_DSN")
    with refused(line) as (owner, role):
        watch, health = open_watch(load_map(line.folder / "map.yaml"), line.settings, ()), Health()
        try:
            assert watch.measure().slots == {"crm": None}
            assert watch.is_refused
            owner.execute(f"alter role {role} login".encode())
            assert watch.measure().slots == {"crm": None}, "a refused login isn't tried again by itself"
            time.sleep(0.01)
            health.ready()
            with reporting(line.settings, line.names, "produce crm", health):
                eventually(lambda: not watch.measure().slots and not watch.is_refused, "that the source answers", 20)
        finally:
            watch.close()


@pytest.mark.slow
def test_a_watch_that_was_refused_begins_again_with_the_new_login(line: Line) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = {name: value for name, value in line.env.items() if name != "CRM_DSN"}

    def metrics() -> str:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/metrics").text
        except httpx.HTTPError:
            return ""

    with refused(line) as (owner, role), (line.folder / "watch.log").open("wb") as log:
        command = [SORBUS, "watch", "--interval", "1", "--metrics-port", str(port)]
        watch = subprocess.Popen(command, env=env, cwd=line.folder, stdout=log, stderr=log)
        try:
            eventually(lambda: 'sorbus_problem_info{kind="system"' in metrics(), "that the source refuses", 40)
            owner.execute(f"alter role {role} login".encode())
            (line.folder / ".env").write_text((line.folder / ".env").read_text() + "# given again\n")
            eventually(
                lambda: "sorbus_flow_members{" in (found := metrics()) and 'info{kind="system"' not in found,
                "that the source answers again",
                40,
            )
        finally:
            watch.terminate()
            watch.wait(30)
