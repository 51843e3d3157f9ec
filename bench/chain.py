"""The course every live chain runs: initial snapshot, updates, paced inserts, capture alone, sink alone."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from bench.figures import Course, Notebook
from bench.pace import Latency, hot_keys, latency
from bench.processes import Child, peak_bytes, resident_bytes
from bench.servers import Servers
from bench.watch import TooSlowError, checksum, until_visible, until_written, update_all

_LOOK_EVERY = 0.25
"""Seconds between two looks at the memory, while rows are waited for."""


class Chain(Protocol):
    """A chain that follows `src.customers` into a table of `dst`, through a topic."""

    name: str
    topic: str
    table: str

    def prepare(self, servers: Servers, folder: Path) -> None:
        """All that is done once, before the clock of the initial snapshot starts."""

    def start(self) -> None:
        """Start capture and sink."""

    def pause_sink(self) -> None:
        """Let captured changes pile up in the topic; returns when nothing more is applied."""

    def resume_sink(self) -> None:
        """Let the sink go on."""

    def processes(self) -> dict[str, Child]:
        """What runs now, by the name to show."""

    def stop(self) -> None:
        """End everything; must not raise because something never ran."""


def run(chain: Chain, servers: Servers, folder: Path, course: Course, book: Notebook) -> None:
    """One round of `chain` on freshly wiped servers."""
    servers.wipe(course.rows)
    chain.prepare(servers, folder)
    peaks: dict[str, int] = {}
    memory: list[tuple[float, float]] = []

    def check() -> None:
        for child in chain.processes().values():
            child.check()
        if not memory or time.monotonic() > memory[-1][0] + _LOOK_EVERY:
            used = resident_bytes(*(child.pid for child in chain.processes().values()))
            memory.append((time.monotonic(), used / 2**20))

    def pids() -> dict[str, int]:
        return {name: child.pid for name, child in chain.processes().items()}

    def look() -> None:
        for name, child in chain.processes().items():
            peaks[name] = max(peaks.get(name, 0), peak_bytes(child.pid))

    try:
        with servers.connect("src") as source, servers.connect("dst") as target:
            began = time.monotonic()
            memory.clear()
            chain.start()
            seen = until_visible(target, chain.table, "", course.rows, course.limit, check)
            book.note("initial snapshot, start-up included", seen.last - began, "s")
            book.note("initial snapshot, from first to last row", seen.rate, "rows/s")
            look()

            def settle() -> None:
                """No dead rows and no checkpoint left over from what came before."""
                source.execute("vacuum customers")
                target.execute(f'vacuum "{chain.table}"')
                source.execute("checkpoint")

            target.execute(f'alter table "{chain.table}" set (autovacuum_enabled = false)')
            for number in range(course.updates + 1):
                settle()
                stage = "end to end" if number else "warm-up"
                with book.cpu_per_row(stage, course.rows, servers, pids):
                    committed, prefix = update_all(source, course.rows)
                    seen = until_visible(target, chain.table, prefix, course.rows, course.limit, check)
                book.note(stage, seen.rate_since(committed), "rows/s")
            book.draw("end to end", [(committed, 0.0), *((at, share * 100) for at, share in seen.curve)], committed)
            look()

            def pace(stage: str, rate: int, reach: Callable[[], Latency]) -> None:
                with book.cpu_per_row(stage, round(rate * course.seconds), servers, pids):
                    reached = reach()
                book.note(f"{stage}, p50", reached.p50, "ms")
                book.note(f"{stage}, p99", reached.p99, "ms")
                book.draw(stage, reached.curve)
                book.note(f"{stage}, rate reached", reached.rate / rate, "of the rate")

            table, seconds = chain.table, course.seconds
            for rate in course.rates:
                pace(f"latency at {rate:,}/s", rate, partial(latency, servers, table, rate, seconds))
            for size, rate in course.sizes:
                stage = f"latency of transactions of {size} rows, {rate:,} rows/s"
                pace(stage, rate, partial(latency, servers, table, rate, seconds, size=size))
            if course.hot is not None:
                keys, rate = course.hot
                stage = f"latency of {rate} updates/s of {keys} customers"
                pace(stage, rate, partial(hot_keys, servers, table, keys, rate, seconds))

            chain.pause_sink()
            settle()
            base = servers.end_offset(chain.topic)
            with book.cpu_per_row("capture", course.rows, servers, pids):
                committed, prefix = update_all(source, course.rows)
                written = until_written(servers, chain.topic, base, course.rows, course.limit, check)
            book.note("capture", written.rate_since(committed), "rows/s")
            with book.cpu_per_row("sink", course.rows, servers, pids):
                chain.resume_sink()
                seen = until_visible(target, chain.table, prefix, course.rows, course.limit, check)
            book.note("sink", seen.rate, "rows/s")
            look()
            book.note("target equals source", checksum(source, "customers") == checksum(target, chain.table), "yes=1")
            book.note_peaks(peaks)
            book.draw("memory", memory, began)
    except TooSlowError as error:
        raise TooSlowError("\n".join([str(error), *(_tail(child) for child in chain.processes().values())])) from error
    finally:
        chain.stop()


def _tail(child: Child) -> str:
    return f"{child.name} said last:\n{child.words()}"
