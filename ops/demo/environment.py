"""Everything the demo needs to run: the stack, filled databases, the map applied, and `sorbus up` at work."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from psycopg import sql

from sorbus.errors import SorbusError, TransientError
from sorbus.map.load import load_map
from sorbus.ops.demo.company import DemoCompany, DemoError, fill_if_new
from sorbus.ops.embedded import packages
from sorbus.ops.embedded.ports import free_port
from sorbus.ops.embedded.stack import Stack
from sorbus.ops.runtime.planning import plan
from sorbus.settings import Settings
from sorbus.telemetry.stop import Stop

_COMMAND = (sys.executable, "-m", "sorbus.ops.demo.child")
_CONSOLE_PORT = 9490
_STOPPING = 20.0
_VERSIONS = (
    "select column_name, table_name from information_schema.columns"
    " where column_name = 'sorbus_version' or (table_name, column_name) = ('sorbus_applied', 'version')"
)
_OF_RECORDS = " where relation not like 'sorbus progress%'"
_POLL = 0.1


def _behind_everything_else() -> None:
    os.nice(19)


class Environment:
    """The demo's folder, and what runs in it. Use it as a context manager: leaving stops everything it started."""

    def __init__(self, folder: Path, company: DemoCompany) -> None:
        self.folder = folder.absolute()
        self.company = company
        self.stack = Stack(self.folder / "stack")
        self.addresses: dict[str, str] = {}
        self.console_port = 0
        self.say: Callable[[str], None] = lambda _: None
        """Hears what happens to the servers while everything runs."""
        self._up: subprocess.Popen[bytes] | None = None
        self._prepare: subprocess.Popen[bytes] | None = None
        self._state = self.folder / "demo.json"

    def __enter__(self) -> Environment:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._own_folder()
        self.stack.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop_work()
        finally:
            self._stop_preparing()
            self.stack.stop()

    @property
    def deeds(self) -> int:
        """How many deeds the feed has done in this folder, over all runs."""
        return int(self._read_state().get("deeds", 0))

    def remember(self, deeds: int) -> None:
        """Notes how far the feed is, so that the next run goes on there."""
        fresh = self._state.with_suffix(".new")
        fresh.write_text(json.dumps({"map": str(self.company.map_file), "deeds": deeds}), "utf-8")
        fresh.replace(self._state)

    def make_databases(self) -> list[str]:
        """Makes the company's databases and fills those that are new; returns their names."""
        self.addresses = {name: self.stack.create_database(name) for name in self.company.databases}
        filled = [name for name, fill in self.company.fill.items() if fill_if_new(self.addresses[name], fill)]
        (self.folder / "env").write_text(self._exports(), "utf-8")
        return filled

    def env(self) -> dict[str, str]:
        """What other Sorbus commands need to find this demo."""
        systems = {self.company.databases[name]: address for name, address in self.addresses.items()}
        return {**self.stack.env(), **systems, "SORBUS_MAP": str(self.company.map_file)}

    @property
    def targets_file(self) -> Path:
        """Where `sorbus up` lists its processes' metrics ports."""
        return self.folder / ".sorbus" / "run" / "prometheus.json"

    def psql(self, database: str) -> str:
        """The start of a psql command line for one of the databases."""
        program = shutil.which("psql") or str(packages.fetch().postgres / "psql")
        return f"{program} {self.addresses[database]}"

    def apply(self) -> int:
        """What `sorbus apply` does: topics, schemas, tables, slots. How many steps; SorbusError if one is left over."""
        with environment(self.env()):
            steps = plan(load_map(self.company.map_file), Settings())
            for step in steps:
                if step.apply is None:
                    raise SorbusError(f"{step.where}: {step.what}\n{step.detail}\nThis is for a person to do.")
                step.apply()
        return len(steps)

    def start_work(self) -> None:
        """`sorbus up`: every producer, every consumer, the watch and the console, their words into up.log."""
        self.console_port = free_port(_CONSOLE_PORT)
        with (self.folder / "up.log").open("ab") as log:
            self._up = subprocess.Popen(
                [*_COMMAND, "up", "--console"],
                env=os.environ | self.env() | {"SORBUS_CONSOLE_PORT": str(self.console_port)},
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # Ctrl-C in the terminal is for us alone; we then stop it in order.
                start_new_session=True,
            )

    def prepare_next_start(self) -> None:
        """`sorbus stack prepare` behind everything else: the next run's servers start in a third of the time."""
        with (self.folder / "prepare.log").open("ab") as log:
            self._prepare = subprocess.Popen(
                [*_COMMAND, "stack", "prepare"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_behind_everything_else,
            )

    def _stop_preparing(self) -> None:
        if self._prepare is not None and self._prepare.poll() is None:
            self._prepare.send_signal(signal.SIGINT)
            try:
                self._prepare.wait(_STOPPING)
            except subprocess.TimeoutExpired:
                self._prepare.kill()
                self._prepare.wait()
        self._prepare = None

    def stop_work(self) -> None:
        """Stops `sorbus up` gently, or kills it after a limit."""
        if self._up is None:
            return
        if self._up.poll() is None:
            self._up.send_signal(signal.SIGTERM)
            try:
                self._up.wait(_STOPPING)
            except subprocess.TimeoutExpired:
                os.killpg(self._up.pid, signal.SIGKILL)
                self._up.wait()
        self._up = None

    def check_work(self) -> None:
        """Starts again a server that has ended; TransientError with the end of the log if `sorbus up` has."""
        self.stack.restart_ended(self.say)
        if self._up is not None and (code := self._up.poll()) is not None:
            lines = (self.folder / "up.log").read_text("utf-8", "replace").splitlines()[-15:]
            raise TransientError("\n".join([f"`sorbus up` ended with status {code}:", *lines]))

    def newest_version(self) -> int:
        """The newest version that a target has of anything, 0 before the first."""
        targets = [address for name, address in self.addresses.items() if name != self.company.source]
        return max(_newest_version(address) for address in targets)

    def wait_for_newer(self, version: int, stop: Stop, *, patience: float = 120.0) -> bool:
        """Until a target has something newer than `version`; False if asked to stop first.

        TransientError after `patience` seconds in which no further process has begun to answer and no record arrived:
        starting all of them, one after the other, may take a busy machine longer than that.
        """
        progress = Progress(patience)
        while not stop.wait(_POLL):
            self.check_work()
            newest = 0
            with suppress(psycopg.OperationalError):  # restarting
                newest = self.newest_version()
            if newest > version:
                return True
            states = self.process_states()
            if progress.is_over(newest, sum(state == "running" for state in states.values())):
                away = [name for name, state in states.items() if state != "running"]
                answer = f"these processes do not answer: {', '.join(away)}" if away else "all processes answer"
                raise TransientError(
                    f"no record has reached a target, and nothing has moved for {patience:.0f} s; {answer};"
                    f" see {self.folder}/up.log"
                )
        return False

    def process_states(self) -> dict[str, str]:
        """The state of each process of `sorbus up`, as `running`; empty before it has started any."""
        try:
            listed = json.loads(self.targets_file.with_name("processes.json").read_text("utf-8"))
        except FileNotFoundError:
            return {}
        return {str(one["name"]): str(one["state"]) for one in listed}

    def _own_folder(self) -> None:
        known = self._read_state().get("map")
        if known is not None and Path(known).parent.name != self.company.map_file.parent.name:
            raise DemoError(f"{self.folder} holds the demo of {known}; name another --folder, or delete that one")

    def _read_state(self) -> Mapping[str, str]:
        try:
            found = json.loads(self._state.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise DemoError(f"{self._state} is not what the demo wrote: {error}; delete {self.folder}") from error
        return {str(key): str(value) for key, value in found.items()}

    def _exports(self) -> str:
        path = f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"\n'
        return path + "".join(f"export {name}={shlex.quote(value)}\n" for name, value in self.env().items())


class Progress:
    """Tells whether figures that only grow have stood still for longer than `patience` seconds."""

    def __init__(self, patience: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience, self._clock = patience, clock
        self._best: tuple[int, ...] = ()
        self._grown_at = clock()

    def is_over(self, *figures: int) -> bool:
        """Notes the figures of now. One that falls and comes back (a restart) hasn't grown."""
        best = tuple(map(max, figures, self._best or (0,) * len(figures)))
        if best != self._best:
            self._best, self._grown_at = best, self._clock()
        return self._clock() - self._grown_at > self._patience


def _newest_version(address: str) -> int:
    """The newest version in a target: rows of ours say theirs, `sorbus_applied` says that of others' rows."""
    with psycopg.connect(address) as connection:
        made = connection.execute(_VERSIONS).fetchall()
        newest = [
            connection.execute(
                sql.SQL("select coalesce(max({}), 0) from {}{}").format(
                    *map(sql.Identifier, map(str, column)),
                    sql.SQL(_OF_RECORDS if column[1] == "sorbus_applied" else ""),
                )
            ).fetchone()
            for column in made
        ]
    return max((int(str(row[0])) for row in newest if row), default=0)


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Puts variables into this process's environment, where the map's ${NAME} are looked up, for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
