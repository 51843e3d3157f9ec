"""Flows that share a process: whatever one of them does, the others deliver."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from sorbus.connector import known_kinds
from sorbus.map.load import load_map
from sorbus.ops.embedded import Addresses
from sorbus.ops.runtime.programs import programs_of
from tests.consumers.line import eventually

SORBUS = str(Path(sys.executable).with_name("sorbus"))
TARGETS = ("bad", "books", "shop", "web")
POISONED = """
import os
from pathlib import Path
from sorbus.consumers.postgres.consumer import PostgresConsumer

class PoisonedConsumer(PostgresConsumer):
    shares_process = True

    def open(self):
        mode = Path(os.environ["POISON"]).read_text()
        if mode == "import":
            import nowhere_to_be_found
        if mode == "exit":
            raise SystemExit(7)
        if mode == "abort":
            os.abort()
        super().open()
"""
SCHEMA = {"type": "record", "name": "thing", "fields": [{"name": "name", "type": "string"}]}


class Company:
    """An owner and four targets, one of them behind a connector that does what a file says."""

    def __init__(self, folder: Path, stack: Addresses, make_database: Callable[[str], str], prefix: str) -> None:
        self.folder, self.poison = folder, folder / "poison"
        owner = "create table things (id int primary key, name text not null); insert into things values (1, 'first')"
        self.owner = make_database(owner)
        self.targets = {name: make_database("") for name in TARGETS}
        code = folder / "code"
        (code / "poisoned-1.dist-info").mkdir(parents=True)
        (code / "poisoned-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: poisoned\nVersion: 1\n")
        entry = "[sorbus.consumers]\npoisoned = poisoned:PoisonedConsumer\n"
        (code / "poisoned-1.dist-info" / "entry_points.txt").write_text(entry)
        (code / "poisoned.py").write_text(POISONED)
        kinds = {name: "poisoned" if name == "bad" else "postgres" for name in TARGETS}
        dsns = {"crm": self.owner, **self.targets}
        systems = {
            name: {"kind": kinds.get(name, "postgres"), "owner": "us", "connection": {"dsn": dsn}}
            for name, dsn in dsns.items()
        }
        whole = {
            "topic_prefix": f"{prefix}.",
            "systems": systems,
            "data_types": {"thing": {"system_of_record": "crm", "source": {"table": "public.things"}}},
            "flows": [{"data_type": "thing", "to": name, "target": {"table": "things"}} for name in TARGETS],
        }
        (folder / "map.yaml").write_text(json.dumps(whole))
        (folder / "schemas").mkdir()
        (folder / "schemas" / "thing.avsc").write_text(json.dumps(SCHEMA))
        self.poison.write_text("")
        self.env = {**os.environ, **stack.env(), "PYTHONPATH": str(code), "POISON": str(self.poison)}
        self.log = folder / "up.log"
        done = subprocess.run([SORBUS, "apply", "--yes"], env=self.env, cwd=folder, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr.decode()

    @contextmanager
    def up(self, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        with self.log.open("ab") as log:
            command = [SORBUS, "up", "--no-watch", "--base-port", "0", *options]
            running = subprocess.Popen(command, env=self.env, cwd=self.folder, stdout=log, stderr=log)
        try:
            yield running
        finally:
            running.terminate()
            running.wait(30)

    def processes(self) -> dict[str, dict[str, int | str]]:
        try:
            found = json.loads((self.folder / ".sorbus" / "run" / "processes.json").read_text())
        except FileNotFoundError:
            return {}
        return {one["name"]: one for one in found}

    def pid(self, flow: str) -> int:
        return int(self.processes()[f"consume {flow}"]["pid"] or 0)

    def change(self, name: str) -> None:
        with psycopg.connect(self.owner, autocommit=True) as connection:
            connection.execute("update things set name = %s", (name,))

    def wait_for(self, name: str, *targets: str) -> None:
        """Until these targets have the owner's record so."""
        for target in targets:
            eventually(lambda: self._has(target, name), f"{name!r} in {target}\n{self.log.read_text()[-3000:]}", 90)  # noqa: B023

    def _has(self, target: str, name: str) -> bool:
        with psycopg.connect(self.targets[target], autocommit=True) as connection:
            try:
                row = connection.execute(sql.SQL("select name from things")).fetchone()
            except psycopg.errors.UndefinedTable:
                return False
        return row == (name,)


@pytest.fixture
def shared(stack: Addresses, make_database: Callable[[str], str], unique: str, tmp_path: Path) -> Company:
    return Company(tmp_path, stack, make_database, unique)


@pytest.mark.parametrize("poison", ["import", "exit"])
def test_what_one_flow_raises_ends_that_flow_alone_and_it_comes_back(shared: Company, poison: str) -> None:
    shared.poison.write_text(poison)
    with shared.up("--together", "10"):
        shared.wait_for("first", "books", "shop", "web")
        assert len({shared.pid(f"thing-to-{name}") for name in TARGETS}) == 1
        before = shared.pid("thing-to-bad")
        eventually(lambda: "starts again in" in shared.log.read_text(), "the word on its end")
        shared.change("second")
        shared.wait_for("second", "books", "shop", "web")
        shared.poison.write_text("")
        shared.wait_for("second", "bad")
        assert shared.pid("thing-to-bad") == before, f"the process was restarted:\n{shared.log.read_text()[-3000:]}"


def test_a_flow_that_crashes_its_process_gets_one_of_its_own_and_so_do_the_others(shared: Company) -> None:
    with shared.up("--together", "10"):
        shared.wait_for("first", *TARGETS)
        shared.poison.write_text("abort")
        os.kill(shared.pid("thing-to-bad"), signal.SIGKILL)
        shared.change("second")
        shared.wait_for("second", "books", "shop", "web")
        pids = {name: shared.pid(f"thing-to-{name}") for name in TARGETS}
        assert len({pids[name] for name in ("books", "shop", "web")}) == 3
        crashes = int(shared.processes()["consume thing-to-bad"]["restarts"])
        eventually(lambda: int(shared.processes()["consume thing-to-bad"]["restarts"]) > crashes, "another crash")
        shared.change("third")
        shared.wait_for("third", "books", "shop", "web")
        assert {name: shared.pid(f"thing-to-{name}") for name in ("books", "shop", "web")} == {
            name: pids[name] for name in ("books", "shop", "web")
        }, "a neighbour was restarted"
        shared.poison.write_text("")
        shared.wait_for("third", "bad")


def test_flows_are_shared_out_and_few_have_processes_of_their_own(
    shared: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(shared.folder / "code")
    known = [kind for kind in known_kinds("sorbus.consumers") if kind != "poisoned"]
    monkeypatch.setattr("sorbus.connector._known_kinds", lambda _: (*known, "poisoned"))  # it remembers

    def commands(**options: int) -> list[str]:
        return [
            one.name
            for one in programs_of(load_map(shared.folder / "map.yaml"), watch=False, **options)  # type: ignore[arg-type]
        ]

    each = [f"consume thing-to-{name}" for name in TARGETS]
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert commands() == ["produce crm", *each]
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert commands() == ["produce crm", "consume thing-to-bad +1", "consume thing-to-shop +1"]
    assert commands(together=1) == ["produce crm", *each]
    assert commands(together=4) == ["produce crm", "consume thing-to-bad +3"]


def test_a_process_of_several_tells_the_state_of_each(shared: Company) -> None:
    import httpx

    shared.poison.write_text("exit")
    with shared.up("--together", "10"):
        shared.wait_for("first", "books")
        port = shared.processes()["consume thing-to-books"]["port"]
        eventually(
            lambda: 'consume thing-to-bad"} 0.0' in httpx.get(f"http://127.0.0.1:{port}/metrics").text, "not ready"
        )
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert 'sorbus_ready{process="consume thing-to-books"} 1.0' in text
        assert 'sorbus_up{process="consume thing-to-bad"} 1.0' in text

        def ready() -> httpx.Response:
            return httpx.get(f"http://127.0.0.1:{port}/healthz/ready")

        eventually(lambda: ready().text.startswith("consume thing-to-bad: ended: 7"), "it has ended, and why")
        assert ready().status_code == 503
        assert httpx.get(f"http://127.0.0.1:{port}/healthz/live").status_code == 200


def test_several_flows_stop_together_within_seconds(shared: Company) -> None:
    with shared.up("--together", "10") as running:
        shared.wait_for("first", *TARGETS)
        began = time.monotonic()
        running.terminate()
        assert running.wait(20) == 0
        assert time.monotonic() - began < 10
    assert "is killed" not in shared.log.read_text()
