"""`python -m bench.shapes`: loads that the peers' table doesn't have, on Sorbus alone.

Wide rows, values of 100 kB, a kill in the middle, a backlog of five million events beside live changes, tables that
grow, and an HTTP application that takes 50 ms for an answer. Saved in bench/results as shapes-DATE.json.

examples:
  python -m bench.shapes                          all of them (about 15 minutes, 10 GB of disk)
  python -m bench.shapes --only wide --only large
  python -m bench.shapes --json

Exit codes: 0 all measured, 1 one failed, 2 wrong use, 3 the servers can't be reached.
"""

import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from bench import usage
from bench.processes import end_in_order
from bench.report import machine
from bench.servers import UnreachableError, running
from bench.shapes.measures import SHAPES

RESULTS = Path(__file__).parents[1] / "results"


def main() -> int:
    """Read the command line, measure, show and save."""
    parser = usage.parser("bench.shapes", __doc__)
    parser.add_argument("--only", choices=tuple(SHAPES), action="append", help="just this one; may be repeated")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--no-save", action="store_true", help="don't write to bench/results")
    options = parser.parse_args()
    end_in_order()
    began = datetime.now(UTC)
    found: list[tuple[str, str, float, str]] = []
    failures: list[str] = []
    sorbus = [str(Path(sys.executable).with_name("sorbus"))]
    try:
        with (
            tempfile.TemporaryDirectory(prefix="sorbus-bench-") as folder,
            running(Path(folder) / "servers", use_running=False) as servers,
        ):
            for name in options.only or SHAPES:
                print(f"{name} ...", file=sys.stderr, flush=True)
                servers.wipe(1)
                with servers.connect("src") as source:
                    source.execute("drop table customers")
                place = Path(folder) / name
                if name == "growth":
                    place.mkdir()
                try:
                    for measure, value, unit in SHAPES[name](servers, place, sorbus):
                        found.append((name, measure, value, unit))
                        print(f"  {measure}: {_number(value)} {unit}", file=sys.stderr, flush=True)
                except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                    failures.append(f"{name}: {error}")
                    print(failures[-1], file=sys.stderr)
    except UnreachableError as error:
        print(error, file=sys.stderr)
        return 3
    figures = [dict(zip(("shape", "measure", "value", "unit"), one, strict=True)) for one in found]
    whole = {
        "began": began.isoformat(timespec="seconds"),
        "machine": machine(),
        "figures": figures,
        "failures": failures,
    }
    if not options.no_save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"shapes-{began:%Y-%m-%d-%H%M}.json").write_text(json.dumps(whole, indent=1) + "\n")
    if options.json:
        print(json.dumps(whole, indent=1))
    else:
        lines = [f"| {shape} | {measure} | {_number(value)} | {unit} |" for shape, measure, value, unit in found]
        print("\n".join(["| shape | measure | | unit |", "| --- | --- | ---: | --- |", *lines]))
    return 1 if failures else 0


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
