"""`python -m bench.round_trips`: how fast a PostgreSQL target takes batches when it is 0.1, 2.5 and 12 ms away.

A table of twelve columns, a delivery without Kafka: what one flow's consumer writes, by the size of its batches. The
ways take turns; each figure is the median of the rounds. `--theirs`: a table that Sorbus didn't make.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from urllib.parse import urlsplit

import psycopg
from pydantic import SecretStr

from bench.delay import Delay
from sorbus.avro.encode import encoder
from sorbus.connector import BoundFlow, BoundSystem, Delivery
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.consumers.postgres.options import PostgresTarget
from sorbus.event import data_at, envelope_schema, event_encoder, open_frame, single_object_prefix
from sorbus.mapfile.model import DataType, Flow, System
from sorbus.ops.embedded.shared import join, own
from sorbus.postgres.connection import PostgresConnection
from sorbus.schema import FieldType, parse_schema

FIELDS = [f"field_{n}" for n in range(10)]
SCHEMA = parse_schema(
    json.dumps({"type": "record", "name": "part", "fields": [{"name": name, "type": "string"} for name in FIELDS]})
)
TABLE = f"create table theirs (id text primary key, {', '.join(f'{name} text' for name in FIELDS)})"
AWAY = (0.0, 0.0001, 0.0025, 0.012)
SIZES = (1, 10, 100, 1_000, 10_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each figure")
    parser.add_argument("--theirs", action="store_true")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    with own() as folder, ExitStack() as stack:
        dsn = join(folder).database
        with psycopg.connect(dsn, autocommit=True) as session:
            session.execute(TABLE.encode())
        found: dict[tuple[float, int], list[float]] = {}
        ways = {}
        for away in AWAY:
            ways[away] = dsn
            if away:
                delay = Delay(urlsplit(dsn).port or 5432, away)
                stack.callback(delay.close)
                ways[away] = dsn.replace(f":{urlsplit(dsn).port}/", f":{delay.port}/")
        deliveries = Deliveries()
        for _ in range(chosen.rounds):
            for away, way in ways.items():
                consumer = opened(way, theirs=chosen.theirs)
                for size in SIZES:
                    found.setdefault((away, size), []).append(measured(consumer, deliveries, size, chosen.seconds))
                consumer.close()
    medians = {key: statistics.median(rates) for key, rates in found.items()}
    if chosen.json:
        print(
            json.dumps([{"away_ms": a * 1000, "batch": size, "rows_s": round(m)} for (a, size), m in medians.items()])
        )
        return
    print("| rows a batch | " + " | ".join(f"{a * 1000:g} ms away, rows/s (ms a batch)" for a in AWAY) + " |")
    print("| ---: |" + " ---: |" * len(AWAY))
    for size in SIZES:
        cells = [f"{medians[a, size]:,.0f} ({size / medians[a, size] * 1000:.1f})" for a in AWAY]
        print(f"| {size:,} | " + " | ".join(cells) + " |")


def measured(consumer: PostgresConsumer, deliveries: "Deliveries", size: int, seconds: float) -> float:
    """Rows a second."""
    for _ in range(6):  # what is prepared is prepared by then
        assert consumer.apply(deliveries.next(size)) == []
    rows, spent = 0, 0.0
    while spent < seconds:
        batch = deliveries.next(size)
        began = time.perf_counter()
        assert consumer.apply(batch) == []
        spent += time.perf_counter() - began
        rows += size
    return rows / spent


class Deliveries:
    """Changes of twenty thousand records, each newer than the one before."""

    def __init__(self) -> None:
        self._encode = encoder(FieldType("record", fields=SCHEMA.fields))
        self._event = event_encoder(single_object_prefix(envelope_schema(SCHEMA)), "crm", "part")
        self._version = 0

    def next(self, size: int) -> Sequence[Delivery]:
        return [self._one() for _ in range(size)]

    def _one(self) -> Delivery:
        self._version += 1
        data = self._encode({name: f"value {self._version} of {name}" for name in FIELDS})
        frame, _ = self._event(b"%d" % (self._version % 20_000), self._version, self._version, self._version, data)
        head = open_frame(frame)
        return Delivery(head.id, head.version, head.deleted, SCHEMA, frame, data_at(frame, head.at))


def opened(dsn: str, *, theirs: bool) -> PostgresConsumer:
    options = PostgresTarget.model_validate({"table": "theirs", "existing": True} if theirs else {"table": "ours"})
    flow = Flow.model_validate({"data_type": "part", "to": "books"})
    system = BoundSystem("books", System(kind="postgres"), PostgresConnection(dsn=SecretStr(dsn)))
    bound = BoundFlow(flow, DataType(), SCHEMA, (), options, system)
    for step in PostgresConsumer.plan(bound):
        if step.apply:
            step.apply()
    consumer = PostgresConsumer(bound)
    consumer.open()
    return consumer


if __name__ == "__main__":
    main()
