"""A database with a producer of its own, and its topics as a consumer in the field would read them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

import fastavro
import psycopg
import pytest
from confluent_kafka import Consumer

from sorbus.bus.kafka import all_partitions, bytes_of, headers_of, topic_reader
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.connector import Position
from sorbus.deadletter import DeadLetter
from sorbus.event import HISTORICAL, data_at, open_frame
from sorbus.map.load import load_map
from sorbus.map.loaded import LoadedMap
from sorbus.ops.runtime.planning import plan
from sorbus.producers.loop import ProduceLoop
from sorbus.schema import AvroType
from sorbus.settings import Settings
from sorbus.telemetry.health import Health
from sorbus.telemetry.metrics import ProducerMetrics
from sorbus.telemetry.stop import Stop
from tests.replication_slots import drop_slots

_SORBUS = str(Path(sys.executable).with_name("sorbus"))
Record = dict[str, object]


class Event(NamedTuple):
    """A change event off the topic; `record` None when deleted."""

    id: str
    version: int
    record: Record | None
    event_id: str
    is_historical: bool = False


class Tape:
    """One topic read from its beginning, read_committed. It fails as soon as a rule of all topics is broken."""

    def __init__(self, settings: Settings, topic: str, book: SchemaResolver) -> None:
        self.topic = topic
        self.events: list[Event] = []
        self.letters: dict[str, DeadLetter] = {}
        self.tombstones: list[str] = []
        self.positions: list[Position] = []
        self._book = book
        self._versions: dict[str, int] = {}
        self._event_ids: dict[str, str] = {}
        self._gone: set[str] = set()
        self._begins: dict[int | None, int | None] = {}
        self._consumer: Consumer = topic_reader(settings, topic)
        self._consumer.assign(all_partitions(self._consumer, topic))

    def live(self) -> dict[str, Record]:
        """The newest state of every record that is there."""
        found: dict[str, Record] = {}
        for event in self.events:
            if event.record is None:
                found.pop(event.id, None)
            else:
                found[event.id] = event.record
        return found

    def wait(self, until: Callable[[], bool], missing: Callable[[], object] | str, seconds: float = 40.0) -> None:
        """Reads until something has come about; fails with what is missing."""
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end:
                told = missing if isinstance(missing, str) else missing()
                pytest.fail(f"{self.topic}, after {seconds:.0f} s and {len(self.events)} events: {told}", pytrace=False)
            self.read()

    def wait_for(self, expected: Mapping[str, Record | None], seconds: float = 40.0) -> None:
        """Until the live records are exactly these (None: any record of that id)."""

        def differences() -> dict[str, tuple[object, object]]:
            live = self.live()
            return {
                id: (live.get(id), expected.get(id))
                for id in live.keys() | expected.keys()
                if id not in live or id not in expected or expected[id] not in (None, live[id])
            }

        def told() -> str:
            return f"id: (is, should be) {dict(list(differences().items())[:5])}"

        # Comparing is dear: only when nothing more comes.
        self.wait(lambda: not self.read() and not differences(), told, seconds)

    def read(self, wait: float = 0.1) -> int:
        """Takes in what has arrived; how many messages."""
        messages = [message for message in self._consumer.consume(2000, wait) if message.error() is None]
        for message in messages:
            key, value = bytes_of(message.key()).decode(), message.value()
            is_cut = self._begins.setdefault(message.partition(), message.offset()) != 0
            if self.topic.endswith(".dlq"):
                if value is None:
                    del self.letters[key]
                else:
                    self.letters[key] = DeadLetter.from_message(key.encode(), bytes_of(value), headers_of(message))
            elif self.topic.endswith("sorbus.positions"):
                self.positions.append(cast("Position", json.loads(bytes_of(value))))
            elif value is None:
                assert key in self._gone or is_cut, f"a tombstone of {key} without its delete"
                self.tombstones.append(key)
            else:
                where = f"{message.partition()}/{message.offset()} of {message.timestamp()[1]} ms"
                is_historical = dict(headers_of(message)).get(HISTORICAL) == b"1"
                self._take(key, bytes_of(value), where, is_historical=is_historical)
        return len(messages)

    def events_of(self, id: str) -> list[Event]:
        """One record's history."""
        return [event for event in self.events if event.id == id]

    def close(self) -> None:
        self._consumer.close()

    def _take(self, key: str, frame: bytes, where: str, *, is_historical: bool) -> None:
        head = open_frame(frame)
        id = head.id.decode()
        assert id == key
        record = None
        if not head.deleted:
            schema = self._book.schema(head.prefix)
            from io import BytesIO

            record = cast(
                "Record", fastavro.schemaless_reader(BytesIO(frame[data_at(frame, head.at) :]), schema.json, None)
            )
        event_id = f"{id}@{head.version}"
        where += " (deleted)" if head.deleted else " (historical)" if is_historical else ""
        before = self._event_ids.setdefault(event_id, where)
        assert before == where, f"{event_id} twice on {self.topic}: at {before} and {where}"
        assert self._versions.get(id, -1) < head.version, f"{id} went back to version {head.version}"
        self._versions[id] = head.version
        (self._gone.add if head.deleted else self._gone.discard)(id)
        self.events.append(Event(id, head.version, record, event_id, is_historical))


class Counted(Health):
    """It also knows how often the loop has come round."""

    rounds = 0

    def beat(self) -> None:
        self.rounds += 1
        super().beat()


class Running:
    """A produce loop in a thread."""

    def __init__(self, loaded: LoadedMap, settings: Settings, system: str) -> None:
        self.stop, self.health = Stop(), Counted()
        self.error: BaseException | None = None
        bound, sources, connector = loaded.system(system, "producer"), loaded.sources(system), loaded.producer(system)
        self.loop = ProduceLoop(
            lambda: connector(bound, sources),
            bound,
            sources,
            settings,
            health=self.health,
            metrics=ProducerMetrics(system),
            stop=self.stop,
        )
        self.thread = threading.Thread(target=self._run, name="producer", daemon=True)

    def _run(self) -> None:
        try:
            self.loop.run()
        except BaseException as error:  # noqa: BLE001  # the test looks at it
            self.error = error

    def ended(self, seconds: float = 30.0) -> BaseException | None:
        """Waits for the loop to end by itself; its error."""
        self.thread.join(seconds)
        assert not self.thread.is_alive(), f"the producer still runs after {seconds:.0f} s"
        return self.error


class Shop:
    """A map with one PostgreSQL system, `shop`, in a folder of its own."""

    def __init__(self, folder: Path, dsn: str, prefix: str, settings: Settings) -> None:
        self.folder, self.dsn, self.prefix, self.settings = folder, dsn, prefix, settings
        self.names = Names(prefix)
        self.owner = "shop"
        """The system's name in the map that `describe` writes."""
        self._owners = {self.owner}
        self.log = folder / "produce.log"
        self._tapes: list[Tape] = []
        self._data_types: dict[str, object] = {}
        self._system: dict[str, object] = {}

    def describe(
        self,
        data_types: Mapping[str, tuple[Sequence[AvroType], Mapping[str, object]]],
        system: Mapping[str, object] | None = None,
        sheet: Sequence[tuple[str, str, str]] = (),
        dsn: str = "",
    ) -> None:
        """Writes the map: data type -> (fields, source options); `sheet` rows are (column, canonical field, rule)."""
        self._owners.add(self.owner)
        (self.folder / "schemas").mkdir(exist_ok=True)
        (self.folder / "mappings").mkdir(exist_ok=True)
        for name, (fields, _) in data_types.items():
            schema = {"type": "record", "name": name, "fields": fields}
            (self.folder / "schemas" / f"{name}.avsc").write_text(json.dumps(schema))
        document = {
            "company": "Test",
            "topic_prefix": self.prefix,
            "systems": {self.owner: {"kind": "postgres", "connection": {"dsn": dsn or self.dsn}, **(system or {})}},
            "data_types": {
                name: {"system_of_record": self.owner, "partitions": 2, "source": source}
                for name, (_, source) in data_types.items()
            },
        }
        (self.folder / "map.yaml").write_text(json.dumps(document, indent=1))
        lines = ["Source System;Source Field;Target System;Target Field;Rule"]
        lines += [f"{self.owner};{column};canonical;{into};{rule}" for column, into, rule in sheet]
        for former in (self.folder / "mappings").glob("*.csv"):
            former.unlink()
        (self.folder / "mappings" / f"{self.owner}.csv").write_text("\n".join(lines) + "\n")

    def loaded(self) -> LoadedMap:
        return load_map(self.folder / "map.yaml")

    def apply(self, *, told: str = "") -> None:
        """Topics and publication, as `sorbus apply` makes them. `told`: what a person is told, and nothing else is.

        Keys that no index keeps unique are told of too, where a test is about something else (test_shared_keys.py).
        """
        steps = plan(self.loaded(), self.settings)
        left = [step.what for step in steps if step.apply is None and (told or "no unique index" not in step.what)]
        assert all(told and told in what for what in left), left
        assert bool(told) == bool(left), f"nobody is told {told!r}"
        for step in steps:
            if step.apply is not None:
                step.apply()

    def execute(self, *statements: str) -> None:
        """Each statement in a transaction of its own."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    @property
    def slot(self) -> str:
        """The name of the producer's slot, and of its publication."""
        return "sorbus_" + self.prefix.replace(".", "_") + self.owner

    def drop_slot(self) -> None:
        """Drops the producer's slot, if there is one."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            drop_slots(connection, self.slot)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query.encode()).fetchall()

    def tape(self, data_type: str) -> Tape:
        """The events of a data type."""
        return self._open(self.names.topic(data_type))

    def dead_letters(self, data_type: str) -> Tape:
        return self._open(self.names.dead_letters(data_type))

    def positions(self) -> Tape:
        return self._open(self.names.positions)

    def _open(self, topic: str) -> Tape:
        schemas = [self.loaded().schema(name) for name in self.loaded().map.data_types]
        tape = Tape(self.settings, topic, SchemaResolver(self.settings, self.names, schemas))
        self._tapes.append(tape)
        return tape

    @contextmanager
    def producing(self) -> Iterator[Running]:
        """The produce loop in a thread while the block lasts; an error that ends it fails the test."""
        running = self.start()
        try:
            yield running
        except BaseException as failure:
            if running.error is not None:
                raise running.error from failure
            raise
        finally:
            running.stop.set()
            running.thread.join(30)
        assert not running.thread.is_alive(), "the producer didn't stop within 30 s"
        if running.error is not None:
            raise running.error

    def start(self) -> Running:
        """The produce loop in a thread, for tests in which it ends by itself."""
        running = Running(self.loaded(), self.settings, self.owner)
        running.thread.start()
        return running

    @contextmanager
    def process(self) -> Iterator[subprocess.Popen[bytes]]:
        """`sorbus produce shop` as a process of its own; killed at the end if it still runs."""
        env = {**os.environ, "SORBUS_KAFKA": self.settings.kafka, "SORBUS_REGISTRY": self.settings.registry}
        with self.log.open("ab") as log:
            found = subprocess.Popen(
                [_SORBUS, "--map", str(self.folder / "map.yaml"), "produce", "shop"],
                env=env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield found
        finally:
            if found.poll() is None:
                found.send_signal(signal.SIGKILL)
            found.wait()

    def close(self) -> None:
        """Leaves no slot behind in the shared server."""
        for tape in self._tapes:
            tape.close()
        for owner in {*self._owners, self.owner}:
            self.owner = owner
            self.drop_slot()
