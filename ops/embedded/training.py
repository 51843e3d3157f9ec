"""Writes the ahead-of-time caches of Kafka and the registry, so that later stacks start in a third of the time.

Each server is run once in a throw-away folder, given a taste of its daily work, and stopped, upon which the JVM writes
its cache. That takes half a minute of both cores, so it is a step of its own (`sorbus stack prepare`) and not part of
the first start.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import httpx
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from sorbus.ops.embedded.errors import StackError
from sorbus.ops.embedded.kafka import Kafka
from sorbus.ops.embedded.packages import Packages
from sorbus.ops.embedded.ports import Ports
from sorbus.ops.embedded.registry import RegistryServer

_SCHEMA = {"schema": '{"type": "record", "name": "Taste", "fields": [{"name": "id", "type": "string"}]}'}


def train(packages: Packages) -> list[Path]:
    """Write the caches that are missing; returns the new files. StackError if a server doesn't start."""
    with tempfile.TemporaryDirectory(prefix="sorbus-training-") as name:
        folder, ports = Path(name), Ports.free()
        kafka = Kafka(folder, packages, port=ports.kafka, controller=ports.controller)
        registry = RegistryServer(folder, packages, port=ports.registry)
        written = []
        for server, taste in ((kafka, _taste_kafka), (registry, _taste_registry)):
            target = server.program.aot_cache(packages)
            if target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            # Beside the target and named after this process, so that the move is atomic and two trainings don't mix.
            draft = target.with_suffix(f".{os.getpid()}")
            try:
                server.start(train_to=draft)
                server.wait(deadline=180.0)
                taste(server.address)
                server.stop()
                draft.replace(target)
                written.append(target)
                _prune(target)
            except FileNotFoundError as error:
                raise StackError(
                    f"Java wrote no cache for {target.name}; the stack runs without, only slower."
                ) from error
            finally:
                server.stop()
                draft.unlink(missing_ok=True)
        return written


def _prune(newest: Path) -> None:
    """Remove this program's older caches but two: each is some 100 MB, and each Java of each checkout has its own."""
    name = newest.name.rpartition("-")[0]
    for old in sorted(newest.parent.glob(f"{name}-*.aot"), key=lambda file: file.stat().st_mtime)[:-3]:
        old.unlink(missing_ok=True)


def _taste_kafka(address: str) -> None:
    """What a flow does to a broker: a compacted topic, a transaction, a consumer group."""
    client: dict[str, str | int | float | bool] = {"bootstrap.servers": address}
    admin = AdminClient(client)
    topic = NewTopic("taste", num_partitions=2, replication_factor=1, config={"cleanup.policy": "compact"})
    for done in admin.create_topics([topic]).values():
        done.result(timeout=30)
    producer = Producer({**client, "transactional.id": "taste", "compression.type": "lz4"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for number in range(100):
        producer.produce("taste", key=str(number), value=b"x" * 100)
    producer.commit_transaction(30)
    consumer = Consumer({**client, "group.id": "taste", "auto.offset.reset": "earliest"})
    consumer.subscribe(["taste"])
    consumer.consume(100, timeout=10)
    consumer.commit(asynchronous=False)
    consumer.close()


def _taste_registry(address: str) -> None:
    """What a flow does to a registry: register, check, look up."""
    with httpx.Client(trust_env=False, base_url=address, timeout=30.0) as client:
        known = client.post("/subjects/taste-value/versions", json=_SCHEMA).raise_for_status().json()
        client.post("/compatibility/subjects/taste-value/versions/latest", json=_SCHEMA).raise_for_status()
        client.put("/config/taste-value", json={"compatibility": "FULL"}).raise_for_status()
        client.get(f"/schemas/ids/{known['id']}").raise_for_status()
        client.get("/subjects/taste-value/versions/latest").raise_for_status()
