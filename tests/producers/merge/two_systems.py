"""The topics of two systems as their producers write them, and a merge of them that may end at any moment."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import stamina
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from sorbus.avro.encode import encoder
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.connector import Batch, BoundSource, BoundSystem, Position
from sorbus.errors import TransientError
from sorbus.event import DELIVERED, event_encoder
from sorbus.mapfile.model import DataType, System
from sorbus.ops.embedded import Addresses
from sorbus.producers.merge.producer import MergeProducer
from sorbus.schema import FieldType, RecordSchema, parse_schema
from sorbus.settings import Settings
from sorbus.state.database import State, close_states, migrate
from sorbus.two_way.expand import proposals_of
from sorbus.two_way.merged_record import Values
from sorbus.two_way.options import MergeConnection, MergeSource
from tests.topics import delete_topic, make_topics

SCHEMA = parse_schema(
    {
        "type": "record",
        "name": "customer",
        "fields": [{"name": "name", "type": "string"}, {"name": "email", "type": ["null", "string"], "default": None}],
    }
)
OPEN = parse_schema(
    {**SCHEMA.json, "fields": [{"name": "name", "type": ["null", "string"], "default": None}, SCHEMA.json["fields"][1]]}  # type: ignore[index, list-item, dict-item]
)


class Proposals:
    """The topics of two systems, as their producers write them, and a merge of them that may end at any moment."""

    def __init__(self, kafka: str, prefix: str, state: State) -> None:
        self.kafka, self.prefix, self.state = kafka, f"{prefix}.", state
        self.admin = AdminClient({"bootstrap.servers": kafka})
        self.out = Producer({"bootstrap.servers": kafka, "linger.ms": 0})
        self.topics = {system: f"{prefix}.{proposals_of('customer', system)}" for system in ("crm", "books")}
        names = Names(self.prefix)
        self.make(*self.topics.values(), names.schemas)
        resolver = SchemaResolver(Settings(), names, [SCHEMA])
        self.schemas = {"crm": SCHEMA, "books": OPEN}
        self.heads = {}
        for attempt in stamina.retry_context(on=TransientError, timeout=30):
            with attempt:  # Kafka takes a moment to show new topics to all
                for system, schema in self.schemas.items():
                    self.heads[system] = resolver.prefix(proposals_of("customer", system), schema)
        self.position: Position | None = None
        self.version = 1
        options = MergeSource(
            system_of_record="crm",
            proposes={"crm": ["name", "email"], "books": ["name", "email"]},
            merges={"name": "latest", "email": "latest"},
            tolerance="1s",
            flows={"crm": "customer-to-crm", "books": "customer-to-books"},
        )
        data_type = DataType(system_of_record="customer-merge")
        self.source = BoundSource("customer", data_type, SCHEMA, (), options)
        self.system = BoundSystem("customer-merge", System(kind="merge"), MergeConnection(), self.prefix, Path())
        state.run(b"insert into joined_type (data_type, joined_by) values ('customer', 'test')")

    def make(self, *topics: str) -> None:
        make_topics(self.admin, *(NewTopic(topic, 1, 1, config={"cleanup.policy": "compact"}) for topic in topics))

    def show(self, system: str, id: str | bytes, *, delivered: int | None = None, **values: object) -> None:
        """A system shows a state of a record; without values, that it is gone."""
        self.version += 10
        schema = self.schemas[system]
        encode = event_encoder(self.heads[system], system, proposals_of("customer", system))
        at = time.time_ns() // 1000
        data = encoder(FieldType("record", fields=schema.fields))({"email": None, **values}) if values else None
        key = id.encode() if isinstance(id, str) else id
        value, headers = encode(key, self.version, at, at, data)
        more = [(DELIVERED, b"%d" % delivered)] if delivered else []
        self.out.produce(self.topics[system], value, key, headers=[*headers, *more])
        self.out.flush(30)

    def shows(self, system: str, schema: RecordSchema) -> None:
        """From now on the system's producer writes this schema."""
        shown = proposals_of("customer", system)
        self.schemas[system] = schema
        self.heads[system] = SchemaResolver(Settings(), Names(self.prefix), [schema]).prefix(shown, schema)

    def says(self, *, schema: RecordSchema | None = None, **options: object) -> None:
        """The map says otherwise from now on."""
        changed = self.source.options.model_copy(update=options)
        self.source = replace(self.source, options=changed, schema=schema or self.source.schema)

    def quiet(self) -> list[Batch]:
        """One run of the merge, until it has read all there is."""
        return self.merge(until=10_000, quiet=True)

    def join_again(self) -> None:
        """As a person accepts it, where nothing is deleted."""
        self.state.run(b"update joined_type set generation = generation + 1")
        self.state.run(b"delete from system_view")

    def lose(self, system: str) -> None:
        """The topic of a system is lost, and made again."""
        delete_topic(self.admin, self.topics[system])
        self.make(self.topics[system])

    def opened(self) -> MergeProducer:
        """The merge, at its position."""
        merge = MergeProducer(self.system, [self.source])
        merge.open(self.position)
        return merge

    def records(self) -> Mapping[str, Values]:
        """The merged records that there are."""
        merge = self.opened()
        try:
            ids = [str(id).encode() for (id,) in self.state.run(b"select id from merged_record")]
            found = merge._opened.load(ids).values()
            return {one.record.id.decode(): one.record.values for one in found if one.record.values is not None}
        finally:
            merge.close()

    def merge(self, *, ends_before_kafka: bool = False, until: int = 1, quiet: bool = False) -> list[Batch]:
        """One run of the merge, until it has given out so much: its batches with something in them.

        `quiet`: until it has stored that it has read everything.
        """
        merge, found = self.opened(), []
        deadline = time.monotonic() + 20
        try:
            while sum(len(one.changes) + len(one.rejects) + len(one.resolved) for one in found) < until:
                assert time.monotonic() < deadline, f"only {found}"
                batch = merge.read(0.5)
                if batch is None:
                    if quiet and merge._topics is not None and merge._topics.is_end_stored:
                        break
                    continue
                if not ends_before_kafka:
                    self.position = batch.position
                    merge.confirm(batch.position)
                if batch.changes or batch.rejects or batch.resolved:
                    found.append(batch)
            return found
        finally:
            merge.close()


@pytest.fixture
def proposals(stack: Addresses, unique: str, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proposals]:
    for name, value in stack.env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SORBUS_REGISTRY", "")
    monkeypatch.setenv("SORBUS_DATABASE", database)
    state = State(database, f"{unique}.")
    migrate(state)
    made = Proposals(stack.kafka, unique, state)
    made.merge(until=9, quiet=True)  # joined, with nothing there yet
    yield made
    state.close()
    close_states()
