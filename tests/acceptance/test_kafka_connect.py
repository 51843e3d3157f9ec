"""Kafka Connect's own sinks read what `kind: kafka` writes, unchanged: the Debezium JDBC sink three ways, a file sink.

From PostgreSQL through the bus and a stock sink into PostgreSQL, with everything of ours killed in the middle; what is
compared is what SQL reads on both sides.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from bench.debezium import NotHereError, fetch
from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office
from tests.acceptance.real import BESIDE, free_port
from tests.conftest import Report

pytestmark = pytest.mark.real
TABLE = """
create table thing (
    id bigint primary key, name text not null, price numeric(12, 2), ratio double precision, many integer,
    made date, seen timestamptz, opens time, sure boolean, code uuid, raw bytea, tags text[])
"""
SCHEMA: list[object] = [
    {"name": "name", "type": "string"},
    *(
        {"name": name, "type": ["null", kind], "default": None}
        for name, kind in {
            "price": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
            "ratio": "double",
            "many": "int",
            "made": {"type": "int", "logicalType": "date"},
            "seen": {"type": "long", "logicalType": "timestamp-micros"},
            "opens": {"type": "long", "logicalType": "time-micros"},
            "sure": "boolean",
            "code": {"type": "string", "logicalType": "uuid"},
            "raw": "bytes",
            "tags": {"type": "array", "items": "string"},
        }.items()
    ),
]
WAYS: dict[str, dict[str, object]] = {
    "dbzjson": {"format": "debezium", "key_type": "int64"},
    "dbzavro": {"format": "debezium", "encoding": "avro", "key_type": "int64", "partitions": 3},
    "flatavro": {"format": "flat", "encoding": "avro", "key_type": "int64"},
    "flatjson": {"format": "flat", "key_type": "int64", "nested": "omit"},
}
# `opens` arrives as text in the flat form, which a column of the sink's own is.
LOOK = """
select id, name, price, ratio, many, made, seen, opens::time as opens, sure, code::text as code, raw,
       {tags} as tags from {table} order by id
"""
FEW = "select id::text, name, price, ratio, many, made, sure, raw from {table}"
CHANGES, KILLS = 10_000, 5


class Writers:
    """People who insert, change and delete rows, three at a time."""

    def __init__(self, dsn: str) -> None:
        self.dsn, self.changes = dsn, 0
        self._lock = threading.Lock()

    def work(self, changes: int, seed: int) -> None:
        threads = [threading.Thread(target=self._work, args=(changes // 3 + 1, seed * 3 + n, n)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive(), "a writer isn't done after 120 s"

    def _work(self, changes: int, seed: int, number: int) -> None:
        chance = random.Random(seed)
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for _ in range(changes):
                id = chance.randrange(800) * 3 + number - 600
                if chance.random() < 0.15:
                    connection.execute("delete from thing where id = %s", [id])
                else:
                    values = self._row(chance)
                    names, marks = ", ".join(values), ", ".join(f"%({name})s" for name in values)
                    sets = ", ".join(f"{name} = excluded.{name}" for name in values)
                    connection.execute(
                        f"insert into thing (id, {names}) values ({id}, {marks})"
                        f" on conflict (id) do update set {sets}".encode(),
                        values,
                    )
        with self._lock:
            self.changes += changes

    def _row(self, chance: random.Random) -> dict[str, object]:
        number = chance.randrange(-(10**11), 10**11)
        full: dict[str, object] = {
            "name": ("Zoë 日本", "a'b\"c\\", "", "line\nbreak", f"n{number}")[number % 5],
            "price": f"{number // 10}.{number % 100:02d}",
            "ratio": number / 7,
            "many": number % 2**31,
            "made": ("0001-01-01", "1899-12-31", "2024-02-29", "9999-12-31")[number % 4],
            "seen": f"20{number % 100:02d}-03-31T02:30:00.{number % 1_000_000:06d}+02:00",
            "opens": f"{number % 24:02d}:00:00.{number % 999_983:06d}",
            "sure": number % 2 == 0,
            "code": f"{abs(number):032x}",
            "raw": abs(number).to_bytes(8, "big"),
            "tags": ["a", 'b"', f"{number}"],
        }
        return {name: value if name == "name" or chance.random() < 0.85 else None for name, value in full.items()}


@contextmanager
def connect(folder: Path, stack: Addresses, sinks: Mapping[str, Mapping[str, str]]) -> Iterator[None]:
    """A Kafka Connect worker with these sinks."""
    if shutil.which("java") is None:
        pytest.skip("java is not there")
    try:
        jars = fetch(BESIDE / "peers" / "debezium")
    except (NotHereError, subprocess.CalledProcessError) as error:
        pytest.skip(str(error))
    if not list((jars / "file").glob("connect-file-*.jar")):
        goal = ["dependency:copy", "-Dartifact=org.apache.kafka:connect-file:4.3.1", f"-DoutputDirectory={jars}/file"]
        subprocess.run(["mvn", "-q", "-B", *goal], check=True, timeout=600)
    port = free_port()
    worker = {
        "bootstrap.servers": stack.kafka,
        "key.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "offset.storage.file.filename": str(folder / "connect.offsets"),
        "listeners": f"http://127.0.0.1:{port}",
        "consumer.metadata.max.age.ms": "1000",
    }
    files = {"worker": worker, **{name: {"name": name, "tasks.max": "1", **sink} for name, sink in sinks.items()}}
    for name, settings in files.items():
        lines = "".join(f"{key}={value}\n" for key, value in settings.items())
        (folder / f"{name}.properties").write_text(lines, "utf-8")
    log = folder / "connect.log"
    with log.open("wb") as out:
        path = ":".join(f"{jars / part}/*" for part in ("libs", "avro", "file"))
        process = subprocess.Popen(
            ["java", "-Xmx700m", "-cp", path, "org.apache.kafka.connect.cli.ConnectStandalone"]
            + [str(folder / f"{name}.properties") for name in files],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=folder,
        )
    try:
        _until_running(f"http://127.0.0.1:{port}", list(sinks), process, log)
        yield
        for name in sinks:
            status = httpx.get(f"http://127.0.0.1:{port}/connectors/{name}/status", timeout=30).json()
            assert [task["state"] for task in status["tasks"]] == ["RUNNING"], status
    finally:
        process.kill()
        process.wait(30)


def _until_running(url: str, sinks: list[str], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 240
    while True:
        try:
            answer = httpx.get(f"{url}/connectors", timeout=10)
            if answer.status_code == httpx.codes.OK and sorted(answer.json()) == sorted(sinks):
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"Kafka Connect doesn't run:\n{log.read_text('utf-8', 'replace')[-3000:]}", pytrace=False)
        time.sleep(0.2)


def settings_of_the_page() -> list[dict[str, str]]:
    """The sinks' settings in docs/kafka-connect.md: of a flow's topic, and of Sorbus's own."""
    page = (Path(__file__).parents[2] / "docs" / "kafka-connect.md").read_text("utf-8")
    blocks = re.findall(r"```properties\n(.*?)```", page, re.S)
    return [dict(line.split("=", 1) for line in block.splitlines()) for block in blocks]


def sinks(stack: Addresses, dsn: str, topics: Mapping[str, str], own: str, file: Path) -> dict[str, dict[str, str]]:
    """The page's settings with this run's addresses: no transformation but the page's."""
    parts = conninfo_to_dict(dsn)
    place = {
        "connection.url": f"jdbc:postgresql://{parts['host']}:{parts['port']}/{parts['dbname']}",
        "connection.username": str(parts["user"]),
        "connection.password": str(parts.get("password") or "x"),
    }
    avro = {
        f"{side}.converter{more}": value
        for side in ("key", "value")
        for more, value in {
            "": "io.confluent.connect.avro.AvroConverter",
            ".schema.registry.url": stack.registry,
        }.items()
    }
    flow, canonical = settings_of_the_page()
    made = {
        name: {
            **flow,
            **place,
            "topics": topics[name],
            "collection.name.format": name,
            **(avro if "avro" in name else {}),
        }
        for name in ("dbzjson", "dbzavro", "flatavro")
    }
    registry = {"value.converter.schema.registry.url": stack.registry}
    made["owntopic"] = {**canonical, **place, **registry, "topics": own, "collection.name.format": "owntopic"}
    made["flatjson"] = {
        "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
        "topics": topics["flatjson"],
        "file": str(file),
    }
    return made


def test_stock_sinks_end_as_the_source(
    stack: Addresses, make_database: Callable[[str], str], unique: str, tmp_path: Path, report: Report
) -> None:
    source, target = make_database(TABLE), make_database("")
    office = Office(tmp_path, unique, {**stack.env(), "SORBUS_DATABASE": make_database("")})
    topics = {name: f"{unique}.out.{name}" for name in WAYS}
    office.write(
        {
            "systems": {
                "shop": {"kind": "postgres", "connection": {"dsn": source}, "owner": "Sales"},
                **{name: {"kind": "kafka", "connection": {}, "owner": "Data"} for name in WAYS},
            },
            "data_types": {"thing": {"system_of_record": "shop", "source": {"table": "public.thing"}}},
            "flows": [
                {"data_type": "thing", "to": name, "target": {"topic": topics[name], **way}}
                for name, way in WAYS.items()
            ],
        },
        [],
        {"thing": SCHEMA},
    )
    writers = Writers(source)
    writers.work(1500, 0)
    office.sorbus("map", "check")
    office.sorbus("apply", "--yes")
    file = tmp_path / "sink.txt"
    began = time.monotonic()
    with connect(tmp_path, stack, sinks(stack, target, topics, f"{unique}.thing", file)):
        for round in range(1, KILLS + 1):
            with office.killed():
                writers.work((CHANGES - 1500) // KILLS, round)
        with office.up():
            office.until(lambda: _missing(source, target, file), 180, every=1.0)
            told = [office.sorbus("reconcile", f"thing-to-{name}") for name in WAYS]
    report(f"{writers.changes} changes, {KILLS} kills, {len(_rows(source, 'thing'))} rows in the end,"
           f" {time.monotonic() - began:.0f} s")  # fmt: skip
    report("\n".join(told))
    assert writers.changes >= CHANGES


def _missing(source: str, target: str, file: Path) -> str:
    """What the sinks lack, in a line; "" when all is equal."""
    wanted = _rows(source, "thing")
    for table in ("dbzjson", "dbzavro", "flatavro"):
        try:
            found = _rows(target, table)
        except psycopg.errors.UndefinedTable:
            return f"{table} isn't there yet"
        if found != wanted:
            unlike = [id for id in {*found, *wanted} if found.get(id) != wanted.get(id)]
            return f"{table}: {len(unlike)} of {len(wanted)}: {found.get(unlike[0])} and not {wanted.get(unlike[0])}"
    own, few = (_few(dsn, table) for dsn, table in ((target, "owntopic"), (source, "thing")))
    if own != few:
        unlike = [id for id in {*own, *few} if own.get(id) != few.get(id)]
        return f"owntopic: {len(unlike)} of {len(few)}: {own.get(unlike[0])} and not {few.get(unlike[0])}"
    names = dict(re.findall(r"Struct\{id=(-?\d+),name=(.*?)[,}](?=price|ratio|many|made|seen|opens|sure|code|raw|\n|$)",
                            file.read_text("utf-8"), re.S))  # fmt: skip
    lacking = [id for id, row in wanted.items() if names.get(str(id)) != row[0]]
    return f"{len(lacking)} in the file: {lacking[:3]}" if lacking else ""


def _rows(dsn: str, table: str) -> dict[int, tuple[object, ...]]:
    tags = "to_jsonb(tags)::text" if table == "thing" else "tags::jsonb::text"
    with psycopg.connect(dsn) as connection:
        found = connection.execute(LOOK.format(table=table, tags=tags).encode()).fetchall()
    return {int(str(row[0])): tuple(row[1:]) for row in found}


def _few(dsn: str, table: str) -> dict[str, tuple[object, ...]]:
    """What a sink that reads Sorbus's own topic has of each row."""
    with psycopg.connect(dsn) as connection:
        if connection.execute("select to_regclass(%s)", [table]).fetchone() == (None,):
            return {}
        found = connection.execute(FEW.format(table=table).encode()).fetchall()
    return {str(row[0]): tuple(row[1:]) for row in found}
