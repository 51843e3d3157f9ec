"""Gadgets: a small data type of these tests' own, its events, and flows that bring it into PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import psycopg
from pydantic import SecretStr

from sorbus.avro.encode import encoder
from sorbus.connector import BoundFlow, BoundSystem, Delivery
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.consumers.postgres.options import PostgresTarget
from sorbus.event import Headers, data_at, envelope_schema, event_encoder, open_frame, single_object_prefix
from sorbus.mapfile.model import DataType, FieldMapping, Flow, System
from sorbus.postgres.connection import PostgresConnection
from sorbus.schema import FieldType, RecordSchema, parse_schema

Record = Mapping[str, object]
LINES: Record = {
    "name": "lines",
    "type": {
        "type": "array",
        "items": {
            "type": "record",
            "name": "line",
            "fields": [{"name": "sku", "type": "string"}, {"name": "quantity", "type": "int"}],
        },
    },
}
FIELDS: list[Record] = [
    {"name": "name", "type": "string"},
    {"name": "note", "type": ["null", "string"], "default": None},
    {
        "name": "price",
        "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 14, "scale": 2}],
        "default": None,
    },
    {"name": "made_on", "type": ["null", {"type": "int", "logicalType": "date"}], "default": None},
]


def gadget_schema(*more: Record) -> RecordSchema:
    """The gadget's schema with fields added at its end."""
    return parse_schema(json.dumps({"type": "record", "name": "gadget", "fields": [*FIELDS, *more]}))


GADGET = gadget_schema()
GADGET_WITH_LINES = gadget_schema(LINES)


class Writer:
    """Makes events as a producer with `schema` does; `prefix` is the frame's head (default: single-object)."""

    def __init__(self, schema: RecordSchema = GADGET, prefix: bytes | None = None) -> None:
        self.schema = schema
        self._record = encoder(FieldType("record", fields=schema.fields))
        head = single_object_prefix(envelope_schema(schema)) if prefix is None else prefix
        self._event = event_encoder(head, "crm", "gadget")

    def event(self, id: str, version: int, record: Record | None) -> tuple[bytes, Headers]:
        """A change event; None: deleted."""
        data = None if record is None else self._record(record)
        value, headers = self._event(id.encode(), version, 1_700_000_000_000_000 + version, 1_700_000_000_000_000, data)
        return value, headers

    def delivery(self, id: str, version: int, record: Record | None) -> Delivery:
        """The event, opened."""
        frame, _ = self.event(id, version, record)
        head = open_frame(frame)
        at = 0 if head.deleted else data_at(frame, head.at)
        return Delivery(head.id, head.version, head.deleted, self.schema, frame, at)


def gadget(name: str, **more: object) -> dict[str, object]:
    """A gadget with that name and nothing else."""
    return {"name": name, "note": None, "price": None, "made_on": None, **more}


def flow_into(
    dsn: str,
    *,
    schema: RecordSchema = GADGET,
    deletes: str = "hard",
    rows: Sequence[tuple[str, str, str]] = (),
    **target: object,
) -> BoundFlow:
    """A flow of gadgets into table `gadgets`; `rows` are (canonical field, column, rule) of the mapping sheet."""
    options = PostgresTarget.model_validate({"table": "gadgets", **target})
    flow = Flow.model_validate({"data_type": "gadget", "to": "books", "deletes": deletes})
    mapping = tuple(
        FieldMapping(
            source_system="canonical",
            source_field=field and f"gadget.{field}",
            target_system="books",
            target_field=column,
            rule=rule,
        )
        for field, column, rule in rows
    )
    system = BoundSystem("books", System(kind="postgres"), PostgresConnection(dsn=SecretStr(dsn)))
    return BoundFlow(flow, DataType(), schema, mapping, options, system)


def make_tables(flow: BoundFlow) -> list[str]:
    """What `sorbus apply` does in the target; says what that was."""
    steps = PostgresConsumer.plan(flow)
    for step in steps:
        if step.apply:
            step.apply()
    return [step.what for step in steps]


def opened(flow: BoundFlow) -> PostgresConsumer:
    """A consumer that is ready to deliver."""
    consumer = PostgresConsumer(flow)
    consumer.open()
    return consumer


class State(NamedTuple):
    """What a target holds: live gadgets by id (name, note, price, made_on), and their lines (sku, quantity)."""

    gadgets: dict[str, tuple[object, ...]]
    lines: dict[str, list[tuple[object, ...]]]


def state_of(connection: psycopg.Connection[tuple[object, ...]], *, soft: bool = False, lines: bool = False) -> State:
    """Reads a target's tables `gadgets` and `gadget_lines`; softly deleted gadgets don't count."""
    alive = " where sorbus_deleted_at is null" if soft else ""
    found = connection.execute(f"select id::text, name, note, price, made_on from gadgets{alive}").fetchall()
    items: dict[str, list[tuple[object, ...]]] = {}
    if lines:
        for id, *rest in connection.execute(
            "select parent_id::text, sku, quantity from gadget_lines order by parent_id, position"
        ):
            items.setdefault(str(id), []).append(tuple(rest))
    connection.rollback()
    return State({str(id): tuple(rest) for id, *rest in found}, items)


def expected_state(newest: Mapping[str, Record | None], *, lines: bool = False, soft: bool = False) -> State:
    """What a target must hold when these are the newest states of all gadgets."""
    live = {id: record for id, record in newest.items() if record is not None}
    gadgets = {id: tuple(record[name] for name in ("name", "note", "price", "made_on")) for id, record in live.items()}
    items: dict[str, list[tuple[object, ...]]] = {}
    if lines:
        for id, record in live.items():
            found = record["lines"]
            assert isinstance(found, list)
            if found:
                items[id] = [(line["sku"], line["quantity"]) for line in found]
    return State(gadgets, items)


TODAY = date(2026, 11, 23)
PRICE = Decimal("12.50")
