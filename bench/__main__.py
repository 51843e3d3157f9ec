"""`python -m bench`: measure all contenders on this machine, one at a time, in interleaved rounds.

examples:
  python -m bench                     all contenders, three rounds (about 22 minutes), table on the screen
  python -m bench --quick             one short round each, to see that everything runs
  python -m bench --no-peers          Sorbus alone, after a change to it
  python -m bench --only Debezium     one contender
  python -m bench --only partitions   Sorbus with one, two, four and eight partitions
  python -m bench --only rules        what ten mapping rules cost: in one process, then Sorbus with and without them
  python -m bench --json              the result as JSON on the screen, for another program
  python -m bench --use-running       on servers that already listen on the ports (they are wiped!)
  python -m bench.memory              the five-million-row initial snapshot, with its memory

Results are saved in bench/results as JSON and as a Markdown table. Needs Linux, Python's `embedded` extra, and for the
peers Java 17 and Maven; downloads go to $SORBUS_CACHE/bench, by default ~/.cache/sorbus/bench.
Exit codes: 0 all measured, 1 a contender failed, 2 wrong use, 3 the servers can't be reached.
"""

import argparse
import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench import ceiling, chain, raw, rules, usage
from bench.debezium import Debezium, NotHereError
from bench.figures import Course, Curve, Figure, Notebook
from bench.ours import RULED_MAP, Sorbus
from bench.processes import end_in_order
from bench.report import CEILING, OURS, PARTED, PEER, RAW, RULED, Report, machine
from bench.servers import Servers, UnreachableError, running

HOUSE = Path(__file__).resolve().parent.parent
RESULTS = HOUSE / "bench" / "results"
QUICK = Course(rounds=1, updates=1, seconds=3.0)

Contender = Callable[[Servers, Path, Course, Notebook], None]


def contenders(peers: Path | None) -> dict[str, Contender]:
    """Name -> one round of it; the peers only if their folder is given."""
    found: dict[str, Contender] = {}
    if peers is not None:
        debezium, scripts = peers / "debezium", peers / "ceiling"
        found[PEER] = lambda *rest: chain.run(Debezium(debezium), *rest)
        found[CEILING] = lambda *rest: ceiling.run(scripts, *rest)
    found[RAW] = raw.run
    found[OURS] = lambda *rest: chain.run(Sorbus(), *rest)
    for number, name in PARTED.items():
        found[name] = lambda *rest, number=number: chain.run(Sorbus(partitions=number), *rest)
    found[RULED] = lambda *rest: chain.run(Sorbus(RULED_MAP), *rest)
    return found


def measure(chosen: dict[str, Contender], servers: Servers, folder: Path, course: Course) -> Report:
    """All rounds, contenders taking turns within each; a contender that fails is left out of the later rounds."""
    began = datetime.now(UTC)
    figures: list[Figure] = []
    curves: list[Curve] = []
    words: list[str] = []
    failures: dict[str, str] = {}
    for number in range(course.rounds):
        for name, run in chosen.items():
            if name in failures:
                continue
            book = Notebook(name, number)
            place = folder / f"{name.lower()}-{number}"
            place.mkdir()
            print(f"round {number + 1} of {course.rounds}: {name} ...", file=sys.stderr, flush=True)
            try:
                run(servers, place, course, book)
            except (NotHereError, OSError, RuntimeError, subprocess.SubprocessError) as error:
                failures[name] = f"{name}, round {number + 1}: {error}"
                print(failures[name], file=sys.stderr)
            figures += book.figures
            curves += book.curves
            words += (f"{name}, round {number + 1}, {word}" for word in book.words)
    facts = machine() | servers.facts()
    moment = began.strftime("%Y-%m-%d %H:%M UTC")
    return Report(moment, _commit(), dataclasses.asdict(course), facts, figures, words, list(failures.values()), curves)


def _commit() -> str:
    """What was measured: the checkout's commit, marked if it holds changes of its own."""
    asked = ["git", "-C", str(HOUSE), "describe", "--always", "--dirty", "--exclude=*"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"


def main() -> int:
    """Read the command line, measure, show and save."""
    parser = usage.parser("bench", __doc__)
    parser.add_argument("--quick", action="store_true", help="one short round each")
    parser.add_argument("--rounds", type=int, metavar="N", help="how many rounds (default 3)")
    parser.add_argument(
        "--peers", action=argparse.BooleanOptionalAction, default=True, help="measure them too (default)"
    )
    parser.add_argument(
        "--peers-folder", type=Path, default=HOUSE.parent / "shared" / "peers", metavar="FOLDER",
        help="where debezium/ and ceiling/ are (default: ../shared/peers beside the checkout)",
    )  # fmt: skip
    parser.add_argument(
        "--only",
        choices=(PEER, CEILING, RAW, OURS, "rules", "partitions"),
        action="append",
        help="just this one; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument(
        "--use-running", action="store_true", help="use servers that already run on the ports, wiping them"
    )
    parser.add_argument("--no-save", action="store_true", help="don't write to bench/results")
    options = parser.parse_args()
    end_in_order()
    course = QUICK if options.quick else Course()
    if options.rounds is not None:
        if options.rounds < 1:
            parser.error("--rounds must be 1 or more")
        course = dataclasses.replace(course, rounds=options.rounds)
    peers = options.peers_folder if options.peers else None
    if peers is not None and not peers.is_dir():
        parser.error(f"no folder {peers}: name the peers' with --peers-folder, or measure without them, --no-peers")
    asked = set(options.only or (PEER, CEILING, RAW, OURS, PARTED[4]))  # the peers' topic has four partitions
    only = asked | ({OURS, RULED} if "rules" in asked else set())
    only |= {OURS, *PARTED.values()} if "partitions" in asked else set()
    chosen = {name: run for name, run in contenders(peers).items() if name in only}
    if RULED in chosen:
        print(
            rules.as_markdown(rules.measure()), end="\n\n", file=sys.stderr if options.json else sys.stdout, flush=True
        )
    try:
        with (
            tempfile.TemporaryDirectory(prefix="sorbus-bench-") as folder,
            running(Path(folder) / "servers", use_running=options.use_running) as servers,
        ):
            report = measure(chosen, servers, Path(folder), course)
    except UnreachableError as error:
        print(error, file=sys.stderr)
        return 3
    if not options.no_save:
        RESULTS.mkdir(exist_ok=True)
        stem = RESULTS / report.began.removesuffix(" UTC").replace(" ", "-").replace(":", "")
        stem.with_suffix(".json").write_text(report.as_json())
        stem.with_suffix(".md").write_text(report.as_markdown())
    print(report.as_json() if options.json else report.as_markdown())
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
