"""Watching a chain from outside, cheaply: when is a change committed, in the topic, visible in the target.

A count over the whole target would take a core from the contenders, so a random sample of rows is looked up by key
until all of it is there, and only then everything is counted, again and again until it is complete. All times are
`time.monotonic()`.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from psycopg import sql

from bench.servers import SQL, Servers

SAMPLE = 200
PAUSE = 0.01


class TooSlowError(RuntimeError):
    """A change didn't arrive within the limit."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """When the first and the last of `rows` rows were seen; `early` of them at the first sight already.

    `curve`: (when, share of the sampled rows that were there), at each change of it.
    """

    first: float
    last: float
    rows: int
    early: int
    curve: tuple[tuple[float, float], ...] = ()

    @property
    def rate(self) -> float:
        """Rows a second from first sight to last; what was there at first sight doesn't count."""
        return (self.rows - self.early) / max(self.last - self.first, 1e-9)

    def rate_since(self, start: float) -> float:
        """Rows a second from `start` to the last one."""
        return self.rows / (self.last - start)


def update_all(source: psycopg.Connection, rows: int) -> tuple[float, str]:
    """Change `rows` customers in one transaction; when its commit came back, and how the new names begin."""
    prefix = f"b{time.time_ns()}-"
    source.execute("update customers set name = %s || id where id <= %s", (prefix, rows))
    return time.monotonic(), prefix


def until_committed(source: psycopg.Connection, limit: float, check: Callable[[], None]) -> tuple[float, str]:
    """Wait for somebody else's update of all customers; when it was committed, and how the new names begin."""
    before = _first_name(source)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        name = _first_name(source)
        if name != before:
            return time.monotonic(), name.removesuffix("1")
        check()
        time.sleep(0.003)
    raise TooSlowError(f"no update of customers within {limit:.0f} s")


def _first_name(source: psycopg.Connection) -> str:
    row = source.execute("select name from customers where id = 1").fetchone()
    assert row is not None
    return str(row[0])


def until_visible(
    target: psycopg.Connection,
    table: str,
    prefix: str,
    rows: int,
    limit: float,
    check: Callable[[], None],
    pause: float = PAUSE,
) -> Arrival:
    """Wait until the customers 1 to `rows` are in `table` with names that begin with `prefix`; look every `pause` s."""
    end = time.monotonic() + limit
    while target.execute("select to_regclass(%s)", (table,)).fetchone() == (None,):
        _wait(end, check, f"table {table} was never made", pause)
    sample = random.Random(rows).sample(range(1, rows + 1), min(SAMPLE, rows))
    name, keys = sql.Identifier(table), key_array(target, table)
    sampled = sql.SQL("select count(*) from {} where id = any(%s::{}) and starts_with(name, %s)").format(name, keys)
    everything = sql.SQL("select count(*) from {} where id::bigint <= %s and starts_with(name, %s)").format(name)
    target.execute("set enable_seqscan = off")
    seen, first, early = 0, 0.0, 0
    curve: list[tuple[float, float]] = []
    while seen < len(sample):
        before, seen = seen, _count(target, sampled, sample, prefix)
        if seen != before:
            curve.append((time.monotonic(), seen / len(sample)))
        if seen and not first:
            first, early = time.monotonic(), round(seen / len(sample) * rows)
        _wait(end, check, f"{seen} of {len(sample)} sampled rows are in {table}", pause)
    target.execute("reset enable_seqscan")
    while (seen := _count(target, everything, rows, prefix)) < rows:
        _wait(end, check, f"{seen:,} of {rows:,} rows are in {table}", pause)
    return Arrival(first, time.monotonic(), rows, early, tuple(curve))


def key_array(target: psycopg.Connection, table: str) -> sql.SQL:
    """The array type of `table.id`, which chains make as they see fit: look-ups must use its index."""
    query = "select atttypid::regtype::text from pg_attribute where attrelid = %s::regclass and attname = 'id'"
    row = target.execute(query, (table,)).fetchone()
    assert row is not None
    return {"bigint": sql.SQL("bigint[]"), "text": sql.SQL("text[]")}[row[0]]


def _count(target: psycopg.Connection, query: sql.Composed, keys: list[int] | int, prefix: str) -> int:
    row = target.execute(query, (keys, prefix)).fetchone()
    assert row is not None
    return int(row[0])


def _wait(end: float, check: Callable[[], None], state: str, pause: float = PAUSE) -> None:
    check()
    if time.monotonic() > end:
        raise TooSlowError(f"too slow: {state}")
    time.sleep(pause)


def until_written(
    servers: Servers, topic: str, base: int, rows: int, limit: float, check: Callable[[], None]
) -> Arrival:
    """Wait until `topic`, whose end was at `base`, has grown by `rows` events and then stood still for half a second.

    Transaction markers take offsets too, so growth may pass `rows`; the last movement is what counts.
    """
    end = time.monotonic() + limit
    at, first, last, early = base, 0.0, 0.0, 0
    while at - base < rows or time.monotonic() - last < 0.5:
        now = servers.end_offset(topic)
        if now != at:
            at, last = now, time.monotonic()
            if not first:
                first, early = last, at - base
        _wait(end, check, f"{at - base:,} of {rows:,} events are in {topic}")
    return Arrival(first, last, rows, min(early, rows))


def checksum(connection: psycopg.Connection, table: str) -> tuple[int, int]:
    """Rows and content of a customer table as two numbers that are equal for equal tables."""
    query = sql.SQL((SQL / "checksum.sql").read_text()).format(table=sql.Identifier(table))
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])
