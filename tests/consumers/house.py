"""A house with three flows into one PostgreSQL database, and a ledger of all that its owners have published.

`gadget-to-books` makes its table, `gadget-to-archive` too (its condition, rule, deletes and fields change), and
`part-to-books` writes a table of somebody else's, which refers to that of the gadgets.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from confluent_kafka import Producer

from sorbus.bus.controls import FlowPause, pause_message
from sorbus.bus.kafka import admin, all_partitions, base_config, idempotent_producer, read_to_end, topic_reader
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.bus.sending import send
from sorbus.connector import BoundFlow
from sorbus.consumers.loop import ConsumeLoop
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.dlq.service import DeadLetterService
from sorbus.map.load import load_map
from sorbus.map.loaded import LoadedMap
from sorbus.ops.replay.run import ReplayRun
from sorbus.ops.replay.selection import Selection
from sorbus.ops.runtime.topics import plan_topics, topics_of
from sorbus.schema import RecordSchema, parse_schema
from sorbus.settings import Settings
from sorbus.state.database import State, migrate
from sorbus.telemetry.health import Health
from sorbus.telemetry.metrics import ConsumerMetrics
from sorbus.telemetry.stop import Stop
from sorbus.waiting.complete import consumer_of
from tests.consumers.gadgets import FIELDS, LINES, Record, Writer
from tests.consumers.line import eventually

BOOKS, ARCHIVE, PARTS = "gadget-to-books", "gadget-to-archive", "part-to-books"
COLOUR: Record = {"name": "colour", "type": ["null", "string"], "default": None}
PART: list[Record] = [
    {"name": "name", "type": "string"},
    {"name": "gadget", "type": ["null", "string"], "default": None},
]
TABLES = """
create table parts (id text primary key, name text not null, gadget text, remark text);
insert into parts select 'own-' || n, 'somebody''s', null, 'a person''s' from generate_series(1, 5) n;
"""
_RESTORED = ("gadgets", "gadget_lines", "archived", "archived_lines", "parts", "sorbus_applied")
REFERS = "alter table parts add constraint refers foreign key (gadget) references gadgets (id)"


def schema_of(name: str, fields: Sequence[Record]) -> RecordSchema:
    return parse_schema(json.dumps({"type": "record", "name": name, "fields": list(fields)}))


@dataclass
class Ledger:
    """What was published of one data type: id -> version -> state (None: deleted). `junk`: keys of messages that are
    no events, which are the last ones of their keys.
    """

    states: dict[str, dict[int, Record | None]] = field(default_factory=dict)
    junk: set[str] = field(default_factory=set)
    last: int = 0

    def newest(self, id: str) -> tuple[int, Record | None]:
        version = max(self.states[id])
        return version, self.states[id][version]


@dataclass
class Shape:
    """How the archive's flow is written in the map."""

    is_there: bool = True
    where: str = ""
    on_leave: str = "delete"
    deletes: str = "hard"
    rule: str = ""
    timing: str = "real-time"
    has_colour: bool = False
    holds: bool = False
    """Whether records without a price are held back."""


class Life:
    """A flow's consumer in a thread, until it is stopped or ends."""

    def __init__(self, house: House, flow: BoundFlow, settings: Settings, batch: int) -> None:
        self.flow, self.stop = flow.flow.id, Stop()
        self.error: BaseException | None = None
        connector = house.loaded.consumer(flow.flow.to)

        def run() -> None:
            try:
                ConsumeLoop(
                    lambda: consumer_of(connector, flow),
                    flow,
                    settings,
                    health=Health(),
                    metrics=ConsumerMetrics(flow.flow.id, flow.flow.data_type, flow.system.name),
                    stop=self.stop,
                    batch=batch,
                ).run()
            except BaseException as error:  # noqa: BLE001 - looked at when it is stopped
                self.error = error

        self.thread = threading.Thread(target=run, daemon=True)


class House:
    """The map, its topics, its target and what was published."""

    def __init__(self, folder: Path, dsn: str, stack_env: Mapping[str, str], prefix: str) -> None:
        self.folder, self.dsn, self.prefix = folder, dsn, prefix
        for name in ("schemas", "mappings"):
            (folder / name).mkdir()
        self.settings = Settings(kafka=stack_env["SORBUS_KAFKA"], registry=stack_env["SORBUS_REGISTRY"])
        self.names = Names(f"{prefix}.")
        self.state = State(stack_env["SORBUS_DATABASE"], f"{prefix}.")
        migrate(self.state)
        self.connection = psycopg.connect(dsn, autocommit=True)
        self.connection.execute(TABLES)
        self.shape = Shape()
        self.ledgers = {"gadget": Ledger(), "part": Ledger()}
        self.loaded: LoadedMap
        self.describe()
        self.connection.execute(REFERS)
        self.book = SchemaResolver(self.settings, self.names)
        self._writers: dict[tuple[str, bool], Writer] = {}
        self._producer = Producer(base_config(self.settings, "test"))

    def describe(self) -> None:
        """Writes the map and does what `sorbus apply` does."""
        shape = self.shape
        gadget = [*FIELDS, LINES, *([COLOUR] if shape.has_colour else [])]
        for name, fields in (("gadget", gadget), ("part", PART)):
            (self.folder / "schemas" / f"{name}.avsc").write_text(schema_of(name, fields).text)
        archive: dict[str, object] = {
            "data_type": "gadget",
            "to": "archive",
            "on_lost_events": "reread",
            "deletes": shape.deletes,
            "timing": shape.timing,
            "target": {"table": "archived", "children": {"lines": {"table": "archived_lines"}}},
            **({"where": shape.where, "on_leave": shape.on_leave} if shape.where else {}),
            **({"on_incomplete": "hold", "required": ["price"]} if shape.holds else {}),
        }
        books = {"table": "gadgets", "children": {"lines": {"table": "gadget_lines"}}}
        document = {
            "company": "Test",
            "topic_prefix": f"{self.prefix}.",
            "systems": {
                name: {"kind": "postgres", "connection": {"dsn": self.dsn}, "owner": "Ada"}
                for name in ("crm", "books", "archive")
            },
            "data_types": {
                name: {"system_of_record": "crm", "source": {"table": name}, "partitions": 2}
                for name in ("gadget", "part")
            },
            "flows": [
                {"data_type": "gadget", "to": "books", "on_lost_events": "reread", "target": books},
                *([archive] if shape.is_there else []),
                {
                    "data_type": "part",
                    "to": "books",
                    "on_lost_events": "reread",
                    "target": {"table": "parts", "existing": True},
                },
            ],
        }
        (self.folder / "map.yaml").write_text(json.dumps(document, indent=1))
        names = ["name", "note", "price", "made_on", *(["colour"] if shape.has_colour else [])]
        rows = [
            f"canonical;gadget.{name};archive;archived.{name};{shape.rule if name == 'name' else ''}" for name in names
        ]
        rows += [f"canonical;gadget.lines[].{name};archive;archived_lines.{name};" for name in ("sku", "quantity")]
        sheet = ["Source System;Source Field;Target System;Target Field;Rule", *rows]
        (self.folder / "mappings" / "archive.csv").write_text("\n".join(sheet) + "\n")
        self.loaded = load_map(self.folder / "map.yaml")
        steps = plan_topics(admin(self.settings), topics_of(self.loaded.map))
        for flow in self.flows:
            steps += PostgresConsumer.plan(self.loaded.flow(flow))
        for step in steps:
            if step.apply is not None:
                step.apply()

    @property
    def flows(self) -> list[str]:
        return [BOOKS, *([ARCHIVE] if self.shape.is_there else []), PARTS]

    def execute(self, statement: str) -> None:
        self.connection.execute(statement.encode())

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        return self.connection.execute(query.encode(), values).fetchall()

    def back_up(self) -> dict[str, str]:
        """All of the target at one moment: table -> its rows, as JSON."""
        return {
            str(table): str(rows)
            for table, rows in self.rows(
                " union all ".join(
                    f"select '{table}', coalesce(jsonb_agg(to_jsonb(t)), '[]')::text from {table} t"
                    for table in _RESTORED
                )
            )
        }

    def restore(self, backup: Mapping[str, str]) -> None:
        """Puts a backup back; nobody sees anything of it before it is done, and no session survives it."""
        with self.connection.transaction():
            self.execute(f"lock table {', '.join(_RESTORED)} in access exclusive mode")
            self.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
            self.execute("set local session_replication_role = replica")
            for table in _RESTORED:
                self.execute(f"delete from {table}")
            for table in _RESTORED:
                self.connection.execute(
                    f"insert into {table} select * from jsonb_populate_recordset(null::{table}, %s::jsonb)".encode(),
                    (backup[table],),
                )

    def service(self) -> DeadLetterService:
        return DeadLetterService(self.loaded, self.settings, self.state)

    def replay(self, flow: str) -> str:
        """What `sorbus replay FLOW` says."""
        run = ReplayRun(self.loaded, flow, "a person")
        return run.in_place(Selection(), lambda *_: None, without_deleted=True).words

    def shadow(self, flow: str) -> str:
        """What `sorbus replay FLOW --shadow` says."""
        return ReplayRun(self.loaded, flow, "a person").shadow(Selection(), lambda *_: None, remove_extra=False).words

    def remake(self, data_type: str) -> None:
        """Somebody deletes a topic, and it is made again."""
        client, topic = admin(self.settings), self.names.topic(data_type)
        for future in client.delete_topics([topic]).values():
            future.result(30)
        eventually(lambda: topic not in client.list_topics(timeout=10).topics, f"the end of {topic}")
        for step in plan_topics(client, topics_of(self.loaded.map)):
            if step.apply is not None:
                step.apply()
        self._producer = Producer(base_config(self.settings, "test"))  # the one before takes the topic for gone

    def pause(self, flow: str, *, is_paused: bool) -> None:
        pause = FlowPause("Ada", "a test", time.time()) if is_paused else None
        send(idempotent_producer(self.settings, "test"), [pause_message(self.names, flow, pause)], "pausing")

    def publish(self, data_type: str, events: Iterable[tuple[str, int, Record | None]]) -> None:
        """As a producer does: each event, and a tombstone behind each delete."""
        ledger = self.ledgers[data_type]
        for id, version, record in events:
            writer = self._writer(data_type, has_colour=record is not None and "colour" in record)
            value, headers = writer.event(id, version, record)
            ledger.states.setdefault(id, {}).setdefault(version, record)
            ledger.last = max(ledger.last, version)
            ledger.junk.discard(id)
            self.write(data_type, id, value, headers)
            if record is None:
                self.write(data_type, id, None, headers)
        assert self._producer.flush(30) == 0, "Kafka didn't take the test's events"

    def write(self, data_type: str, key: str, value: bytes | None, headers: Sequence[tuple[str, object]] = ()) -> None:
        self._producer.produce(self.names.topic(data_type), value, key.encode(), headers=list(headers))  # type: ignore[arg-type]

    def junk(self, data_type: str, key: str, value: bytes) -> None:
        """A message that is no event."""
        self.write(data_type, key, value)
        assert self._producer.flush(30) == 0
        self.ledgers[data_type].junk.add(key)

    def letters(self) -> dict[str, tuple[str, str, int | None, str]]:
        """The open letters as their topics show them: id -> flow, record's id, version, reason."""
        reader = topic_reader(self.settings, "test")
        found: dict[str, tuple[str, str, int | None, str]] = {}
        try:
            for data_type in self.ledgers:
                for message in read_to_end(reader, all_partitions(reader, self.names.dead_letters(data_type))):
                    key, headers = (message.key() or b"").decode(), dict(message.headers() or [])
                    found.pop(key, None)
                    if message.value() is not None:
                        said = bytes(headers.get("ce_id") or b"").rpartition(b"@")[2]
                        found[key] = (
                            bytes(headers["sorbus.flow"] or b"").decode(),
                            bytes(headers["sorbus.record_id"] or b"").decode(),
                            int(said) if said.isdigit() else None,
                            bytes(headers["sorbus.reason"] or b"").decode(),
                        )
        finally:
            reader.close()
        return found

    def waiting(self) -> set[tuple[str, str, int]]:
        """Flow, id and version of the records that wait."""
        with self.state.connection() as connection:
            rows = connection.execute("select flow, key, version from waiting").fetchall()
        return {(str(flow), bytes(key).decode(), int(version)) for flow, key, version in rows}  # type: ignore[arg-type,call-overload]

    def start(self, flow: str, settings: Settings | None = None, batch: int = 10_000) -> Life:
        return Life(self, self.loaded.flow(flow), settings or self.settings, batch)

    def close(self) -> None:
        self.state.close()
        self.connection.close()

    def _writer(self, data_type: str, *, has_colour: bool) -> Writer:
        found = self._writers.get((data_type, has_colour))
        if found is None:
            fields = PART if data_type == "part" else [*FIELDS, LINES, *([COLOUR] if has_colour else [])]
            schema = schema_of(data_type, fields)
            found = self._writers[data_type, has_colour] = Writer(schema, self.book.prefix(data_type, schema))
        return found
