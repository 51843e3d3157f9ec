"""`python -m bench.reconcile`: ten million rows a side, a hundred planted differences, five hundred writes a second.

For each seed: plants differences of ten kinds in the target, compares while writers write, checks that exactly those
were found, heals them through the bus, and waits by SQL until both tables agree on them. Then a comparison of what has
changed since, and, at rest, one beside namidiff on the same tables. Saved in bench/results as reconcile-DATE.json.

examples:
  python -m bench.reconcile                                ten seeds (half an hour, 20 GB of disk)
  python -m bench.reconcile --rows 200000 --seeds 2        a quick look
  python -m bench.reconcile --namidiff PATH/TO/namidiff    beside the peer (a virtual environment's command)

Exit codes: 0 all found and nothing else, 1 not, 3 the servers can't be reached.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from bench.ours import FLOW, MAP, Sorbus
from bench.processes import end_in_order
from bench.report import machine
from bench.servers import Servers, UnreachableError, running

RESULTS = Path(__file__).parent / "results"
TABLE = "their_customers"
TARGET = f"""
create table {TABLE} (
    id bigint primary key, name text not null, email text, phone text, address text, credit numeric(12, 2),
    updated_at timestamptz not null
)
"""
KEPT = 7
"""Rows whose id leaves this rest by ten are never written by the writers: differences are planted in them."""
PLANTS = (
    f"update {TABLE} set name = name || '!' where id = %s",
    f"update {TABLE} set email = case when email is null then 'x' end where id = %s",
    f"update {TABLE} set credit = coalesce(credit, 0) + 0.01 where id = %s",
    f"update {TABLE} set updated_at = updated_at + interval '1 microsecond' where id = %s",
    f"update {TABLE} set address = coalesce(address, '') || ' ' where id = %s",
    f"update {TABLE} set phone = case when phone is null then '' else upper(phone) || 'x' end where id = %s",
    f"delete from {TABLE} where id = %s",
    f"insert into {TABLE} (id, name, updated_at) values (-%s, 'extra', now())",
    f"insert into {TABLE} (id, name, updated_at) values (1000000000 + %s, 'extra', now())",
)


@dataclass
class Seed:
    """One seed: planted and found records, seconds to compare and to heal, rows fetched, changes in flight."""

    seed: int
    planted: int
    found: int
    invented: int
    seconds: float
    rows_fetched: int
    bytes_scanned: int
    in_flight: int
    undecided: int
    healed_seconds: float
    changed_seconds: float = 0.0
    changed_compared: int = 0
    changed_fetched: int = 0
    changed_left: int = -1


@dataclass
class Outcome:
    """The whole run. `at_rest` and `namidiff`: seconds on the same tables, without writers, and what they found."""

    rows: int
    writes_a_second: float = 0.0
    seeds: list[Seed] = field(default_factory=list)
    at_rest: dict[str, float] = field(default_factory=dict)
    namidiff: dict[str, float] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)

    @property
    def faults(self) -> list[str]:
        """What isn't as it must be."""
        return [
            f"seed {one.seed}: {one.found} of {one.planted} found, {one.invented} invented, {one.undecided} undecided"
            for one in self.seeds
            if one.found != one.planted or one.invented or one.undecided
        ]


class Writers:
    """Five hundred writes a second at the owner: updates, inserts and deletes, by several connections."""

    def __init__(self, servers: Servers, rows: int, rate: int = 500, connections: int = 5) -> None:
        self._servers, self._rows, self._rate = servers, rows, rate / connections
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(connections)]
        self._written = [0] * connections
        self.seconds = 0.0

    @property
    def written(self) -> int:
        """Statements of all connections."""
        return sum(self._written)

    def __enter__(self) -> "Writers":
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.seconds = time.monotonic() - self._began

    def _run(self, number: int) -> None:
        chance, next_id = random.Random(number), (number + 2) * 1_000_000 + self._rows
        written = self._written
        with self._servers.connect("src") as connection:
            while not self._stop.wait(max(0.0, self._began + written[number] / self._rate - time.monotonic())):
                id = chance.randrange(1, self._rows)
                id += id % 10 == KEPT
                what = chance.random()
                if what < 0.8:
                    connection.execute(
                        "update customers set credit = %s where id = %s", (chance.randrange(10**6) / 100, id)
                    )
                elif what < 0.9:
                    next_id += 1 + (next_id % 10 == KEPT - 1)
                    connection.execute("insert into customers (id, name) values (%s, 'new')", (next_id,))
                else:
                    connection.execute("delete from customers where id = %s", (id,))
                written[number] += 1


class Chain(Sorbus):
    """The bench's chain into a table of the target's own, whose key both programs can compare."""

    def __init__(self, folder: Path) -> None:
        shutil.copytree(MAP.parent, folder)
        path = folder / MAP.name
        written = path.read_text().replace(
            "table: sorbus_customers",
            f"table: {TABLE}\n      existing: true\n    reconcile:\n      foreign_records: delete",
        )
        path.write_text(written)
        sheet = folder / "mappings" / "dst.csv"
        lines = [line for line in sheet.read_text().splitlines() if "bench_customer.id," not in line]
        sheet.write_text("\n".join(lines).replace("sorbus_customers", TABLE) + "\n")
        super().__init__(path)

    def reconcile(self, *options: str) -> dict[str, object]:
        """The report of `sorbus reconcile`, with the seconds that the command took."""
        began = time.monotonic()
        command = self._command("reconcile", FLOW, "--json", "--by", "bench", *options)
        done = subprocess.run(command, env={**os.environ, **self._environment}, capture_output=True, text=True)
        if done.returncode not in (0, 1) or not done.stdout:
            raise RuntimeError(f"sorbus reconcile ended with {done.returncode}: {done.stderr[-2000:]}")
        return {**json.loads(done.stdout), "seconds": time.monotonic() - began}


def plant(target: psycopg.Connection, rows: int, seed: int) -> set[str]:
    """Plants a hundred differences; the ids of the records that differ then."""
    chance = random.Random(seed)
    ids = [10 * number + KEPT for number in chance.sample(range(1, rows // 10 - 1), 100)]
    planted = set()
    for kind, statement in enumerate(PLANTS):
        for id in ids[kind * 10 : kind * 10 + 10]:
            target.execute(statement, (id,))
            planted.add(str(-id if kind == 7 else 1_000_000_000 + id if kind == 8 else id))
    for one, other in zip(ids[90:95], ids[95:100], strict=True):  # values that change places cancel in a sum
        target.execute(
            f"update {TABLE} a set name = b.name from {TABLE} b where (a.id, b.id) in ((%s, %s), (%s, %s))",
            (one, other, other, one),
        )
        planted |= {str(one), str(other)}
    return planted


def differing(servers: Servers, ids: set[str]) -> int:
    """How many of these records differ, by plain SQL on both sides."""
    query = "select id::text, name, email, phone, address, credit, updated_at from {} where id = any(%s::bigint[])"
    with servers.connect("src") as source, servers.connect("dst") as target:
        mine = {row[0]: row for row in source.execute(query.format("customers").encode(), (list(ids),))}
        theirs = {row[0]: row for row in target.execute(query.format(TABLE).encode(), (list(ids),))}
    return sum(mine.get(id) != theirs.get(id) for id in ids)


def one_seed(chain: Chain, servers: Servers, rows: int, seed: int) -> Seed:
    """Plants, compares, heals, and compares what has changed."""
    with servers.connect("dst") as target:
        planted = plant(target, rows, seed)
    report = chain.reconcile("--heal")
    differences = report["differences"]
    assert isinstance(differences, list)
    found = {one["id"] for one in differences if one["first_seen"] == one["last_seen"]}
    began = time.monotonic()
    while differing(servers, planted) and time.monotonic() - began < 120:
        time.sleep(0.1)
    made = Seed(
        seed, len(planted), len(found & planted), len(found - planted), float(str(report["seconds"])),
        int(str(report["rows_fetched"])), int(str(report["bytes_scanned"])), int(str(report["in_flight"])),
        int(str(report["undecided"])), time.monotonic() - began,
    )  # fmt: skip
    again = chain.reconcile("--changed")
    made.changed_seconds, made.changed_compared = float(str(again["seconds"])), int(str(again["compared"]))
    made.changed_fetched = int(str(again["rows_fetched"]))
    counts = again["counts"]
    assert isinstance(counts, dict)
    made.changed_left = sum(counts.values())
    return made


def peer(command: Path, servers: Servers) -> dict[str, float]:
    """namidiff on the same tables: seconds, and rows that it reports."""
    columns = [part for name in ("name", "email", "phone", "address", "credit", "updated_at") for part in ("-c", name)]
    began = time.monotonic()
    asked = [str(command), servers.dsn("src"), "customers", servers.dsn("dst"), TABLE, "-k", "id", *columns]
    done = subprocess.run([*asked, "--threads", "2"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"namidiff: {done.stderr[-2000:]}")
    return {"seconds": time.monotonic() - began, "lines": float(len(done.stdout.splitlines()))}


def measure(servers: Servers, folder: Path, rows: int, seeds: int, namidiff: Path | None) -> Outcome:
    """The whole run."""
    outcome = Outcome(rows, machine=machine() | servers.facts())
    say(f"filling the source with {rows:,} rows ...")
    servers.wipe(rows)
    with servers.connect("dst") as target:
        target.execute(TARGET.encode())
    chain = Chain(folder / "map")
    chain.prepare(servers, folder)
    chain.start()
    try:
        wait_for_copy(chain, servers, rows)
        with servers.connect("dst") as target:
            target.execute(f"vacuum analyze {TABLE}".encode())
        with Writers(servers, rows) as writers:
            for seed in range(seeds):
                outcome.seeds.append(one_seed(chain, servers, rows, seed))
                say(str(outcome.seeds[-1]))
        outcome.writes_a_second = writers.written / writers.seconds
        say(f"{outcome.writes_a_second:.0f} writes a second; at rest:")
        for _ in range(2):
            quiet = chain.reconcile()
        with servers.connect("dst") as target:
            planted = plant(target, rows, 1000)
        for round in range(2):
            if namidiff is not None:
                for name, value in peer(namidiff, servers).items():
                    outcome.namidiff[f"{name} {round + 1}"] = value
            report = chain.reconcile()
            outcome.at_rest[f"seconds {round + 1}"] = float(str(report["seconds"]))
            counts = report["counts"]
            assert isinstance(counts, dict)
            outcome.at_rest[f"found {round + 1}"] = sum(counts.values())
        outcome.at_rest["planted"] = len(planted)
        outcome.at_rest["left before"] = float(str(sum(quiet["counts"].values())))  # type: ignore[attr-defined]
        say(f"{outcome.at_rest} {outcome.namidiff}")
    finally:
        chain.stop()
    return outcome


def wait_for_copy(chain: Chain, servers: Servers, rows: int) -> None:
    """Until the target has every row; says how far it is."""
    began = last = time.monotonic()
    with servers.connect("dst") as target:
        while True:
            for child in chain.processes().values():
                child.check()
            row = target.execute(f"select count(*) from {TABLE}".encode()).fetchone()
            copied = int(row[0]) if row else 0
            if copied >= rows:
                break
            if time.monotonic() - began > rows / 2_000 + 120:
                raise TimeoutError(f"only {copied:,} of {rows:,} rows were copied")
            if time.monotonic() - last > 30:
                last = time.monotonic()
                say(f"{copied:,} rows copied")
            time.sleep(2.0)
    say(f"copied in {time.monotonic() - began:.0f} s")


def say(words: str) -> None:
    """Progress."""
    print(words, file=sys.stderr, flush=True)


def main() -> int:
    """Read the command line, measure, show and save."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.reconcile", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000_000, metavar="N")
    parser.add_argument("--seeds", type=int, default=10, metavar="N")
    parser.add_argument("--namidiff", type=Path, metavar="COMMAND", help="the peer's command; without it, ours alone")
    parser.add_argument("--use-running", action="store_true", help="use servers that run on the ports, wiping them")
    options = parser.parse_args()
    end_in_order()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="sorbus-bench-") as folder,
            running(Path(folder) / "servers", use_running=options.use_running) as servers,
        ):
            outcome = measure(servers, Path(folder), options.rows, options.seeds, options.namidiff)
    except UnreachableError as error:
        say(str(error))
        return 3
    RESULTS.mkdir(exist_ok=True)
    stem = RESULTS / f"reconcile-{datetime.now(UTC):%Y-%m-%d-%H%M}.json"
    stem.write_text(json.dumps(asdict(outcome), indent=1))
    print(json.dumps(asdict(outcome), indent=1))
    for fault in outcome.faults:
        say(fault)
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
