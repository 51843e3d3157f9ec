"""Commit-to-visible latency under a steady rate of small transactions."""

import contextlib
import threading
import time
from dataclasses import dataclass, field
from itertools import islice
from queue import SimpleQueue

import psycopg
from psycopg import sql

from bench.servers import Servers
from bench.watch import TooSlowError, key_array

# Never look up more keys than this at once: a chain far behind would make each look slow, and all of them late.
LOOKED_UP = 1000
# One connection that waits for the disk at each commit doesn't reach 2,000 a second everywhere; four share its flushes.
WRITERS = 4
_INSERT, _ROW = "insert into customers (id, name, email) values ", "(%s, %s, %s)"


@dataclass(frozen=True, slots=True)
class Latency:
    """What was reached: transactions a second, and the latency's quantiles in milliseconds.

    `curve`: (percentile, milliseconds).
    """

    rate: float
    p50: float
    p99: float
    worst: float
    curve: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which keys are inserted when, and when each one's commit returned."""

    first: int
    total: int
    rate: float
    began: float
    size: int
    """Rows a transaction."""
    begun: SimpleQueue[int] = field(default_factory=SimpleQueue)
    committed: dict[int, float] = field(default_factory=dict)

    def write(self, source: psycopg.Connection, share: int) -> None:
        """One writer's share, each transaction at its own moment; a late one doesn't move the next."""
        for number in range(share, self.total, WRITERS):
            ahead = self.began + number / self.rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            keys = range(self.first + number * self.size, self.first + (number + 1) * self.size)
            for key in keys:
                self.begun.put(key)
            source.execute(_INSERT + ", ".join([_ROW] * self.size), [value for key in keys for value in _values(key)])
            at = time.monotonic()
            self.committed.update(dict.fromkeys(keys, at))


def _values(key: int) -> tuple[int, str, str]:
    return key, f"Paced {key}", f"paced{key}@mail.example"


def latency(servers: Servers, table: str, rate: int, seconds: float, *, size: int = 1, limit: float = 60) -> Latency:
    """Insert customers into `src` at `rate` a second for `seconds` and see when each one is in `table` of `dst`.

    `size`: how many rows a transaction has.

    Every row is followed by itself (rows of several partitions overtake each other), from the return of its commit to
    the first look at the target that finds it. Looks are 2 ms apart, so figures are about 1 ms too high, for everybody.
    """
    with contextlib.ExitStack() as held:
        target = held.enter_context(servers.connect("dst"))
        sources = [held.enter_context(servers.connect("src")) for _ in range(WRITERS)]
        row = sources[0].execute("select max(id) from customers").fetchone()
        assert row is not None
        plan = _Plan(
            first=(int(row[0]) // 1_000_000 + 1) * 1_000_000,
            total=round(rate * seconds / size),
            rate=rate / size,
            began=time.monotonic() + 0.1,
            size=size,
        )
        writers = [
            threading.Thread(target=plan.write, args=(source, share), daemon=True)
            for share, source in enumerate(sources)
        ]
        for writer in writers:
            writer.start()
        visible = _follow(plan, target, table, plan.began + seconds + limit)
        for writer in writers:
            writer.join()
    # A row may be seen a moment before its own commit returns to the writer: that is a latency of nought.
    after = sorted(max(0.0, seen - plan.committed[key]) * 1e3 for key, seen in visible.items())
    took = max(plan.committed.values()) - plan.began
    return _as_latency(len(after) / took, after)


def hot_keys(servers: Servers, table: str, keys: int, rate: int, seconds: float, limit: float = 60) -> Latency:
    """Update a few customers again and again; a change is there once its row in the target is as new, or newer."""
    began, total = time.monotonic() + 0.1, round(rate * seconds)
    committed: list[float] = []
    seen: dict[int, float] = {}

    def write(source: psycopg.Connection) -> None:
        for number in range(total):
            ahead = began + number / rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            source.execute("update customers set name = %s where id = %s", (f"Hot {number}", number % keys + 1))
            committed.append(time.monotonic())

    with servers.connect("src") as source, servers.connect("dst") as target:
        looks = sql.SQL("select id::bigint, name from {} where id = any(%s::{}) and name like 'Hot %%'").format(
            sql.Identifier(table), key_array(target, table)
        )
        writer = threading.Thread(target=write, args=(source,), daemon=True)
        writer.start()
        newest = {key: key - 1 - keys for key in range(1, keys + 1)}
        while len(seen) < total:
            for key, name in target.execute(looks, (list(newest),)).fetchall():
                at, number = time.monotonic(), int(name.removeprefix("Hot "))
                for passed in range(newest[key] + keys, number + 1, keys):
                    seen[passed] = at
                newest[key] = number
            if time.monotonic() > began + seconds + limit:
                raise TooSlowError(f"{total - len(seen)} of {total} updates aren't in {table} in time")
            time.sleep(0.002)
        writer.join()
    after = sorted(max(0.0, seen[number] - committed[number]) * 1e3 for number in range(total))
    return _as_latency(total / (committed[-1] - began), after)


def _as_latency(rate: float, after: list[float]) -> Latency:
    """`after`: milliseconds, in order."""
    curve = tuple((part / 2, after[int((len(after) - 1) * part / 200)]) for part in range(201))
    return Latency(rate, after[len(after) // 2], after[int(len(after) * 0.99)], after[-1], curve)


def _follow(plan: _Plan, target: psycopg.Connection, table: str, end: float) -> dict[int, float]:
    """When each key of the plan was first seen in the target."""
    query = sql.SQL("select id::bigint from {} where id = any(%s::{})").format(
        sql.Identifier(table), key_array(target, table)
    )
    waiting: dict[int, None] = {}
    visible: dict[int, float] = {}
    rows = plan.total * plan.size
    while len(visible) < rows:
        while not plan.begun.empty():
            waiting[plan.begun.get()] = None
        for (key,) in target.execute(query, (list(islice(waiting, LOOKED_UP)),)).fetchall():
            visible[key] = time.monotonic()
            del waiting[key]
        if time.monotonic() > end:
            raise TooSlowError(f"{rows - len(visible)} of {rows} inserts aren't in {table} in time")
        time.sleep(0.002)
    return visible
