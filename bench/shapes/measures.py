"""Each shape's measurement: what is done, and what came out as (measure, value, unit)."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
from psycopg import sql

from bench.pace import latency
from bench.servers import Servers
from bench.shapes.http import http
from bench.shapes.tables import Table, Tables
from bench.watch import TooSlowError

Found = Iterator[tuple[str, float, str]]
Sorbus = list[str]
_LIMIT = 600.0
_SIZES = (100_000, 1_000_000, 5_000_000)
_BACKLOG = 25
_CUSTOMERS = {
    "name": "text", "email": "text", "phone": "text", "address": "text", "credit": "numeric(12,2)",
    "updated_at": "timestamptz",
}  # fmt: skip


def wide(servers: Servers, folder: Path, sorbus: Sorbus) -> Found:
    """Rows of 60 columns: 25 texts, 15 integers, 10 decimals, 5 times, 5 booleans."""
    kinds = {"text": 25, "int": 15, "numeric(12,2)": 10, "timestamptz": 5, "boolean": 5}
    columns = {f"{kind[:3]}_{at}": kind for kind, many in kinds.items() for at in range(many)}
    yield from _copied_and_changed(servers, folder, sorbus, Table("wide", columns, 50_000, {}), "tex_0")


def large(servers: Servers, folder: Path, sorbus: Sorbus) -> Found:
    """Values of 100 kB, which don't compress well."""
    digits = "(select string_agg(md5(n::text || '.' || i), '') from generate_series(1, 3125) i)"
    table = Table("large", {"name": "text", "content": "text"}, 2_000, {"content": digits})
    for measure, value, unit in _copied_and_changed(servers, folder, sorbus, table, "name"):
        yield measure, value, unit
        yield f"{measure}, in MB/s", value / 10, "MB/s"


def killed(servers: Servers, folder: Path, sorbus: Sorbus) -> Found:
    """200,000 rows are updated, both processes killed (-9) after half of them, and started again at once."""
    table = Table("customer", _CUSTOMERS, 200_000, {})
    running = Tables(servers, folder, [table], sorbus)
    try:
        with servers.connect("src") as source, servers.connect("dst") as target:
            _start(running, table)
            _until(target, table, "true", table.rows, running)
            source.execute("update customer set name = 'x' || id")
            _until(target, table, "name like 'x%'", table.rows // 2, running)
            running.kill()
            began = time.monotonic()
            _start(running, table)
            had = _count(target, table, "name like 'x%'")
            _until(target, table, "name like 'x%'", had + 1, running)
            yield "kill to the next row", time.monotonic() - began, "s"
            _until(target, table, "name like 'x%'", table.rows, running)
            yield "kill to the last of 200,000 rows", time.monotonic() - began, "s"
    finally:
        running.stop()


def backlog(servers: Servers, folder: Path, sorbus: Sorbus) -> Found:
    """Five million updates wait for a stopped flow; while it drains them, another flow of the source goes on."""
    table = Table("customer", _CUSTOMERS, 200_000, {})
    live = Table("customers", {"name": "text", "email": "text"}, 1_000, {})
    running = Tables(servers, folder, [table, live], sorbus)
    try:
        with servers.connect("src") as source, servers.connect("dst") as target:
            _start(running, live)
            running.start("consume", "customer-to-dst")
            _until(target, table, "true", table.rows, running)
            _until(target, live, "true", live.rows, running)
            running.running.pop("consume customer-to-dst").stop()
            for number in range(1, _BACKLOG + 1):
                print(f"  {number} of {_BACKLOG} x 200,000 updates ...", file=sys.stderr, flush=True)
                source.execute(f"update customer set name = '{number}.' || id".encode())
                source.execute("vacuum customer")
            source.execute("insert into customers values (999999, 'behind them all', null)")
            _until(target, live, "id = '999999'", 1, running)
            usual = latency(servers, "customers_copy", 100, 15)
            began = time.monotonic()
            running.start("consume", "customer-to-dst")
            with ThreadPoolExecutor(1) as pool:
                pacing = pool.submit(latency, servers, "customers_copy", 100, 15)
                _until(target, table, f"name like '{_BACKLOG}.%'", table.rows, running)
                took = time.monotonic() - began
                meanwhile = pacing.result()
    finally:
        running.stop()
    yield "backlog drained", _BACKLOG * table.rows / took, "rows/s"
    for name, found in (("before", usual), ("meanwhile", meanwhile)):
        yield f"another flow's changes {name}, p50", found.p50, "ms"
        yield f"another flow's changes {name}, p99", found.p99, "ms"


def growth(servers: Servers, folder: Path, sorbus: Sorbus) -> Found:
    """100,000 updates of a table that is ten times larger each time; the exponent of time over size should be 0."""
    taken: list[tuple[float, float]] = []
    for rows in _SIZES:
        servers.wipe(1)
        table = Table("customer", _CUSTOMERS, rows, {})
        running = Tables(servers, folder / str(rows), [table], sorbus)
        try:
            with servers.connect("src") as source, servers.connect("dst") as target:
                began = time.monotonic()
                _start(running, table)
                _until(target, table, "true", rows, running, every=1.0)
                yield f"{rows:,} rows, initial snapshot with start", rows / (time.monotonic() - began), "rows/s"
                for word in ("warm", "x"):
                    source.execute("checkpoint")
                    source.execute(f"update customer set name = '{word}' || id where id %% {rows // 100_000} = 0", ())
                    began = time.monotonic()
                    sample = f"id in (select (g * {rows // 100_000})::text from generate_series(1, 100000, 500) g)"
                    _until(target, table, f"{sample} and name like '{word}%'", 200, running, every=0.02)
                    _until(target, table, f"name like '{word}%'", 100_000, running)
                    took = time.monotonic() - began
        finally:
            running.stop()
        taken.append((math.log(rows), math.log(took)))
        yield f"{rows:,} rows, 100,000 updates end to end", 100_000 / took, "rows/s"
    yield "growth of the time with the table's size", _slope(taken), "exponent"


def _copied_and_changed(servers: Servers, folder: Path, sorbus: Sorbus, table: Table, changed: str) -> Found:
    running = Tables(servers, folder, [table], sorbus)
    try:
        with servers.connect("src") as source, servers.connect("dst") as target:
            began = time.monotonic()
            _start(running, table)
            _until(target, table, "true", table.rows, running)
            yield "initial snapshot, start-up included", table.rows / (time.monotonic() - began), "rows/s"
            for word in ("warm", "x"):
                source.execute("checkpoint")
                source.execute(f"update {table.name} set {changed} = '{word}' || id".encode())
                began = time.monotonic()
                _until(target, table, f"{changed} like '{word}%'", table.rows, running)
            yield "end to end", table.rows / (time.monotonic() - began), "rows/s"
    finally:
        running.stop()


def _start(running: Tables, table: Table) -> None:
    running.start("produce", "src")
    running.start("consume", f"{table.name}-to-dst")


def _count(target: psycopg.Connection, table: Table, where: str) -> int:
    name = sql.Identifier(f"{table.name}_copy")
    row = target.execute(sql.SQL("select count(*) from {} where ").format(name) + sql.SQL(where)).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return int(row[0])


def _until(
    target: psycopg.Connection, table: Table, where: str, rows: int, running: Tables, every: float = 0.1
) -> None:
    end = time.monotonic() + _LIMIT
    while (found := _count(target, table, where)) < rows:
        running.check()
        if time.monotonic() > end:
            raise TooSlowError(f"{found} of {rows} rows of {table.name} after {_LIMIT:.0f} s ({where})")
        time.sleep(every)


def _slope(points: list[tuple[float, float]]) -> float:
    """Of the line through them, by least squares."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


SHAPES: dict[str, Callable[[Servers, Path, Sorbus], Found]] = {
    "wide": wide, "large": large, "killed": killed, "backlog": backlog, "growth": growth,
    "http": http,
}  # fmt: skip
