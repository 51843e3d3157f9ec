"""The whole stack: Kafka, registry and PostgreSQL started together, on addresses that stay the same in a folder."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from rich.console import Console

from sorbus.ops.embedded import packages, process
from sorbus.ops.embedded.errors import StackError
from sorbus.ops.embedded.kafka import Kafka
from sorbus.ops.embedded.keeper import Keeper, KeptServer
from sorbus.ops.embedded.packages import Packages
from sorbus.ops.embedded.ports import LOOPBACK, Ports
from sorbus.ops.embedded.postgres import DATABASE, Postgres
from sorbus.ops.embedded.registry import RegistryServer

SERVERS = ("kafka", "registry", "postgres")

_PORTS_FILE = "ports.json"
_LOCK_FILE = "running.lock"
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the stack is reached, in the form that clients take."""

    kafka: str
    registry: str
    database: str

    @classmethod
    def of(cls, ports: Ports) -> Addresses:
        """The addresses of a stack on these ports."""
        return cls(
            kafka=f"{LOOPBACK}:{ports.kafka}",
            registry=f"http://{LOOPBACK}:{ports.registry}/apis/ccompat/v7",
            database=Postgres.dsn(ports.database, DATABASE),
        )

    def env(self) -> dict[str, str]:
        """The environment variables through which every other part of Sorbus finds the stack."""
        return {"SORBUS_KAFKA": self.kafka, "SORBUS_REGISTRY": self.registry, "SORBUS_DATABASE": self.database}


class Stack:
    """A Kafka, a registry and a PostgreSQL, with their data in `folder`.

    `fast` trades durability over a power cut for speed (tests). `ports` asks for certain ports; else those of the last
    run in this folder are used again, or free ones taken. Start and stop it, or use it as a context manager.
    """

    def __init__(self, folder: Path, *, fast: bool = False, ports: Ports | None = None) -> None:
        self.folder = folder.absolute()
        self._fast = fast
        self._asked = ports
        self._ports: Ports | None = None
        self._lock: IO[bytes] | None = None
        self._kafka: Kafka | None = None
        self._registry: RegistryServer | None = None
        self._postgres: Postgres | None = None
        self._keeper = Keeper({})

    @property
    def addresses(self) -> Addresses:
        """Where the running stack is reached."""
        if self._ports is None:
            raise StackError("The stack isn't started, so it has no addresses yet.")
        return Addresses.of(self._ports)

    def env(self) -> dict[str, str]:
        """SORBUS_KAFKA, SORBUS_REGISTRY and SORBUS_DATABASE for the running stack."""
        return self.addresses.env()

    def start(self, *, console: Console | None = None) -> None:
        """Fetch what is missing, start all three at once, and return when each answers.

        Raises StackError, with nothing left running, if one can't; the message ends with that server's last log lines.
        """
        fetched = packages.fetch(console=console)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._take_folder()
        try:
            process.clear_stale(self.folder)
            self._start_all(fetched)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all three in order, at once; does nothing if they aren't running. The data stay."""
        _all_at_once([server.stop for server in self._servers()])
        self._kafka = self._registry = self._postgres = self._ports = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def restart_ended(self, say: Callable[[str], None]) -> None:
        """Start again each server that has ended by itself, on its port; see Keeper.restart_ended."""
        self._keeper.restart_ended(say)

    def is_running(self) -> bool:
        """Whether all three servers are up."""
        return len(self._servers()) == len(SERVERS) and all(server.is_running() for server in self._servers())

    def create_database(self, name: str) -> str:
        """Make sure that a database exists next to `sorbus`; returns how to connect to it."""
        if self._postgres is None:
            raise StackError(f"The stack isn't started, so the database {name} can't be made.")
        return self._postgres.create_database(name)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_all(self, fetched: Packages) -> None:
        for tries_left in reversed(range(_TRIES)):
            self._ports = self._choose_ports()
            servers = self._build(fetched, self._ports)
            try:
                _all_at_once([partial(_start, server) for server in servers.values()])
            except StackError:
                # Between choice and bind another program may take a port: others are chosen then.
                _all_at_once([server.stop for server in self._servers()])
                if self._asked or not tries_left or not self._ports.busy():
                    raise
                (self.folder / _PORTS_FILE).unlink()
            else:
                self._keeper = Keeper(servers)
                return

    def _servers(self) -> list[Kafka | RegistryServer | Postgres]:
        return [server for server in (self._kafka, self._registry, self._postgres) if server is not None]

    def _take_folder(self) -> None:
        self._lock = (self.folder / _LOCK_FILE).open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            self._lock = None
            raise StackError(
                f"A stack already runs in {self.folder}; use it (sorbus stack env), stop it, or name another --folder."
            ) from error

    def _choose_ports(self) -> Ports:
        file = self.folder / _PORTS_FILE
        ports = self._asked or Ports.recall(file)
        if ports is not None and (busy := ports.busy()):
            if self._asked:
                raise StackError(f"Another process listens on {', '.join(busy)}; stop it or ask for other ports.")
            ports = None
        ports = ports or Ports.free()
        ports.remember(file)
        return ports

    def _build(self, fetched: Packages, ports: Ports) -> dict[str, KeptServer]:
        self._kafka = Kafka(self.folder, fetched, port=ports.kafka, controller=ports.controller)
        self._registry = RegistryServer(self.folder, fetched, port=ports.registry)
        self._postgres = Postgres(self.folder, fetched, port=ports.database, fast=self._fast)
        return dict(zip(SERVERS, self._servers(), strict=True))


def running(folder: Path) -> Addresses | None:
    """The addresses of the stack that runs in `folder`, whichever process started it; None if none does."""
    ports = Ports.recall(folder / _PORTS_FILE)
    if ports is None or not all(process.is_alive(folder, name) for name in SERVERS):
        return None
    return Addresses.of(ports)


def _start(server: KeptServer) -> None:
    server.start()
    server.wait()


def _all_at_once(jobs: list[Callable[[], None]]) -> None:
    """Run jobs side by side; when all have ended, raise the first one's error."""
    if not jobs:
        return
    with ThreadPoolExecutor(len(jobs)) as pool:
        for done in [pool.submit(job) for job in jobs]:
            done.result()
