"""The embedded stack against itself: what it keeps over a restart, and that nothing of it outlives its owner."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psycopg
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from sorbus.ops.embedded import Addresses, Ports, Stack, StackError, lock, packages, process
from sorbus.ops.embedded import parent_watchdog as guard_module
from sorbus.ops.embedded.stack import SERVERS, running

SORBUS = str(Path(sys.executable).with_name("sorbus"))
SCHEMA = {"schema": json.dumps({"type": "record", "name": "Person", "fields": [{"name": "id", "type": "string"}]})}


def wait_for(event: Callable[[], object], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not event():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def produce(addresses: Addresses, topic: str, value: bytes) -> None:
    admin = AdminClient({"bootstrap.servers": addresses.kafka})
    for done in admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)]).values():
        done.result(timeout=30)
    producer = Producer({"bootstrap.servers": addresses.kafka, "transactional.id": topic})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, key=b"1", value=value)
    producer.commit_transaction(30)


def consume(addresses: Addresses, topic: str) -> bytes | None:
    consumer = Consumer(
        {
            "bootstrap.servers": addresses.kafka,
            "group.id": topic,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe([topic])
    try:
        messages = consumer.consume(1, timeout=30)
        return messages[0].value() if messages else None
    finally:
        consumer.close()


def register(addresses: Addresses, subject: str) -> int:
    answer = httpx.post(f"{addresses.registry}/subjects/{subject}/versions", json=SCHEMA, timeout=30)
    return int(answer.raise_for_status().json()["id"])


def recorded(folder: Path) -> list[tuple[int, str]]:
    return [
        (entry["pid"], entry["started_at"])
        for name in SERVERS
        for entry in json.loads((folder / f"{name}.pids").read_text())
    ]


@pytest.mark.slow
def test_a_restart_keeps_addresses_topics_schema_ids_and_rows(tmp_path: Path) -> None:
    with Stack(tmp_path / "stack", fast=True) as stack:
        before = stack.addresses
        produce(before, "people", b"kept")
        register(before, "first-value")
        schema_id = register(before, "people-value")
        with psycopg.connect(stack.create_database("shop")) as connection:
            connection.execute("create table person (id int)")
            connection.execute("insert into person values (7)")
    ask = [SORBUS, "stack", "env", "--wait", "120", "--folder", str(stack.folder)]
    with subprocess.Popen(ask, stdout=subprocess.PIPE, text=True) as asked, stack:
        assert stack.addresses == before
        assert f"SORBUS_KAFKA={before.kafka}" in asked.communicate(timeout=60)[0], "whoever asks too soon is answered"
        assert consume(before, "people") == b"kept"
        assert register(before, "people-value") == schema_id
        known = httpx.get(f"{before.registry}/schemas/ids/{schema_id}", timeout=30).json()
        assert json.loads(known["schema"]) == json.loads(SCHEMA["schema"])
        with psycopg.connect(stack.create_database("shop")) as connection:
            assert connection.execute("select id from person").fetchall() == [(7,)]
    assert running(stack.folder) is None


@pytest.mark.slow
def test_a_killed_owner_leaves_nothing_running_and_the_folder_can_be_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    program = (
        "import sys, time; from pathlib import Path; from sorbus.ops.embedded import Stack\n"
        "stack = Stack(Path(sys.argv[1]), fast=True); stack.start(); print('up', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"up\n"
        left = recorded(folder)
        with pytest.raises(StackError, match="already runs"):
            Stack(folder).start()
        owner.send_signal(signal.SIGKILL)
    assert len(left) == 2 * len(SERVERS)
    assert wait_for(lambda: not any(guard_module.started_at(pid) == began for pid, began in left))
    assert running(folder) is None
    with Stack(folder, fast=True) as again:
        assert again.is_running()


def test_a_killed_guard_takes_its_server_along(tmp_path: Path) -> None:
    server = process.ServerProcess("sleeper", tmp_path, stop=signal.SIGTERM, death=signal.SIGKILL)
    server.start(["sleep", "600"])
    assert wait_for(lambda: process.is_alive(tmp_path, "sleeper"))
    (guard, _), (child, began) = [
        (entry["pid"], entry["started_at"]) for entry in json.loads(server.record.read_text())
    ]
    os.kill(guard, signal.SIGKILL)
    assert wait_for(lambda: guard_module.started_at(child) != began)
    server.stop()


def test_a_server_that_ignores_its_signal_is_killed_after_the_grace(tmp_path: Path) -> None:
    server = process.ServerProcess("stubborn", tmp_path, stop=signal.SIGTERM, death=signal.SIGKILL)
    server.start(["sh", "-c", "trap '' TERM; touch ready; while :; do sleep 0.1; done"], grace=0.5)
    assert wait_for((tmp_path / "ready").exists)
    assert wait_for(lambda: process.is_alive(tmp_path, "stubborn"))
    server.stop()
    assert not process.is_alive(tmp_path, "stubborn")


def test_a_server_that_ends_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    server = process.ServerProcess("doomed", tmp_path, stop=signal.SIGTERM, death=signal.SIGKILL)
    server.start(["sh", "-c", "echo the port is taken; exit 3"])
    with pytest.raises(StackError, match=r"(?s)doomed ended \(status 3\).*the port is taken"):
        server.wait_until(lambda: False, deadline=30, event="it answered")


def test_only_a_process_with_the_recorded_start_time_is_cleared_away(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as bystander, subprocess.Popen(["sleep", "600"]) as left_over:
        entries = [
            {"pid": bystander.pid, "started_at": "another boot:1"},
            {"pid": left_over.pid, "started_at": guard_module.started_at(left_over.pid)},
        ]
        (tmp_path / "kafka.pids").write_text(json.dumps(entries))
        assert process.clear_stale(tmp_path, patience=0.1) == [left_over.pid]
        assert bystander.poll() is None
        bystander.kill()


def test_ports_are_remembered_and_a_broken_file_says_so(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    assert Ports.recall(file) is None
    ports = Ports.free()
    ports.remember(file)
    assert Ports.recall(file) == ports
    file.write_text("{}")
    with pytest.raises(StackError, match="delete it"):
        Ports.recall(file)


def test_every_locked_artifact_names_one_file_with_its_hash() -> None:
    artifacts = lock.read()
    assert {one.server for one in artifacts} == {"kafka", "registry"}
    assert len({(one.server, one.filename) for one in artifacts}) == len(artifacts)
    assert all(len(one.sha256) == 64 and one.size > 0 for one in artifacts)
    assert not any("/" in str(one) for one in artifacts), "names and hashes only, no address"


def test_a_fetch_that_is_not_the_locked_file_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smallest = min(lock.read(), key=lambda one: one.size)
    forged = lock.Locked(smallest.server, smallest.group, smallest.name, smallest.version, "", "jar", 1, "0" * 64)
    registry = lock.Locked("registry", "g", "r", "1", "", "jar", 1, "0" * 64)
    (tmp_path / f"registry-{lock.digest([registry])}").mkdir()
    monkeypatch.setattr(lock, "read", lambda: [forged, registry])

    class Context:
        def __init__(self, repo_cache: Path, **_: object) -> None:
            self.repo_cache = repo_cache

    def artifact(_: lock.Locked, context: Context) -> object:
        context.repo_cache.mkdir(parents=True, exist_ok=True)
        file = context.repo_cache / "served.jar"
        file.write_bytes(b"something else")
        return type("Served", (), {"resolve": lambda self: file, "cached_path": file})()

    monkeypatch.setattr("jgo.maven.MavenContext", Context)
    monkeypatch.setattr(lock.Locked, "artifact", artifact)
    with pytest.raises(StackError, match="not the file that was locked"):
        packages.fetch(tmp_path)
    assert not list(tmp_path.glob(".staging-*"))
    assert not list(tmp_path.glob("kafka-*"))


def test_the_shared_stack_gives_every_test_its_own_database(
    stack: Addresses, make_database: Callable[[str], str], unique: str
) -> None:
    first, second = make_database("create table a (id int)"), make_database("")
    assert first != second
    with psycopg.connect(first) as connection:
        assert connection.execute("show wal_level").fetchall() == [("logical",)]
        assert connection.execute("select count(*) from a").fetchall() == [(0,)]
    produce(stack, unique, b"hello")
    assert consume(stack, unique) == b"hello"


@pytest.mark.skipif(shutil.which("ss") is None, reason="needs ss to see who listens")
def test_the_stack_listens_on_loopback_only(stack: Addresses) -> None:
    assert stack.kafka.startswith("127.0.0.1:")
    pids = {f"pid={pid}," for pid, _ in recorded(Path(os.environ["SORBUS_TEST_STACK"]) / "stack")}
    listing = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    ours = [line.split()[3] for line in listing.splitlines() if any(pid in line for pid in pids)]
    assert len(ours) >= 4
    assert [address for address in ours if "127.0.0.1" not in address] == []
