"""`python -m bench.replay`: five million events replayed in place and by a shadow: rate, memory, readers' waits.

In place: a producer fills the topic, and a replay fills the empty target; it is killed (-9) on its way, and resumed.
By a shadow: the target is damaged, and rebuilt while writers write at the owner, the flow delivers, and a reader reads
the table all the time. In the end source and target must be equal, by SQL, and the table's index, grant and view must
be what they were. Saved in bench/results as replay-DATE.json.

examples:
  python -m bench.replay                    five million rows (fifteen minutes, 15 GB of disk)
  python -m bench.replay --only in-place    without the shadow
  python -m bench.replay --only shadow      without the replay in place
  python -m bench.replay --rows 200000      a quick look

Exit codes: 0 equal, 1 not, 3 the servers can't be reached.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from bench.ours import FLOW, SYSTEM, Sorbus
from bench.processes import ChildFailedError, end_in_order, peak_bytes
from bench.reconcile import Writers
from bench.report import machine
from bench.servers import Servers, UnreachableError, running
from bench.watch import TooSlowError, checksum, until_visible, until_written

PARTS = ["in-place", "shadow"]
RESULTS = Path(__file__).parent / "results"
HANGS_ON_IT = """
create index by_name on sorbus_customers (name);
create view customers_with_mail as select id, email from sorbus_customers where email is not null;
create role bench_reader;
grant select on sorbus_customers to bench_reader
"""
DAMAGE = (
    "update sorbus_customers set name = 'wrong' where hashtext(id::text) % 100 = 1",
    "delete from sorbus_customers where hashtext(id::text) % 100 = 2",
)
CATALOG = (
    "select c.oid::text, relacl::text, (select string_agg(indexrelid::text, ',' order by 1) from pg_index"
    " where indrelid = c.oid), (select string_agg(objid::text, ',' order by 1) from pg_depend where refobjid = c.oid)"
    " from pg_class c where relname = 'sorbus_customers'"
)
READ = """
import sys, time, psycopg
with psycopg.connect(sys.argv[1], autocommit=True, application_name="bench reader") as reader:
    while True:
        began = time.monotonic()
        reader.execute("select name from sorbus_customers where id = '17'").fetchone()
        reader.execute("select email from customers_with_mail where id = '18'").fetchone()
        print(time.monotonic() - began, flush=True)
        time.sleep(0.002)
"""
BLOCKED = (
    "select count(*) filter (where cardinality(pg_blocking_pids(pid)) > 0) from pg_stat_activity"
    " where application_name = 'bench reader'"
)


@dataclass
class Run:
    """One replay: seconds, events a second, peak memory of its process in megabytes, and what the command said."""

    seconds: float
    rate: float
    peak_mb: float
    said: dict[str, object] = field(default_factory=dict)


@dataclass
class Outcome:
    """The whole run. Waits are a reader's longest ones, in milliseconds: without a replay, and with the shadow's.

    `blocked_ms`: the longest time that another session's lock held the reader up, as the server says it; `wait_ms` is
    with what the machine's load adds. `looked`: how often the server was asked.
    """

    rows: int
    in_place: Run | None = None
    killed_at: int = 0
    resumed_from: int = 0
    shadow: Run | None = None
    written: int = 0
    usual_wait_ms: float = 0.0
    wait_ms: float = 0.0
    waits_over_50_ms: int = 0
    blocked_ms: float = 0.0
    looked: int = 0
    equal: bool = False
    kept: bool = True
    machine: dict[str, str] = field(default_factory=dict)

    @property
    def faults(self) -> list[str]:
        """What isn't as it must be."""
        return [
            *([] if self.equal else ["the target's rows aren't the source's"]),
            *([] if self.kept else ["the table's index, grant or view isn't what it was"]),
            *([] if self.resumed_from or not self.in_place else ["the killed replay was not resumed"]),
        ]


class Replays(Sorbus):
    """The bench's chain, and replays of its flow."""

    def replay(self, *options: str, kill_at: int = 0) -> Run:
        """Runs a replay to its end, or to its kill once it has stored that many events."""
        command = self._command("replay", FLOW, "--json", *options)
        began, peak, said = time.monotonic(), 0.0, b""
        with subprocess.Popen(command, env={**os.environ, **self._environment}, stdout=subprocess.PIPE) as process:
            while process.poll() is None:
                peak = max(peak, peak_bytes(process.pid) / 1e6)
                if kill_at and self.stored_events() >= kill_at:
                    process.kill()
                time.sleep(0.1)
            assert process.stdout is not None
            said = process.stdout.read()
        seconds = time.monotonic() - began
        if not said:
            return Run(seconds, 0.0, peak)
        found = json.loads(said)
        return Run(seconds, found["events"] / seconds, peak, found)

    def start_source(self) -> None:
        """The producer alone."""
        self._run("produce", SYSTEM)

    def stored_events(self) -> int:
        """Events of the replay that is unfinished, as Sorbus's database has it."""
        with psycopg.connect(self._environment["SORBUS_DATABASE"]) as state:
            row = state.execute("select events from sorbus.replay order by number desc limit 1").fetchone()
        return 0 if row is None else int(row[0])


@contextmanager
def reading(servers: Servers) -> Iterator[list[float]]:
    """A process that reads the table all the time; how long each read took, in seconds."""
    waits: list[float] = []
    with subprocess.Popen([sys.executable, "-c", READ, servers.dsn("dst")], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        lines = reader.stdout
        thread = threading.Thread(target=lambda: waits.extend(float(line) for line in lines))
        thread.start()
        try:
            yield waits
        finally:
            reader.kill()
            thread.join()


class LockWatch:
    """Asks the server all the time whether another session's lock holds the reader up."""

    def __init__(self, servers: Servers) -> None:
        self._servers, self._stop = servers, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.longest_ms, self.looked = 0.0, 0

    def __enter__(self) -> "LockWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        free_at = time.monotonic()
        with self._servers.connect("dst") as session:
            while not self._stop.wait(0.005):
                row = session.execute(BLOCKED.encode()).fetchone()
                self.looked += 1
                now = time.monotonic()
                if row and row[0]:
                    self.longest_ms = max(self.longest_ms, 1000 * (now - free_at))
                else:
                    free_at = now


def measure(servers: Servers, folder: Path, rows: int, parts: list[str]) -> Outcome:
    """The whole run."""
    outcome = Outcome(rows, machine=machine() | servers.facts())
    say(f"filling the source with {rows:,} rows ...")
    servers.wipe(rows)
    chain = Replays()
    chain.prepare(servers, folder)

    def look() -> None:
        for child in chain.processes().values():
            child.check()

    try:
        if "in-place" in parts:
            chain.start_source()
            say("filling the topic ...")
            until_written(servers, chain.topic, 0, rows, rows / 2_000 + 120, look)
            in_place(chain, outcome)
            with servers.connect("src") as source, servers.connect("dst") as target:
                outcome.equal = checksum(source, "customers") == checksum(target, chain.table)
        if "shadow" in parts:
            (chain.resume_sink if "in-place" in parts else chain.start)()
            by_shadow(chain, servers, outcome, look)
    finally:
        chain.stop()
    return outcome


def in_place(chain: Replays, outcome: Outcome) -> None:
    """Fills the empty target, with a kill on the way."""
    say("replaying in place, and killing it ...")
    killed = chain.replay(kill_at=outcome.rows // 5)
    outcome.killed_at = chain.stored_events()
    resumed = chain.replay()
    outcome.resumed_from = outcome.killed_at if resumed.said.get("resumed") else 0
    rate = (outcome.rows - outcome.killed_at) / resumed.seconds
    outcome.in_place = Run(killed.seconds + resumed.seconds, rate, resumed.peak_mb, resumed.said)


def by_shadow(chain: Replays, servers: Servers, outcome: Outcome, look: Callable[[], None]) -> None:
    """Damages the target and rebuilds it while it is written and read."""
    rows = outcome.rows
    with servers.connect("src") as source, servers.connect("dst") as target:
        until_visible(target, chain.table, "", rows, rows / 2_000 + 300, look, pause=0.25)
        target.execute(HANGS_ON_IT.encode())
        before = target.execute(CATALOG.encode()).fetchall()
        for statement in DAMAGE:
            target.execute(statement.encode())
        target.execute("vacuum analyze sorbus_customers")
        with Writers(servers, rows, 500) as writers, reading(servers) as waits:
            time.sleep(10)
            outcome.usual_wait_ms = 1000 * max(waits)
            waits.clear()
            say("replaying by a shadow ...")
            with LockWatch(servers) as watch:
                outcome.shadow = chain.replay("--shadow")
            outcome.blocked_ms, outcome.looked = watch.longest_ms, watch.looked
            outcome.wait_ms = 1000 * max(waits)
            outcome.waits_over_50_ms = sum(wait > 0.05 for wait in waits)
        outcome.written = writers.written
        end = time.monotonic() + 120
        outcome.equal = False
        while not outcome.equal and time.monotonic() < end:
            outcome.equal = checksum(source, "customers") == checksum(target, chain.table)
        outcome.kept = target.execute(CATALOG.encode()).fetchall() == before


def say(line: str) -> None:
    """Says where it is."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Read the command line, measure, show and save."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.replay",
        description=(__doc__ or "").partition(": ")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=5_000_000, metavar="N", help="how many rows (default 5,000,000)")
    parser.add_argument("--only", choices=PARTS, help="one of the two")
    parser.add_argument("--no-save", action="store_true", help="don't write to bench/results")
    options = parser.parse_args()
    end_in_order()
    began = datetime.now(UTC)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="sorbus-bench-") as folder,
            running(Path(folder) / "servers", use_running=False) as servers,
        ):
            outcome = measure(servers, Path(folder), options.rows, [options.only] if options.only else PARTS)
    except UnreachableError as error:
        say(str(error))
        return 3
    except (ChildFailedError, TooSlowError, TimeoutError, OSError, subprocess.SubprocessError) as error:
        say(str(error))
        return 1
    content = json.dumps({"began": f"{began:%Y-%m-%d %H:%M UTC}", **asdict(outcome)}, indent=1) + "\n"
    if not options.no_save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"replay-{began:%Y-%m-%d-%H%M}.json").write_text(content)
    print(content, end="")
    for fault in outcome.faults:
        say(fault)
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
