"""A flow of gadgets on the test's own topics: events go into Kafka, a real consumer brings them to its target."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import TypeVar

import psycopg
from confluent_kafka import Producer
from psycopg import sql

from sorbus.bus.kafka import admin, base_config
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.connector import Consumer
from sorbus.consumers.loop import ConsumeLoop
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.deadletter import DeadLetter
from sorbus.dlq.reader import open_letters
from sorbus.map.load import load_map
from sorbus.map.loaded import LoadedMap
from sorbus.ops.runtime.topics import plan_topics, topics_of
from sorbus.settings import Settings
from sorbus.state.database import State
from sorbus.telemetry.health import Health
from sorbus.telemetry.metrics import ConsumerMetrics
from sorbus.telemetry.stop import Stop
from tests.commands import type_command
from tests.consumers.gadgets import GADGET_WITH_LINES, Record, Writer, gadget, make_tables

T = TypeVar("T")
FLOW = "gadget-to-books"
SORBUS = str(Path(sys.executable).with_name("sorbus"))
MAP = """
topic_prefix: {prefix}.
systems:
  crm: {{kind: postgres, connection: {{dsn: "${{CRM_DSN}}"}}, owner: Sales}}
  books: {{kind: postgres, connection: {{dsn: "${{BOOKS_DSN}}"}}, owner: Finance}}
data_types:
  gadget: {{system_of_record: crm, source: {{table: gadgets}}, partitions: 2}}
flows:
  - data_type: gadget
    to: books
    timing: {timing}
    target: {{table: gadgets, children: {{lines: {{table: gadget_lines}}}}}}
"""
RESTRICTED = "alter table gadgets add constraint short_name check (length(name) < 20)"


def eventually(attempt: Callable[[], T | None], missing: str, seconds: float = 40) -> T:
    """What `attempt` gives once it gives something true; else the test fails, saying what was missing."""
    deadline = time.monotonic() + seconds
    while True:
        found = attempt()
        if found:
            return found
        assert time.monotonic() < deadline, f"after {seconds:.0f} s still missing: {missing}"
        time.sleep(0.05)


class Process:
    """`sorbus consume` as a process."""

    def __init__(self, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.popen, self.log = popen, log

    def end(self, number: int = signal.SIGTERM, seconds: float = 10) -> int:
        """Sends a signal and waits; the exit status."""
        self.popen.send_signal(number)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.send_signal(signal.SIGABRT)  # faulthandler writes down where its threads are
            self.popen.wait(10)
            raise AssertionError(f"not gone {seconds:.0f} s after the signal:\n{self.told}") from None

    @property
    def told(self) -> str:
        return self.log.read_text("utf-8", errors="replace")


class Running:
    """A loop in a thread of the test."""

    def __init__(self, loop: ConsumeLoop, health: Health, stop: Stop) -> None:
        self.health, self._stop = health, stop
        self.error: BaseException | None = None

        def run() -> None:
            try:
                loop.run()
            except BaseException as error:  # noqa: BLE001 - shown when it is stopped
                self.error = error

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def stop(self, seconds: float = 10) -> None:
        self._stop.set()
        self.thread.join(seconds)
        assert not self.thread.is_alive(), f"the loop did not stop within {seconds:.0f} s"
        assert self.error is None, f"the loop ended with {self.error!r}"


class Line:
    """A map with one flow, its topics and its target's tables made."""

    def __init__(
        self, folder: Path, dsn: str, stack_env: Mapping[str, str], prefix: str, *, registry: bool, timing: str
    ) -> None:
        self.folder, self.dsn = folder, dsn
        self.write_map(MAP.format(prefix=prefix, timing=timing), prefix)
        (folder / "schemas").mkdir()
        (folder / "schemas" / "gadget.avsc").write_text(GADGET_WITH_LINES.text)
        env = {**stack_env, "BOOKS_DSN": dsn, "CRM_DSN": dsn, "SORBUS_MAP": str(folder / "map.yaml")}
        if not registry:
            env["SORBUS_REGISTRY"] = ""
        (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in env.items()))
        self.env = {**os.environ, **env}
        self.settings = Settings(kafka=env["SORBUS_KAFKA"], registry=env["SORBUS_REGISTRY"])
        self.names = Names(f"{prefix}.")
        self.state = State(env["SORBUS_DATABASE"], f"{prefix}.")
        self.topic = self.names.topic("gadget")
        self.loaded: LoadedMap = load_map(folder / "map.yaml")
        self._admin = admin(self.settings)
        for step in plan_topics(self._admin, topics_of(self.loaded.map)):
            assert step.apply is not None
            step.apply()
        self.flow = self.loaded.flow(FLOW)
        self.make_target()
        book = SchemaResolver(self.settings, self.names)
        self.writer = Writer(GADGET_WITH_LINES, book.prefix("gadget", GADGET_WITH_LINES))
        self._producer = Producer(base_config(self.settings, "test"))
        self.connection = psycopg.connect(dsn, autocommit=True)

    def write_map(self, text: str, prefix: str) -> None:
        """Writes the map, and what belongs to it, into the folder."""
        (self.folder / "map.yaml").write_text(text)

    def make_target(self) -> None:
        """What `sorbus apply` does for the flow."""
        make_tables(self.flow)

    def publish(
        self, events: Iterable[tuple[str, int, Record | None]], *, tombstones: bool = True, at: float = 0
    ) -> None:
        """Writes events, a tombstone behind each delete. `at`: when, in seconds since 1970; 0: now."""
        for id, version, record in events:
            value, headers = self.writer.event(id, version, record)
            self.write(id, value, headers, at=at)
            if record is None and tombstones:
                self.write(id, None, headers, at=at)
        self.flush()

    def write(
        self,
        key: str,
        value: bytes | None,
        headers: Iterable[tuple[str, str | bytes | None]] = (),
        partition: int = -1,
        at: float = 0,
    ) -> None:
        """Queues one message as it is, for the partition of its key unless another is named."""
        moment = int(at * 1000)
        self._producer.produce(self.topic, value, key.encode(), partition, headers=list(headers), timestamp=moment)

    def flush(self) -> None:
        assert self._producer.flush(30) == 0, "Kafka didn't take the test's events"

    def rows(self) -> dict[str, str]:
        """The target's gadgets: id -> name."""
        return {str(id): str(name) for id, name in self.connection.execute("select id, name from gadgets").fetchall()}

    def execute(self, statement: str) -> None:
        """Something that somebody does to the target."""
        self.connection.execute(statement.encode())

    def letters(self) -> list[DeadLetter]:
        return open_letters(self.settings, self.names, ["gadget"])

    def until(self, rows: Mapping[str, str], seconds: float = 40) -> None:
        """Returns when the target holds exactly these."""
        deadline = time.monotonic() + seconds
        while (found := self.rows()) != rows:
            late = time.monotonic() > deadline
            missing = sorted(rows.items() - found.items())[:5]
            assert not late, f"missing {missing}, not expected {sorted(found.items() - rows.items())[:5]}"
            time.sleep(0.05)

    def until_letters(self, count: int) -> list[DeadLetter]:
        """The open letters once there are so many."""

        def enough() -> tuple[list[DeadLetter]] | None:
            found = self.letters()
            return (found,) if len(found) == count else None

        return eventually(enough, f"{count} open letters")[0]

    @contextmanager
    def consuming(
        self, settings: Settings | None = None, make: Callable[[], Consumer] | None = None, batch: int = 10_000
    ) -> Iterator[Running]:
        """A loop in a thread while the block lasts; it must stop by itself within 10 s."""
        health, stop = Health(), Stop()
        loop = ConsumeLoop(
            make or (lambda: PostgresConsumer(self.flow)),
            self.flow,
            settings or self.settings,
            health=health,
            metrics=ConsumerMetrics(FLOW, "gadget", "books"),
            stop=stop,
            batch=batch,
        )
        running = Running(loop, health, stop)
        try:
            yield running
        finally:
            running.stop()

    @contextmanager
    def process(self, name: str = "consume", **env: str) -> Iterator[Process]:
        """`sorbus consume` while the block lasts."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            popen = subprocess.Popen(
                [SORBUS, "consume", FLOW],
                env=self.env | {"PYTHONFAULTHANDLER": "1"} | env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            yield Process(popen, log)
        finally:
            if popen.poll() is None:
                popen.kill()
                popen.wait(10)

    def sorbus(self, *arguments: str, status: int = 0) -> str:
        """Runs a command to its end, in this process; its standard output, with errors if it failed as it should."""
        with chdir(self.folder):
            done = type_command(*arguments, env=self.env)
        told = f"sorbus {' '.join(arguments)} ended with {done.exit_code}:\n{done.output}\n{done.exception!r}"
        assert done.exit_code == status, told
        return done.stdout if status == 0 else done.output

    def listed(self, *arguments: str) -> list[dict[str, object]]:
        """A command's JSON lines."""
        return [json.loads(line) for line in self.sorbus(*arguments).splitlines()]

    def close(self) -> None:
        self.state.close()
        self.connection.close()


def named(name: str, *skus: str) -> Record:
    """A gadget with that name and lines."""
    return gadget(name, lines=[{"sku": sku, "quantity": 1} for sku in skus])


@contextmanager
def down(line: Line) -> Iterator[None]:
    """The target out of reach while the block lasts: its database takes no connections, and loses those it has."""
    name = line.connection.info.dbname
    with psycopg.connect(line.dsn.rpartition("/")[0] + "/postgres", autocommit=True) as server:
        allow = sql.SQL("alter database {} with allow_connections {}")
        server.execute(allow.format(sql.Identifier(name), sql.Literal(False)))
        kill = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"
        server.execute(kill, [name])
        try:
            yield
        finally:
            server.execute(allow.format(sql.Identifier(name), sql.Literal(True)))
    line.connection = psycopg.connect(line.dsn, autocommit=True)
