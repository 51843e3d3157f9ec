"""Real applications, and vendors' mock servers, started on free ports by the scripts beside the checkout.

What their first start makes is kept in ~/.cache/sorbus-tests, so that later ones take seconds; each run begins with the
application as it was after that first start.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from sorbus.ops.embedded.ports import listens

BESIDE = Path(__file__).parents[3] / "shared"
SCRIPTS, SPECS = BESIDE / "real", BESIDE / "specs"
CACHE = Path.home() / ".cache" / "sorbus-tests"
_FIRST_START = 900.0


class Running(NamedTuple):
    """An application that answers: where, and what its script printed last (an API key)."""

    url: str
    said: str
    folder: Path
    server: Server | None = None


class Server:
    """An application that one of the scripts starts, on one port for as long as this exists; `folder` gets its log.

    `by_pid_file`: the script takes port and pid file, not folder and port. `env` is added to the environment.
    """

    def __init__(
        self, script: str, folder: Path, *, by_pid_file: bool = False, env: Mapping[str, str] | None = None
    ) -> None:
        self._script, self._folder, self._env = script, folder, {**os.environ, **(env or {})}
        self._port, self._pid = free_port(), folder / "pid"
        self._arguments = [str(self._port), str(self._pid)] if by_pid_file else [str(folder), str(self._port)]

    def start(self) -> Running:
        """Starts it, again after `kill`, and returns once it answers."""
        path = SCRIPTS / self._script
        if not path.is_file():
            pytest.skip(f"{path} is not there: the scripts that start real applications lie beside the checkout")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._pid.unlink(missing_ok=True)
        said, told = self._folder / "script.out", self._folder / "script.err"
        with said.open("wb") as out, told.open("wb") as error:
            # The server lives on in the background and keeps what it inherits, so nothing is read through pipes.
            done = subprocess.run(
                ["bash", str(path), *self._arguments], env=self._env, stdin=subprocess.DEVNULL, stdout=out,
                stderr=error, timeout=_FIRST_START, check=False,
            )  # fmt: skip
        assert done.returncode == 0, f"{self._script} ended with {done.returncode}:\n{_last_words(told)}"
        words = said.read_text("utf-8", "replace").split()
        running = _answering(self._port, words[-1] if words else "", self._folder, told, self._pids)
        return running._replace(server=self)

    def stop(self) -> None:
        """Ends it in order."""
        if self._pid.is_file():
            _end(int(self._pid.read_text()))

    def kill(self) -> None:
        """kill -9 of it and of all its processes, and waits until they are gone."""
        pids = self._pids()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 15
        while left := [pid for pid in pids if _is_alive(pid)]:
            assert time.monotonic() < deadline, f"{self._script}: {left} survived kill -9 for 15 s"
            time.sleep(0.05)

    def _pids(self) -> list[int]:
        """Of its processes; none once it has ended."""
        top = int(self._pid.read_text())
        try:
            children = Path(f"/proc/{top}/task/{top}/children").read_text("ascii").split()
        except FileNotFoundError:
            return []
        return [top, *map(int, children)]


@contextmanager
def redmine() -> Iterator[Running]:
    """Redmine on SQLite, a request at a time, or its writers would get "database is locked" from each other.

    `said` is the administrator's API key.
    """
    env = {"PUMA_MAX_THREADS": "1"}
    with _kept("redmine", "redmine.sqlite3") as folder, _started(Server("redmine.sh", folder, env=env)) as running:
        yield running


@contextmanager
def tryton() -> Iterator[Running]:
    """Tryton on SQLite, its database called erp; admin / adminpw."""
    with _kept("tryton", "db/erp.sqlite") as folder, _started(Server("tryton.sh", folder)) as running:
        yield running


@contextmanager
def request_tracker(folder: Path, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Request Tracker; root / password. Its database is the machine's (use names of your own in it) unless `env` says.

    RT_SITE_CONFIG_DIR names another folder with its settings.
    """
    with _started(Server("request-tracker.sh", folder, by_pid_file=True, env=env)) as running:
        yield running


@contextmanager
def stripe_mock(folder: Path) -> Iterator[Running]:
    """Stripe's mock server: checks requests by Stripe's OpenAPI description, keeps nothing."""
    with _started(Server("stripe-mock.sh", folder, by_pid_file=True)) as running:
        yield running


@contextmanager
def prism(folder: Path, spec: Path, upstream: str = "") -> Iterator[Running]:
    """Stoplight Prism by a vendor's OpenAPI file: an answer 4xx to whatever breaks it. `folder` gets its log.

    With `upstream` what doesn't break it goes on to there, and the answers are held to the file as well.
    """
    if not spec.is_file():
        pytest.skip(f"{spec} is not there: the vendors' OpenAPI files lie beside the checkout")
    home = CACHE / "prism"
    program = home / "node_modules" / ".bin" / "prism"
    with _locked("prism"):
        if not program.is_file():
            if shutil.which("npm") is None:
                pytest.skip("npm is not there: Prism comes from it")
            command = ["npm", "install", "--no-fund", "--no-audit", "--silent", "--prefix", str(home)]
            subprocess.run([*command, "@stoplight/prism-cli"], check=True, timeout=_FIRST_START)
    port = free_port()
    way = ["proxy", str(spec), upstream] if upstream else ["mock", str(spec)]
    with (folder / "prism.log").open("wb") as log:
        process = subprocess.Popen(
            [str(program), *way, "-h", "127.0.0.1", "-p", str(port), "--errors"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        log = folder / "prism.log"
        yield _answering(port, "", folder, log, lambda: [process.pid] if process.poll() is None else [])
    finally:
        process.terminate()
        process.wait(20)


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _started(server: Server) -> Iterator[Running]:
    try:
        yield server.start()
    finally:
        server.stop()


def _is_alive(pid: int) -> bool:
    """Whether it runs; one that has ended and that nobody asked about yet (Z) doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _end(pid: int) -> None:
    """Ends a server that one of our scripts started, and waits until it is gone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + 15
        try:
            os.kill(pid, number)
            while time.monotonic() < deadline:
                os.kill(pid, 0)
                time.sleep(0.05)
        except ProcessLookupError:
            return


def _answering(port: int, said: str, folder: Path, log: Path, pids: Callable[[], list[int]]) -> Running:
    """Waits until it answers on its port; what another program answers there doesn't count."""
    deadline, url = time.monotonic() + 240, f"http://127.0.0.1:{port}"
    while True:
        error: Exception | None = None
        if listens(own := pids(), port):
            try:
                httpx.get(url, timeout=20)
                return Running(url, said, folder)
            except httpx.TransportError as refused:
                error = refused
        if not own:
            pytest.fail(f"what should answer at {url} has ended:\n{_last_words(log)}", pytrace=False)
        if time.monotonic() > deadline:
            pytest.fail(f"{url} doesn't answer after 240 s: {error}\n{_last_words(log)}", pytrace=False)
        time.sleep(0.1)


def _last_words(log: Path) -> str:
    return re.sub(r"\S*key\S*", "...", log.read_text("utf-8", "replace")[-2000:])


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """One run at a time uses what is kept under this name."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _kept(name: str, database: str) -> Iterator[Path]:
    """The application's folder, its database as it was after the first start."""
    folder = CACHE / "real" / name
    pristine = folder / f"{Path(database).name}.pristine"
    with _locked(name):
        if pristine.is_file():
            for stale in (folder / database).parent.glob(f"{Path(database).name}-*"):
                stale.unlink()
            shutil.copyfile(pristine, folder / database)
        elif (SCRIPTS / f"{name}.sh").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            with _started(Server(f"{name}.sh", folder)):
                pass
            shutil.copyfile(folder / database, pristine)
        yield folder
