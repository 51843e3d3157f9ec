"""`python -m bench.footprint`: what a small company's flows take of a machine, all run by `sorbus up`.

Its memory (PSS, so that shared pages count once), its CPU at rest over a minute, and how long it takes until every
process is ready; Kafka, the registry and the databases aren't counted. `--sorbus` measures another installation's.

examples:
  python -m bench.footprint --flows 30
  python -m bench.footprint --flows 100 --rest 120
  python -m bench.footprint --flows 30 --sorbus ../other/.venv/bin/sorbus

Exit codes: 0 measured, 1 not, 2 wrong use.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.company import Company, application, company
from bench.processes import PROC, Child, ChildFailedError, cpu_seconds, end_in_order, family, machine_cpu_seconds
from bench.watch import TooSlowError
from sorbus.ops.embedded.shared import join, own
from sorbus.ops.embedded.stack import Addresses

SORBUS = str(Path(sys.executable).with_name("sorbus"))
_SETTLE, _PATIENCE = 30.0, 600.0


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of all processes of `sorbus up`: seconds, MB (10^6 bytes), per cent of one core."""

    flows: int
    processes: int
    ready_s: float
    delivered_s: float
    start_cpu_s: float
    pss_mb: float
    private_mb: float
    rest_cpu: float
    wakeups: float
    threads: int
    others_cpu: float
    """What everything else on the machine took meanwhile, servers included."""
    by_kind: dict[str, float]
    """MB of one process, on average, by its command."""


def memory(pid: int) -> Counter[str]:
    """/proc/PID/smaps_rollup, in bytes."""
    found: Counter[str] = Counter()
    for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]:
        name, size, *_ = line.split()
        found[name.rstrip(":")] = 1024 * int(size)
    return found


def wakeups(pids: list[int]) -> int:
    """How often threads of these processes went to sleep so far."""
    total = 0
    for pid in pids:
        for task in (PROC / str(pid) / "task").iterdir():
            for line in (task / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt"):
                    total += int(line.split()[1])
    return total


def measure(sorbus: str, made: Company, rest: float) -> Footprint:
    """Runs `sorbus up` until everything is ready and has delivered, then looks at it at rest."""
    child = Child.start("apply", [sorbus, "apply", "--yes"], made.folder, made.environment)
    child.finish(_PATIENCE)
    began = time.monotonic()
    child = Child.start("up", [sorbus, "up", "--base-port", "0"], made.folder, made.environment)
    try:
        until("all are ready", child, lambda: not waiting(made.folder))
        ready = time.monotonic() - began
        for data_type in made.owners:
            made.change(data_type, "1", f"of {data_type}")
        until("all is delivered", child, lambda: not any(made.missing(name, "1", f"of {name}") for name in made.owners))
        delivered, used = time.monotonic() - began, cpu_seconds(child.pid)
        time.sleep(_SETTLE)
        pids = family(child.pid)
        before, machine, woken, at = cpu_seconds(child.pid), machine_cpu_seconds(), wakeups(pids), time.monotonic()
        time.sleep(rest)
        took, elapsed = cpu_seconds(child.pid) - before, time.monotonic() - at
        rested = wakeups(pids) - woken
        others = machine_cpu_seconds() - machine - took
        child.check()
        if sorted(family(child.pid)) != sorted(pids):
            raise ChildFailedError(f"processes ended at rest:\n{child.words()}")
        sizes = {pid: memory(pid) for pid in pids}
        kinds: dict[str, list[float]] = {}
        for pid in pids:
            words = (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode().split()
            kind = next((word for word in words if word in ("consume", "produce", "watch")), "up")
            kinds.setdefault(kind, []).append(sizes[pid]["Pss"] / 1e6)
        return Footprint(
            made.flows, len(pids), ready, delivered, used,
            sum(size["Pss"] for size in sizes.values()) / 1e6,
            sum(size["Private_Dirty"] for size in sizes.values()) / 1e6,
            100 * took / elapsed, rested / elapsed,
            sum(len(list((PROC / str(pid) / "task").iterdir())) for pid in pids),
            100 * others / elapsed,
            {kind: sum(found) / len(found) for kind, found in sorted(kinds.items())},
        )  # fmt: skip
    finally:
        child.stop(60)


def waiting(folder: Path) -> list[str]:
    """The processes that aren't ready, by their own word."""
    try:
        found = json.loads((folder / ".sorbus/run/processes.json").read_text())
    except (FileNotFoundError, ValueError):
        return ["sorbus up"]
    left = []
    for one in found:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{one['port']}/healthz/ready", timeout=5) as answer:
                answer.read()
        except (OSError, urllib.error.HTTPError):
            left.append(one["name"])
    return left


def until(what: str, child: Child, is_so: Callable[[], bool]) -> None:
    """Waits; TooSlowError."""
    end = time.monotonic() + _PATIENCE
    while not is_so():
        child.check()
        if time.monotonic() > end:
            raise TooSlowError(f"waited {_PATIENCE:.0f} s until {what}:\n{child.words()}")
        time.sleep(0.2)


@contextmanager
def servers() -> Iterator[Addresses]:
    """Those of SORBUS_TEST_STACK, or new ones."""
    if folder := os.environ.get("SORBUS_TEST_STACK"):
        yield join(Path(folder))
        return
    with own() as made:
        yield join(made)


def show(found: Footprint) -> str:
    """In sentences."""
    kinds = ", ".join(f"{kind} {size:.1f} MB" for kind, size in found.by_kind.items())
    return "\n".join(
        [
            f"{found.flows} flows, {found.processes} processes, {found.threads} threads",
            f"ready after {found.ready_s:.1f} s, first changes delivered after {found.delivered_s:.1f} s",
            f"CPU until then {found.start_cpu_s:.1f} s",
            f"memory {found.pss_mb:.0f} MB (PSS), of it {found.private_mb:.0f} MB private and written",
            f"  on average: {kinds}",
            f"at rest {found.rest_cpu:.1f}% of a core, {found.wakeups:.0f} wake-ups a second"
            f" (everything else took {found.others_cpu:.0f}%)",
        ]
    )


def main() -> int:
    """Read the command line, measure, show."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.footprint",
        description=(__doc__ or "").partition(": ")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--flows", type=int, default=30, metavar="N", help="how many flows (default 30)")
    parser.add_argument("--rest", type=float, default=60, metavar="SECONDS", help="how long at rest (default 60)")
    parser.add_argument("--sorbus", default=SORBUS, metavar="COMMAND", help="the `sorbus` to measure")
    parser.add_argument("--json", action="store_true", help="print JSON instead of sentences")
    options = parser.parse_args()
    end_in_order()
    try:
        with (
            servers() as addresses,
            tempfile.TemporaryDirectory(prefix="sorbus-bench-") as folder,
            application(Path(folder)) as base_url,
            company(options.flows, addresses, Path(folder), base_url) as made,
        ):
            found = measure(options.sorbus, made, options.rest)
    except (ChildFailedError, TooSlowError, OSError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(asdict(found), indent=1))
        return 0
    print(show(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
