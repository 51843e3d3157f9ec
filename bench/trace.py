"""`python -m bench.trace`: how long `sorbus trace` takes for one record of a topic of ten million events.

A real stack, a map with an owner and a target in PostgreSQL, and the topic filled by a plain producer: five million
records, each published twice. The first trace makes the index; then records at random, as commands of their own.

Exit codes: 0 all under two seconds, 1 not.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from confluent_kafka import Producer

from sorbus.bus.kafka import idempotent_producer
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.event import event_encoder
from sorbus.map.load import load_map
from sorbus.ops.embedded.shared import join, own
from sorbus.settings import Settings

SORBUS = str(Path(sys.executable).with_name("sorbus"))
MAP = """
systems:
  crm: {kind: postgres, connection: {dsn: "${CRM_DSN}"}, owner: Sales}
  books: {kind: postgres, connection: {dsn: "${BOOKS_DSN}"}, owner: Finance}
data_types:
  part: {system_of_record: crm, source: {table: parts}, partitions: PARTITIONS}
flows:
  - {data_type: part, to: books, timing: real-time, target: {table: parts_there}}
"""
SCHEMA = {
    "type": "record",
    "name": "part",
    "fields": [{"name": name, "type": "string"} for name in ("name", "place", "note")],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--traces", type=int, default=20)
    chosen = parser.parse_args()
    with own() as shared, tempfile.TemporaryDirectory() as name:
        folder, addresses = Path(name), join(shared)
        dsn = addresses.database
        (folder / "schemas").mkdir()
        (folder / "schemas" / "part.avsc").write_text(json.dumps(SCHEMA))
        (folder / "map.yaml").write_text(MAP.replace("PARTITIONS", str(chosen.partitions)))
        env = {
            **os.environ,
            **addresses.env(),
            "CRM_DSN": dsn,
            "BOOKS_DSN": dsn,
            "SORBUS_MAP": str(folder / "map.yaml"),
        }
        os.environ.update(env)
        with psycopg.connect(dsn, autocommit=True) as session:
            session.execute("create table parts (id bigint primary key, name text, place text, note text)")
            records = chosen.events // 2
            session.execute(
                "insert into parts select n, 'Part ' || n, 'Shelf', 'as new' from generate_series(1, 1000) n"
            )
        subprocess.run([SORBUS, "apply", "--yes"], env=env, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        began = time.monotonic()
        fill(folder, records)
        print(f"{chosen.events:,} events written in {time.monotonic() - began:.0f} s", flush=True)
        first = seconds(folder, env, 1)
        print(f"first trace, which makes the index of a partition: {first:.2f} s", flush=True)
        for id in range(2, 40):  # one of each partition, which makes its index
            seconds(folder, env, id, "--no-targets")
        pick = random.Random(7)
        took = sorted(seconds(folder, env, pick.randrange(1, records)) for _ in range(chosen.traces))
        quick = sorted(seconds(folder, env, pick.randrange(1, records), "--no-targets") for _ in range(5))
        print(f"{chosen.traces} traces: median {statistics.median(took):.2f} s, slowest {took[-1]:.2f} s")
        print(f"without owner and targets: median {statistics.median(quick):.2f} s")
        return 0 if took[-1] < 2 else 1


def fill(folder: Path, records: int) -> None:
    """Each record twice, the second time in another order."""
    loaded, settings = load_map(folder / "map.yaml"), Settings()
    names, schema = Names(loaded.map.topic_prefix), loaded.schema("part")
    encode = event_encoder(SchemaResolver(settings, names).prefix("part", schema), "crm", "part")
    producer: Producer = idempotent_producer(settings, "bench")
    topic, now, version = names.topic("part"), time.time_ns() // 1000, 0
    for order in (range(1, records + 1), range(records, 0, -1)):
        for n in order:
            version += 1
            name = b"Part %d" % n
            data = bytes([2 * len(name)]) + name + b"\x0aShelf\x0cas new"
            value, headers = encode(b"%d" % n, version, now, now, data)
            while True:
                try:
                    producer.produce(topic, value, b"%d" % n, headers=headers)
                    break
                except BufferError:
                    producer.poll(0.1)
    producer.flush()


def seconds(folder: Path, env: dict[str, str], id: int, *more: str) -> float:
    """A whole `sorbus trace`, from starting its process to its end."""
    began = time.monotonic()
    command = [SORBUS, "trace", "part", str(id), "--json", *more]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)
    took = time.monotonic() - began
    found = json.loads(done.stdout)
    events = [one for one in found["moments"] if one["kind"] == "event"]
    assert len(events) == 2, f"{len(events)} events of {id}: {found['problems']}"
    return took


if __name__ == "__main__":
    sys.exit(main())
