"""Real Singer taps from PyPI, installed by Sorbus, read a database and files, and are killed in the middle.

What is compared is what SQL finds on both sides; Sorbus's code has no part in it.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office, rows_of, unlike
from tests.conftest import Report

pytestmark = [pytest.mark.real, pytest.mark.skipif(shutil.which("pip") is None, reason="taps come from PyPI: no pip")]
SORBUS = str(Path(sys.executable).with_name("sorbus"))
NUMBER = {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 4}
DATE, MOMENT = {"type": "int", "logicalType": "date"}, {"type": "long", "logicalType": "timestamp-micros"}
CHANGES, KILLS = 10_000, 6


def optional(name: str, kind: object) -> dict[str, object]:
    return {"name": name, "type": ["null", kind], "default": None}


ITEM: list[object] = [
    {"name": "name", "type": "string"},
    optional("price", NUMBER),
    optional("pieces", "long"),
    optional("active", "boolean"),
    optional("changed_at", MOMENT),
]
TABLE = (
    "create table {} (id bigint primary key, name text not null, price numeric(20, 4), pieces bigint, active boolean,"
    " changed_at timestamptz, rev bigint not null default nextval('revs'))"
)
QUERY = "select id::text, name, price, pieces, active, changed_at from {} order by id"


def tap_of(dsn: str) -> dict[str, object]:
    """The connection to a database by PipelineWise's tap."""
    to = {"host": "localhost", "port": "5432", "user": "postgres", **conninfo_to_dict(dsn)}
    config = {name: str(to[name]) for name in ("host", "port", "user", "dbname")}
    return {
        "package": "pipelinewise-tap-postgres==1.8.4",
        "config": {**config, "port": int(config["port"]), "password": "${SHOP_PASSWORD}", "filter_schemas": "public"},
        "every": "every 1s",
    }


class Writer:
    """Changes rows of both tables, each change with a number that grows."""

    def __init__(self, dsn: str) -> None:
        self.changes, self._chance, self._next = 0, random.Random(18), 1
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._ids: dict[str, list[int]] = {"item": [], "entry": []}

    def work(self, changes: int) -> None:
        for _ in range(changes):
            self.changes += 1
            table = self._chance.choice(["item", "entry"])
            ids, kind = self._ids[table], self._chance.random()
            number = self._chance.randrange(10**9)
            values = (
                f"Näme {number}", number / 10_000 if number % 7 else None, number * 9_000_000 if number % 5 else None,
                (True, False, None)[number % 3], f"2026-0{1 + number % 9}-11 10:00:00.{number % 1_000_000:06d}+01",
            )  # fmt: skip
            if kind < 0.4 or len(ids) < 20:
                self._connection.execute(
                    f"insert into {table} (id, name, price, pieces, active, changed_at)"
                    " values (%s, %s, %s, %s, %s, %s)",
                    (self._next, *values),
                )
                ids.append(self._next)
                self._next += 1
            elif kind < 0.92 or table == "entry":
                self._connection.execute(
                    f"update {table} set name = %s, price = %s, pieces = %s, active = %s, changed_at = %s,"
                    " rev = nextval('revs') where id = %s",
                    (*values, self._chance.choice(ids)),
                )
            else:
                id = ids.pop(self._chance.randrange(len(ids)))
                self._connection.execute(f"delete from {table} where id = %s", (id,))


@contextmanager
def killed(office: Office, kill_tap: bool) -> Iterator[None]:
    """`sorbus up` while the block lasts; then the tap, if `kill_tap`, and every process of Sorbus is killed."""
    with office.killed():
        yield
        if kill_tap:
            for pid in taps():
                os.kill(pid, signal.SIGKILL)


def taps() -> list[int]:
    """The taps that run from our cache."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if b"/bin/tap-" in command and os.environ["SORBUS_CACHE"].encode() in command:
            found.append(int(folder.name))
    return found


def by_id(rows: list[dict[str, object]]) -> Mapping[str, Mapping[str, object]]:
    return {str(row["id"]): row for row in rows}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SORBUS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_ten_thousand_changes_through_a_tap_that_is_killed(
    stack: Addresses, make_database: Callable[[str], str], unique: str, tmp_path: Path, cache: Path, report: Report
) -> None:
    shop = make_database("create sequence revs; " + "; ".join(TABLE.format(table) for table in ("item", "entry")))
    target = make_database("")
    secrets = {"TARGET": target, "SHOP_PASSWORD": str(conninfo_to_dict(shop).get("password") or "none")}
    office = Office(tmp_path, unique, {**stack.env(), "SORBUS_DATABASE": make_database(""), **secrets})
    sources = {
        "item": {
            "stream": "public-item",
            "replication": "FULL_TABLE",
            "removed_records": "delete",
            "max_deletes": 999,
        },
        "entry": {"stream": "public-entry", "replication": "INCREMENTAL", "replication_key": "rev"},
    }
    office.write(
        {
            "systems": {
                "shop": {"kind": "singer", "owner": "Sales", "connection": tap_of(shop)},
                "copy": {"kind": "postgres", "owner": "Data", "connection": {"dsn": "${TARGET}"}},
            },
            "data_types": {name: {"system_of_record": "shop", "source": source} for name, source in sources.items()},
            "flows": [{"data_type": name, "to": "copy", "target": {"table": name}} for name in sources],
        },
        schemas=dict.fromkeys(sources, ITEM),
    )
    writer = Writer(shop)
    writer.work(1500)
    office.sorbus("map", "check")
    began = time.monotonic()
    office.sorbus("apply", "--yes")
    installed = time.monotonic() - began
    began = time.monotonic()
    for turn in range(KILLS):
        with killed(office, kill_tap=turn % 2 == 1):
            until = time.monotonic() + 12
            worker = threading.Thread(target=writer.work, args=((CHANGES - 1500) // KILLS + 1,))
            worker.start()
            office.until(lambda: None if taps() else "no tap runs", 60, every=0.02)
            while turn % 2 == 0 and time.monotonic() < until - 6:
                time.sleep(0.05)  # the kill comes at any moment of the tap's runs, not when something is reached
            worker.join()
            office.until(lambda: None if taps() else "no tap runs", 60, every=0.02)
    with office.up():

        def missing() -> str:
            return "".join(
                unlike(by_id(rows_of(target, QUERY.format(table))), by_id(rows_of(shop, QUERY.format(table))))
                for table in sources
            )

        office.until(missing, 120, every=1.0)
    rows = sum(len(rows_of(shop, QUERY.format(table))) for table in sources)
    report(
        f"{writer.changes} changes, {KILLS} kills, {rows} rows equal, {time.monotonic() - began:.0f} s; the tap was"
        f" installed in {installed:.0f} s"
    )
    assert writer.changes >= CHANGES
    assert not taps(), "no tap is left behind"
    assert not list((cache / "singer" / "run").iterdir()), "no file with secrets is left behind"


def write_dbf(path: Path, rows: list[tuple[str, str, float, date]]) -> None:
    """A table as dBase III writes it: ID C(6), NAME C(20), PRICE N(12,2), SINCE D."""
    fields = [(b"ID", b"C", 6, 0), (b"NAME", b"C", 20, 0), (b"PRICE", b"N", 12, 2), (b"SINCE", b"D", 8, 0)]
    size = 1 + sum(length for _, _, length, _ in fields)
    head = struct.pack("<BBBBIHH20x", 3, 126, 1, 1, len(rows), 32 + 32 * len(fields) + 1, size)
    head += b"".join(struct.pack("<11sc4xBB14x", *field) for field in fields) + b"\r"
    body = b"".join(
        b" " + id.encode().ljust(6) + name.encode("cp1252").ljust(20) + f"{price:12.2f}".encode()
        + since.strftime("%Y%m%d").encode()
        for id, name, price, since in rows
    )  # fmt: skip
    path.with_suffix(".new").write_bytes(head + body + b"\x1a")
    path.with_suffix(".new").replace(path)


def test_a_tap_of_another_family_reads_files(
    stack: Addresses, make_database: Callable[[str], str], unique: str, tmp_path: Path, cache: Path, report: Report
) -> None:
    assert cache
    target = make_database("")
    office = Office(tmp_path, unique, {**stack.env(), "SORBUS_DATABASE": make_database(""), "TARGET": target})
    files = tmp_path / "files"
    files.mkdir()
    rows = [
        (f"A{number:04d}", f"Part {number}", number * 1.25, date(2026, 1, 1 + number % 28)) for number in range(500)
    ]
    write_dbf(files / "parts.dbf", rows)
    connection = {
        "package": "tap-dbf==0.1.25",
        "config": {"path": f"{files}/*.dbf"},
        "every": "every 1s",
    }
    office.write(
        {
            "systems": {
                "old": {"kind": "singer", "owner": "Store", "connection": connection},
                "copy": {"kind": "postgres", "owner": "Data", "connection": {"dsn": "${TARGET}"}},
            },
            "data_types": {
                "part": {
                    "system_of_record": "old",
                    "source": {
                        "stream": "parts",
                        "key": "ID",
                        "replication": "FULL_TABLE",
                        "removed_records": "delete",
                    },
                }
            },
            "flows": [{"data_type": "part", "to": "copy", "target": {"table": "part"}}],
        },
        [("old", f"parts.{name}", "canonical", f"part.{name.lower()}", "") for name in ("NAME", "PRICE", "SINCE")],
        {"part": [{"name": "name", "type": "string"}, optional("price", NUMBER), optional("since", DATE)]},
    )
    office.sorbus("apply", "--yes")
    assert "parts" in office.sorbus("discover", "old")
    with office.up():

        def missing() -> str:
            wanted = {id: {"id": id, "name": name, "since": since} for id, name, _, since in rows}
            return unlike(by_id(rows_of(target, "select id, name, since from part")), wanted)

        office.until(missing, 60)
        rows[7] = (*rows[7][:1], "Another name", *rows[7][2:])
        del rows[9]
        write_dbf(files / "parts.dbf", rows)
        seconds = office.until(missing, 60)
    assert rows_of(target, "select sum(price)::text as s from part")[0]["s"] == f"{sum(row[2] for row in rows):.4f}"
    report(f"tap-dbf: {len(rows)} rows equal; a change and a delete in {seconds:.1f} s")
