"""`python -m bench.short`: whether Sorbus has become slower, in half a minute, on free ports; CI runs it.

One round each of Sorbus and of PostgreSQL's raw limits. What is compared are ratios of the run, which a busy or slow
machine changes little, with those that are kept in bench/newest/short.json; where one is worse, a second run decides.

examples:
  python -m bench.short            compare; exit code 1 where a ratio is worse than kept by more than its margin
  python -m bench.short --keep     keep this run's ratios

Exit codes: 0 as fast as kept, 1 slower, 2 wrong use, 3 the servers can't be started.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bench import chain, raw, usage
from bench.figures import OWN, Course, Notebook, medians
from bench.ours import Sorbus
from bench.processes import end_in_order
from bench.report import OURS, RAW
from bench.servers import UnreachableError, running
from sorbus.ops.embedded.ports import Ports

COURSE = Course(rows=100_000, rounds=1, updates=1, rates=(), sizes=(), hot=None)
KEPT = Path(__file__).parent / "newest" / "short.json"
MARGIN = 1.5
"""How many times worse than kept a ratio may be: between two runs on a busy machine it moves by a third."""


def ratios(medians_of: Mapping[str, Mapping[str, tuple[float, str]]]) -> dict[str, float]:
    """What is compared, each the worse the higher it is."""

    def value(measure: str, contender: str = OURS) -> float:
        return medians_of[measure][contender][0]

    found = {
        f"{stage}: rows/s of raw limits to ours": value(stage, RAW) / value(stage) for stage in ("capture", "sink")
    }
    for stage in ("capture", "sink", "end to end"):
        own, server = value(f"cpu {stage}, {OWN}"), value(f"cpu {stage}, postgresql")
        found[f"{stage}: our own CPU to PostgreSQL's"] = own / server
    return found


def measured() -> dict[str, float]:
    """One run. OSError, RuntimeError."""
    with (
        tempfile.TemporaryDirectory(prefix="sorbus-bench-") as folder,
        running(Path(folder) / "servers", use_running=False, ports=Ports.free()) as servers,
    ):
        figures = []
        for name, run in ((RAW, raw.run), (OURS, lambda *rest: chain.run(Sorbus(), *rest))):
            place, book = Path(folder) / name.replace(" ", "-"), Notebook(name, 0)
            place.mkdir()
            run(servers, place, COURSE, book)
            figures += book.figures
    return ratios(medians(figures))


def _slower(found: Mapping[str, float], kept: Mapping[str, float]) -> list[str]:
    return [name for name, ratio in found.items() if ratio > MARGIN * kept[name]]


def main() -> int:
    """Measure, compare, show."""
    parser = usage.parser("bench.short", __doc__)
    parser.add_argument("--keep", action="store_true", help="keep this run's ratios instead of comparing them")
    keep = parser.parse_args().keep
    end_in_order()
    try:
        found = measured()
        if keep:
            KEPT.write_text(json.dumps({name: round(ratio, 3) for name, ratio in found.items()}, indent=1) + "\n")
        kept = json.loads(KEPT.read_text())
        if _slower(found, kept):  # once more: something else may have had the machine for a moment
            again = measured()
            found = {name: min(ratio, again[name]) for name, ratio in found.items()}
    except UnreachableError as error:
        print(error, file=sys.stderr)
        return 3
    slower = _slower(found, kept)
    for name, ratio in found.items():
        print(f"{name}: {ratio:.2f} (kept {kept[name]:.2f}){'  SLOWER' if name in slower else ''}")
    if slower:
        print(
            f"more than {MARGIN} times as slow as kept; find out why, or: python -m bench.short --keep", file=sys.stderr
        )
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
