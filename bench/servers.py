"""The servers every contender shares: one Kafka, registry and PostgreSQL, on the ports that the peers' files name."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec
from psycopg import sql

from bench.processes import listener
from sorbus.ops.embedded.errors import StackError
from sorbus.ops.embedded.ports import Ports
from sorbus.ops.embedded.stack import Stack

PORTS = Ports(kafka=19092, controller=19093, registry=18081, database=15432)
"""Those that the peers' files name."""
DATABASES = ("src", "dst", "sorbus")
SQL = Path(__file__).parent / "sql"


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the servers are, and what the harness does to them between rounds."""

    admin: AdminClient
    ports: Ports = PORTS

    @property
    def kafka(self) -> str:
        return f"127.0.0.1:{self.ports.kafka}"

    @property
    def registry(self) -> str:
        return f"http://127.0.0.1:{self.ports.registry}/apis/ccompat/v7"

    def dsn(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.ports.database}/{database}"

    def connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(self.dsn(database), autocommit=True)

    def pids(self) -> dict[str, int]:
        """The first process of each server."""
        ports = {"kafka": self.ports.kafka, "registry": self.ports.registry, "postgresql": self.ports.database}
        found = {name: listener(port) for name, port in ports.items()}
        return {name: pid for name, pid in found.items() if pid is not None}

    def topics(self) -> list[str]:
        """Every topic but Kafka's own."""
        return [name for name in self.admin.list_topics(timeout=10).topics if not name.startswith("__")]

    def create_topic(self, name: str, partitions: int) -> None:
        """Make a topic; waits for a deletion of the same name to be over."""
        for attempt in range(50):
            try:
                self.admin.create_topics([NewTopic(name, partitions, 1)])[name].result(10)
            except KafkaException:
                if attempt == 49:
                    raise
                time.sleep(0.2)
            else:
                return

    def delete_topics(self, names: list[str]) -> None:
        """Delete topics and wait until they are gone."""
        if names:
            for deleted in self.admin.delete_topics(names).values():
                deleted.result(30)
            while set(names) & set(self.topics()):
                time.sleep(0.1)

    def end_offset(self, topic: str) -> int:
        """Sum over the partitions of the offset that a `read_committed` reader could reach now; 0 without the topic."""
        found = self.admin.list_topics(topic, timeout=10).topics[topic]
        if found.error is not None:
            return 0
        asked = {
            TopicPartition(topic, number): OffsetSpec.latest()  # type: ignore[no-untyped-call]
            for number in found.partitions
        }
        offsets = self.admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED)
        return sum(int(answer.result(10).offset) for answer in offsets.values())

    def wipe(self, rows: int) -> None:
        """Back to the start: no topics, groups or slots; empty `dst` and `sorbus`; `src` holds `rows` customers."""
        self._forget_groups()
        self.delete_topics(self.topics())
        with self.connect("postgres") as connection:
            connection.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active")
            for name in DATABASES:
                connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        with self.connect("src") as source:
            schema, _, fill = (SQL / "source.sql").read_text().partition("\n\n")
            source.execute(schema)
            source.execute(fill.replace("%(rows)s", str(int(rows))))
            source.execute("vacuum analyze customers")
        with self.connect("postgres") as connection:
            connection.execute("checkpoint")

    def _forget_groups(self) -> None:
        """Drop every consumer group; one whose members have only just left may refuse for a while.

        The ceiling's script ends without leaving its group, which then lives on for 45 s; its name never comes again.
        """
        for _ in range(60):
            known = [group.group_id for group in self.admin.list_consumer_groups().result(10).valid]
            groups = [name for name in known if not name.startswith("ceiling")]
            if not groups:
                return
            for deleted in self.admin.delete_consumer_groups(groups).values():
                with contextlib.suppress(KafkaException):
                    deleted.result(10)
            time.sleep(0.5)
        raise TimeoutError(f"consumer groups still have members: {groups}; stop whatever reads this Kafka")

    def facts(self) -> dict[str, str]:
        """The settings a figure depends on."""
        names = ("server_version", "wal_level", "fsync", "synchronous_commit", "shared_buffers", "max_wal_size")
        with self.connect("postgres") as connection:
            found = {name: connection.execute("select current_setting(%s)", (name,)).fetchone() for name in names}
        return {f"postgresql {name}": str(row[0]) for name, row in found.items() if row is not None}


class UnreachableError(RuntimeError):
    """The servers can't be had; the message says why."""


@contextlib.contextmanager
def running(folder: Path, *, use_running: bool, ports: Ports = PORTS) -> Iterator[Servers]:
    """The servers, started in `folder` and stopped at the end; or those that already listen on the ports."""
    with contextlib.ExitStack() as held:
        if use_running:
            silent = [port for port in (ports.kafka, ports.registry, ports.database) if listener(port) is None]
            if silent:
                raise UnreachableError(f"nothing listens on {silent}; leave --use-running out to have servers started")
        else:
            try:
                held.enter_context(Stack(folder, fast=False, ports=ports))
            except StackError as error:
                raise UnreachableError(str(error)) from error
        dsn = f"postgresql://sorbus@127.0.0.1:{ports.database}/postgres"
        with psycopg.connect(dsn, autocommit=True) as connection:
            if connection.execute("select from pg_roles where rolname = 'postgres'").fetchone() is None:
                connection.execute("create role postgres superuser replication login")
        # Its log would tell of every server's stop as a failure; what fails is raised anyway.
        yield Servers(AdminClient({"bootstrap.servers": f"127.0.0.1:{ports.kafka}", "log_level": 0}), ports)
