"""Commit-to-visible latency under a steady rate of single-row transactions."""

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


@dataclass(frozen=True, slots=True)
class Latency:
    """What was reached: transactions a second, and the latency's quantiles in milliseconds."""

    rate: float
    p50: float
    p99: float
    worst: float


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which keys are inserted when, and when each one's commit returned."""

    first: int
    total: int
    rate: int
    began: float
    begun: SimpleQueue[int] = field(default_factory=SimpleQueue)
    committed: dict[int, float] = field(default_factory=dict)

    def write(self, source: psycopg.Connection, share: int) -> None:
        """One writer's share, one row a transaction, each at its own moment; a late one doesn't move the next."""
        for number in range(share, self.total, WRITERS):
            ahead = self.began + number / self.rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            key = self.first + number
            self.begun.put(key)
            source.execute(
                "insert into customers (id, name, email) values (%s, %s, %s)",
                (key, f"Paced {key}", f"paced{key}@mail.example"),
            )
            self.committed[key] = time.monotonic()


def latency(servers: Servers, table: str, rate: int, seconds: float, limit: float = 60) -> Latency:
    """Insert customers into `src` at `rate` a second for `seconds` and see when each one is in `table` of `dst`.

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
            total=round(rate * seconds),
            rate=rate,
            began=time.monotonic() + 0.1,
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
    return Latency(plan.total / took, after[plan.total // 2], after[int(plan.total * 0.99)], after[-1])


def _follow(plan: _Plan, target: psycopg.Connection, table: str, end: float) -> dict[int, float]:
    """When each key of the plan was first seen in the target."""
    query = sql.SQL("select id::bigint from {} where id = any(%s::{})").format(
        sql.Identifier(table), key_array(target, table)
    )
    waiting: dict[int, None] = {}
    visible: dict[int, float] = {}
    while len(visible) < plan.total:
        while not plan.begun.empty():
            waiting[plan.begun.get()] = None
        for (key,) in target.execute(query, (list(islice(waiting, LOOKED_UP)),)).fetchall():
            visible[key] = time.monotonic()
            del waiting[key]
        if time.monotonic() > end:
            raise TooSlowError(f"{plan.total - len(visible)} of {plan.total} inserts aren't in {table} in time")
        time.sleep(0.002)
    return visible
