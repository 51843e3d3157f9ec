"""The yardstick: what plain Python reaches without any feature, run from the peers' own two scripts."""

import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from bench.figures import OWN, Course, Notebook
from bench.processes import Child, own_peak_bytes
from bench.servers import Servers
from bench.watch import checksum, until_committed, until_visible, until_written

NAME = "ceiling"
TOPIC = "ceiling"
TABLE = "ceiling"
BATCH = 10_000
PARTITIONS = 4


@dataclass(slots=True)
class _Scripts:
    """The scripts of one round; each one ends by itself when it has seen all rows, and says what CPU it used."""

    peer: Path
    folder: Path
    book: Notebook
    started: list[Child] = field(default_factory=list)
    peaks: dict[str, int] = field(default_factory=dict)

    def start(self, name: str, *arguments: int) -> Child:
        command = [sys.executable, str(self.peer / f"{name}.py"), *map(str, arguments)]
        self.started.append(Child.start(name, command, self.folder))
        return self.started[-1]

    def check(self) -> None:
        """Raise if one failed; note the peaks of those that run."""
        for child in self.started:
            if child.process.poll() is None:
                self.peaks[child.name] = max(self.peaks.get(child.name, 0), own_peak_bytes(child.pid))
            elif child.process.returncode != 0:
                child.check()

    def end(self, stage: str, limit: float, *children: Child) -> None:
        """Wait for their end and note what they say of themselves."""
        total = 0.0
        for child in children:
            said = child.finish(limit).strip().splitlines()[-1]
            self.book.words.append(f"{stage}: {said}")
            cpu = re.search(r"([\d.]+) us CPU a row", said)
            assert cpu is not None, f"{child.name} says nothing of its CPU: {said}"
            self.book.note(f"cpu {stage}, {child.name}", float(cpu[1]), "us/row")
            total += float(cpu[1])
        self.book.note(f"cpu {stage}, {OWN}", total, "us/row")


def run(peer: Path, servers: Servers, folder: Path, course: Course, book: Notebook) -> None:
    """One round on freshly wiped servers: both together (the first time to warm up), then capture, then sink alone.

    `capture.py` makes the update itself and starts to read after its commit, which is seen from outside; a live chain
    has PostgreSQL decode while the update still runs, so the yardstick is a little harder on itself.
    """
    servers.wipe(course.rows)
    scripts = _Scripts(peer, folder, book)
    try:
        with servers.connect("src") as source, servers.connect("dst") as target:
            for number in range(course.updates + 1):
                _settle(servers, source, target)
                stage = "end to end" if number else "warm-up"
                sink = scripts.start("sink", course.rows, BATCH)
                time.sleep(3)  # it says nothing when it has joined its group
                with book.cpu_per_row(stage, course.rows, servers, dict):
                    capture = scripts.start("capture", course.rows)
                    committed, prefix = until_committed(source, course.limit, scripts.check)
                    seen = until_visible(target, TABLE, prefix, course.rows, course.limit, scripts.check)
                book.note(stage, seen.rate_since(committed), "rows/s")
                scripts.end(stage, course.limit, capture, sink)

            _settle(servers, source, target)
            capture = scripts.start("capture", course.rows)
            committed, prefix = until_committed(source, course.limit, scripts.check)
            written = until_written(servers, TOPIC, 0, course.rows, course.limit, scripts.check)
            book.note("capture", written.rate_since(committed), "rows/s")
            scripts.end("capture", course.limit, capture)
            sink = scripts.start("sink", course.rows, BATCH)
            seen = until_visible(target, TABLE, prefix, course.rows, course.limit, scripts.check)
            book.note("sink", seen.rate, "rows/s")
            scripts.end("sink", course.limit, sink)
            book.note("target equals source", checksum(source, "customers") == checksum(target, TABLE), "yes=1")
            book.note_peaks(scripts.peaks)
    finally:
        for child in scripts.started:
            child.stop()


def _settle(servers: Servers, source: psycopg.Connection, target: psycopg.Connection) -> None:
    """An empty topic, and no dead rows and no checkpoint left over from what came before."""
    servers.delete_topics([topic for topic in servers.topics() if topic == TOPIC])
    servers.create_topic(TOPIC, PARTITIONS)
    source.execute("vacuum customers")
    if target.execute("select to_regclass(%s)", (TABLE,)).fetchone() != (None,):
        target.execute(f"alter table {TABLE} set (autovacuum_enabled = false)")
        target.execute(f"vacuum {TABLE}")
    source.execute("checkpoint")
