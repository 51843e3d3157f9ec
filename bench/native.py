"""`python -m bench.native`: rows in C (`sorbus.native`) beside the same in Python, in CPU time and by turns.

examples:
  python -m bench.native              in one process, the whole way of a row but for the clients of Kafka and PostgreSQL
  python -m bench.native --chain 2    the whole chain, two rounds of each (minutes)
"""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench import chain, usage
from bench.figures import Course, Figure, Notebook, medians
from bench.ours import MAP, Sorbus
from bench.path import BATCH, CapturePath, DeliveryPath, inserted
from bench.processes import end_in_order
from bench.servers import running
from sorbus import native
from sorbus.bus import deserialize
from sorbus.consumers.postgres.shape import TableShape
from sorbus.mapping.assign import Assignment
from sorbus.native import codec
from sorbus.postgres.catalog import Column
from sorbus.schema import parse_schema
from sorbus.telemetry.process import collect_seldom

COLUMNS = {"name": 25, "email": 25, "phone": 25, "address": 25, "credit": 1700, "updated_at": 1184}
SCHEMA = parse_schema((MAP.parent / "schemas" / "bench_customer.avsc").read_text("utf-8"))
TYPES = {25: "text", 1700: "numeric(12,2)", 1184: "timestamp with time zone"}
WAYS = ("Python", "C")


@contextlib.contextmanager
def way(name: str) -> Iterator[None]:
    """Has what is made and run inside go this way."""
    native.absence = "" if name == "C" else "for comparison"
    deserialize._read_event = codec.read_event if name == "C" else lambda _: None
    yield


def row(number: int) -> list[bytes | None]:
    """A row of the peers' table (sql/source.sql), its id first."""
    return [
        b"%d" % number,
        b"Customer %d" % number,
        b"customer%d@mail%d.example" % (number, number % 97) if number % 17 else None,
        b"+44 20 7946 %04d" % (number % 10_000) if number % 5 else None,
        f"{number % 300} Rowan Street, M\u00f6rfelden, D-{number % 99_999:05}".encode() if number % 11 else None,
        b"%.2f" % (number % 1_000_000 / 100) if number % 7 else None,
        b"2026-11-29 20:12:33.%06d+00" % (number % 7),
    ]


def measure(turns: int) -> dict[str, dict[str, float]]:
    """Stage -> way -> microseconds of CPU a row, the best of so many turns."""
    collect_seldom()
    shapes, captures, deliveries = {}, {}, {}
    for name in WAYS:
        with way(name):
            captures[name] = CapturePath(SCHEMA, (), COLUMNS, {})
            columns = {
                field: Column(field, oid, TYPES[oid], "b", "S", 0, 0, False, oid, TYPES[oid].partition("(")[0])
                for field, oid in COLUMNS.items()
            }
            assigned = [Assignment(field, field, None, None) for field in COLUMNS]
            shapes[name] = TableShape(assigned, columns, SCHEMA.fields, defaults={}, children={})
            deliveries[name] = DeliveryPath(SCHEMA, shapes[name])
    best: dict[str, dict[str, float]] = {"capture": {}, "delivery": {}}
    for turn in range(turns):
        messages = [inserted(row(number)) for number in range(turn * BATCH, (turn + 1) * BATCH)]
        outcomes = []
        for name in WAYS:
            with way(name):
                seconds, values = captures[name].run(messages)
                best["capture"][name] = min(best["capture"].get(name, 1e9), seconds / BATCH * 1e6)
                seconds, copied = deliveries[name].run(values)
                best["delivery"][name] = min(best["delivery"].get(name, 1e9), seconds / BATCH * 1e6)
            outcomes.append(copied)
        assert outcomes[0] == outcomes[1], "the two ways give different rows"
    return best


def as_markdown(found: dict[str, dict[str, float]]) -> str:
    """A table, in microseconds of CPU a row."""
    lines = ["| us of CPU a row | Python | C | ratio |", "| --- | ---: | ---: | ---: |"]
    lines += [
        f"| {what} | {of['Python']:.2f} | {of['C']:.2f} | {of['C'] / of['Python']:.2f} |" for what, of in found.items()
    ]
    return "\n".join(lines)


def measure_chain(rounds: int) -> dict[str, dict[str, float]]:
    """The whole chain by turns: what its processes took, medians of all rounds."""
    figures: list[Figure] = []
    course = Course(rates=())
    with (
        tempfile.TemporaryDirectory(prefix="sorbus-bench-") as folder,
        running(Path(folder) / "servers", use_running=False) as servers,
    ):
        for number in range(rounds):
            for name in WAYS:
                place = Path(folder) / f"{name}-{number}"
                place.mkdir()
                book = Notebook(name, number)
                chain.run(Sorbus(SORBUS_NO_EXTENSION="" if name == "C" else "1"), servers, place, course, book)
                figures += book.figures
    cpu = {what: found for what, found in medians(figures).items() if what.startswith("cpu ")}
    return {what: {name: value for name, (value, _) in found.items()} for what, found in cpu.items() if len(found) == 2}


def main() -> None:
    """Read the command line, measure, show."""
    parser = usage.parser("bench.native", __doc__)
    parser.add_argument("--turns", type=int, default=40, metavar="N", help=f"batches of {BATCH:,} rows (default 40)")
    parser.add_argument("--chain", type=int, default=0, metavar="ROUNDS", help="measure the whole chain")
    options = parser.parse_args()
    if native.absence:
        parser.error(f"sorbus.native is {native.absence}")
    end_in_order()
    run = partial(measure_chain, options.chain) if options.chain else partial(measure, options.turns)
    began = time.monotonic()
    print(as_markdown(run()), f"\n{time.monotonic() - began:.0f} s", sep="\n")


if __name__ == "__main__":
    main()
