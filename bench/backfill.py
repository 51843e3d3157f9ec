"""`python -m bench.backfill`: five million rows join a running source; what that does to its stream's latency.

Two hundred rows a second are inserted into a small table whose stream is running; an independent consumer takes the
time from each commit to its event. Then the large table joins by map and `sorbus apply`. Saved in bench/results.

examples:
  python -m bench.backfill                    five million rows
  python -m bench.backfill --rows 200000      a quick look

Exit codes: 0 p99 stayed under twice its usual, 1 not, 3 the servers can't be reached.
"""

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from bench.ours import MAP, Sorbus
from bench.processes import end_in_order, peak_bytes
from bench.report import machine
from bench.servers import Servers, UnreachableError, running

RESULTS = Path(__file__).parent / "results"
PULSE = {"type": "record", "name": "pulse", "namespace": "sorbus", "fields": [{"name": "n", "type": "long"}]}
PULSE_TYPE = "  pulse:\n    system_of_record: src\n    source:\n      table: public.pulses\n"


@dataclass
class Joining:
    """Seconds, rows a second, and the stream's latency in milliseconds before and while the table was read."""

    rows: int
    seconds: float
    rate: float
    usual_p50: float
    usual_p99: float
    joining_p50: float
    joining_p99: float
    joining_max: float
    pulses: int
    peak_mb: float
    machine: dict[str, str]


class Pulse:
    """Inserts rows at a steady rate, and notes when each was committed and when its event could be read."""

    def __init__(self, servers: Servers, rate: int = 200) -> None:
        self._servers, self._rate = servers, rate
        self._stop = threading.Event()
        self.committed: dict[str, float] = {}
        self.seen: dict[str, float] = {}
        self._threads = [threading.Thread(target=self._write), threading.Thread(target=self._read)]

    def __enter__(self) -> "Pulse":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def latencies(self, since: float, until: float) -> list[float]:
        """In milliseconds, of what was committed in this time, sorted; what hasn't come yet counts up to now."""
        now = time.monotonic()
        chosen = [(id, at) for id, at in list(self.committed.items()) if since <= at < until]
        return sorted((self.seen.get(id, now) - at) * 1000 for id, at in chosen)

    def _write(self) -> None:
        began, number = time.monotonic(), 0
        with self._servers.connect("src") as connection:
            while not self._stop.wait(max(0.0, began + number / self._rate - time.monotonic())):
                number += 1
                connection.execute("insert into pulses values (%s, %s)", (number, number))
                self.committed[str(number)] = time.monotonic()

    def _read(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._servers.kafka, "group.id": "bench-pulse",
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest", "fetch.wait.max.ms": 5, "enable.auto.commit": False,
            }
        )  # fmt: skip
        consumer.assign([TopicPartition("pulse", number, 0) for number in range(4)])
        while not self._stop.is_set():
            message = consumer.poll(0.1)
            if message is not None and message.error() is None and (key := message.key()) is not None:
                self.seen.setdefault(key.decode() if isinstance(key, bytes) else key, time.monotonic())
        consumer.close()


def measure(servers: Servers, folder: Path, rows: int) -> Joining:
    """The whole run."""
    say(f"filling the source with {rows:,} rows ...")
    servers.wipe(rows)
    with servers.connect("src") as source:
        source.execute("create table pulses (id bigint primary key, n bigint not null)")
        source.execute("insert into pulses values (0, 0)")
    place = folder / "map"
    shutil.copytree(MAP.parent, place)
    (place / "schemas" / "pulse.avsc").write_text(json.dumps(PULSE))
    written = (place / "map.yaml").read_text()
    head, _, rest = written.partition("data_types:\n")
    (place / "map.yaml").write_text(f"{head}data_types:\n{PULSE_TYPE}")
    sheets = place / "mappings"
    kept = {sheet: sheet.read_text() for sheet in sheets.iterdir()}
    for sheet in kept:
        sheet.unlink()
    chain = Sorbus(place / "map.yaml")
    chain.prepare(servers, folder)
    chain._run("produce", "src")
    try:
        wait(lambda: servers.end_offset("pulse") > 0, "the first pulse", 60)
        with Pulse(servers) as pulse:
            time.sleep(5)
            usual_since = time.monotonic()
            time.sleep(20)
            usual = pulse.latencies(usual_since, time.monotonic() - 2)
            say(f"usual: p50 {at(usual, 50):.0f} ms, p99 {at(usual, 99):.0f} ms; the table joins")
            (place / "map.yaml").write_text(f"{head}data_types:\n{PULSE_TYPE}{rest}")
            for sheet, text in kept.items():
                sheet.write_text(text)
            chain.prepare(servers, folder)
            chain._running.pop("produce").stop()
            chain._run("produce", "src")
            wait(lambda: servers.end_offset("bench_customer") > 0, "the first customer", 60)
            since = time.monotonic() + 2
            peak = 0.0
            while (copied := servers.end_offset("bench_customer")) < rows:
                child = chain.processes()["produce"]
                child.check()
                peak = max(peak, peak_bytes(child.pid) / 1e6)
                if time.monotonic() - since > rows / 2000 + 120:
                    raise TimeoutError(f"only {copied:,} of {rows:,} rows were read")
                time.sleep(1)
            until = time.monotonic()
            time.sleep(2)
            joining = pulse.latencies(since, until)
    finally:
        chain.stop()
    say("comparing the topic with the table ...")
    compare(servers, rows)
    seconds = until - since + 2
    return Joining(
        rows, seconds, rows / seconds, at(usual, 50), at(usual, 99), at(joining, 50), at(joining, 99), joining[-1],
        len(joining), peak, machine() | servers.facts(),
    )  # fmt: skip


def compare(servers: Servers, rows: int) -> None:
    """Each of the table's keys is on the topic, once, and no other."""
    times = bytearray(rows + 1)
    consumer = Consumer(
        {"bootstrap.servers": servers.kafka, "group.id": "bench-compare", "isolation.level": "read_committed"}
    )
    consumer.assign([TopicPartition("bench_customer", number, 0) for number in range(4)])
    end = time.monotonic() + 300
    while sum(times) < rows and time.monotonic() < end:
        for message in consumer.consume(10_000, 1.0):
            if message.error() is None:
                times[int(message.key() or b"0")] += 1
    consumer.close()
    with servers.connect("src") as source:
        row = source.execute("select count(*), min(id), max(id) from customers").fetchone()
    if row != (rows, 1, rows) or times.count(1) != rows:
        raise AssertionError(f"the table has (count, min, max) {row}; on the topic once: {times.count(1):,} of them")


def at(latencies: list[float], percent: int) -> float:
    """A percentile of sorted figures."""
    return latencies[min(len(latencies) - 1, len(latencies) * percent // 100)]


def wait(until, what: str, seconds: float) -> None:  # type: ignore[no-untyped-def]
    """Until something is so."""
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            raise TimeoutError(f"no sign of {what}")
        time.sleep(0.05)


def say(words: str) -> None:
    """Progress."""
    print(words, file=sys.stderr, flush=True)


def main() -> int:
    """Read the command line, measure, show and save."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.backfill", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=5_000_000, metavar="N")
    parser.add_argument("--use-running", action="store_true", help="use servers that run on the ports, wiping them")
    options = parser.parse_args()
    end_in_order()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="sorbus-bench-") as folder,
            running(Path(folder) / "servers", use_running=options.use_running) as servers,
        ):
            found = measure(servers, Path(folder), options.rows)
    except UnreachableError as error:
        say(str(error))
        return 3
    RESULTS.mkdir(exist_ok=True)
    stem = RESULTS / f"backfill-{datetime.now(UTC):%Y-%m-%d-%H%M}.json"
    stem.write_text(json.dumps(asdict(found), indent=1))
    print(json.dumps(asdict(found), indent=1))
    return 0 if found.joining_p99 < 2 * found.usual_p99 else 1


if __name__ == "__main__":
    sys.exit(main())
