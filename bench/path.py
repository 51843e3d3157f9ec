"""Sorbus's own way of a change in one process, all of it but the clients of Kafka and PostgreSQL.

Capturing: from a replication message to the event's value and headers, as they are handed to Kafka's client.
Delivering: from a batch of Kafka's messages to the bytes of the COPY, as they are handed to PostgreSQL's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from struct import pack

from confluent_kafka import Message

from sorbus.bus.deserialize import decode_batch
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.connector import BoundSource
from sorbus.consumers.postgres.shape import TableShape
from sorbus.event import envelope_schema, event_encoder, single_object_prefix
from sorbus.mapfile.model import DataType, FieldMapping
from sorbus.postgres.catalog import Column, Table
from sorbus.producers.postgres.capture import Capture
from sorbus.producers.postgres.collect import Collector
from sorbus.producers.postgres.options import PostgresSource
from sorbus.producers.postgres.position import PostgresPosition
from sorbus.schema import RecordSchema
from sorbus.settings import Settings

OID, BATCH = 7001, 5_000
_FRAME = b"w" + bytes(24)
Row = Sequence[bytes | None]


class CapturePath:
    """A table's changes on their way to Kafka."""

    def __init__(
        self,
        schema: RecordSchema,
        rows: Sequence[FieldMapping],
        columns: Mapping[str, int],
        lookups: Mapping[str, Mapping[str, str]],
    ) -> None:
        """`columns`: name -> type oid, in order, behind a text column `id`."""
        oids = {"id": 25, **columns}
        known = {
            name: Column(name, oid, "text", "b", "S", 0, int(name == "id"), False, oid, "text")
            for name, oid in oids.items()
        }
        source = BoundSource("customer", DataType(system_of_record="crm"), schema, tuple(rows),
                             PostgresSource(table="customers"), lookups)  # fmt: skip
        capture = Capture(source, Table(OID, "public.customers", known), ())
        self._collector = Collector(
            [capture], PostgresPosition("here", 900, 901, copied=("customer",)), lambda *_: iter(())
        )
        self._collector.feed(_relation(oids))
        prefix = single_object_prefix(envelope_schema(schema))
        self._encode = event_encoder(prefix, "crm", "customer")
        self._lsn = 1000

    def run(self, messages: Sequence[bytes]) -> tuple[float, list[bytes]]:
        """CPU seconds that a batch's messages took, and the events' values."""
        collector, encode = self._collector, self._encode
        now = time.time_ns() // 1000
        self._lsn += 100
        frames, at = [_FRAME + message for message in messages], 0
        began = time.process_time()
        collector.feed(_begin(self._lsn, now))
        while at < len(frames):  # as StreamReader does
            if (after := collector.feed_rows(frames, at)) != at:
                at = after
                continue
            collector.feed(frames[at][25:])
            at += 1
        changes, rejects, *_ = collector.take()
        outgoing = []
        for _, id, version, occurred_at, data in changes:
            value, headers = encode(id, version, occurred_at, now, data)
            outgoing.append(("customer", id, value, headers))
        took = time.process_time() - began
        assert not rejects, f"the rules refuse the bench's own rows: {rejects[0]}"
        collector.feed(b"C" + pack(">BQQq", 0, self._lsn, self._lsn + 1, 0))
        return took, [value for _, _, value, _ in outgoing]


class DeliveryPath:
    """A topic's events on their way to PostgreSQL."""

    def __init__(self, schema: RecordSchema, shape: TableShape) -> None:
        self._book = SchemaResolver(Settings(registry=""), Names(""), [schema])
        self._shape = shape

    def run(self, values: Sequence[bytes]) -> tuple[float, bytes]:
        """CPU seconds that a batch took, and what the COPY gets."""
        messages = [Message(topic="customer", partition=0, offset=n, value=value) for n, value in enumerate(values)]
        packed = self._shape.packed
        began = time.process_time()
        taken = decode_batch(messages, self._book)
        rows = [packed(each.id, each.version, each.data, each.at) for each in taken.deliveries]
        whole = [row for row in rows if row is not None]
        copied = b"".join(whole)
        took = time.process_time() - began
        assert len(whole) == len(rows), "a rule fails on the bench's own records"
        return took, copied


def mapping(rules: Mapping[str, str], *, into_canonical: bool) -> list[FieldMapping]:
    """Rows of a sheet: field -> rule, empty for as it is."""
    made = []
    for name, rule in rules.items():
        ours, theirs = f"customer.{name}", f"{'customers' if into_canonical else 'debtors'}.{name}"
        sides = ("crm", "" if name == "contact" and rule else theirs, "canonical", ours)
        if not into_canonical:
            sides = ("canonical", ours, "books", theirs)
        made.append(
            FieldMapping(file=Path(), line=0, source_system=sides[0], source_field=sides[1], target_system=sides[2],
                         target_field=sides[3], rule=rule, notes="")
        )  # fmt: skip
    return made


def inserted(row: Row) -> bytes:
    """A new row's state as PostgreSQL's logical replication sends it (pgoutput, I)."""
    cells = [b"n" if cell is None else b"t" + pack(">i", len(cell)) + cell for cell in row]
    return b"I" + pack(">I", OID) + b"N" + pack(">h", len(row)) + b"".join(cells)


def _relation(oids: Mapping[str, int]) -> bytes:
    body = [pack(">B", name == "id") + name.encode() + b"\0" + pack(">Ii", oid, -1) for name, oid in oids.items()]
    return b"R" + pack(">I", OID) + b"public\0customers\0d" + pack(">h", len(oids)) + b"".join(body)


def _begin(lsn: int, at: int) -> bytes:
    return b"B" + pack(">QqI", lsn, at - 946_684_800_000_000, 7)
