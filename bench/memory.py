"""`python -m bench.memory`: five million rows copied through Sorbus for the first time, and the memory it took.

The producer and the consumer must each stay below 200 MB at their highest (VmHWM, children included), and the target
must equal the source, by SQL. Saved in bench/results as memory-DATE.json.

examples:
  python -m bench.memory                    five million rows (some minutes, 5 GB of disk)
  python -m bench.memory --rows 500000      a quick look
  python -m bench.memory --peer             Debezium first, on the same servers, for the ratio (ten minutes more)
  python -m bench.memory --use-running      on servers that already listen on the ports (they are wiped!)

Exit codes: 0 within the limit and equal, 1 not, 2 wrong use, 3 the servers can't be reached.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.chain import Chain
from bench.debezium import Debezium, NotHereError
from bench.ours import Sorbus
from bench.processes import ChildFailedError, end_in_order, peak_bytes
from bench.report import machine
from bench.servers import Servers, UnreachableError, running
from bench.watch import TooSlowError, checksum, until_visible

ROWS = 5_000_000
LIMIT_MB = 200
RESULTS = Path(__file__).parent / "results"
PEERS = Path(__file__).parents[2] / "shared" / "peers"


@dataclass(frozen=True, slots=True)
class FirstCopy:
    """What an initial snapshot took: seconds, rows a second, each process's peak in megabytes (10^6)."""

    rows: int
    seconds: float
    rate: float
    peaks_mb: dict[str, float]
    equal: bool

    @property
    def faults(self) -> list[str]:
        """What isn't as it must be, a sentence each."""
        fat = [
            f"{name} took {peak:.0f} MB at its highest; {LIMIT_MB} is the limit"
            for name, peak in self.peaks_mb.items()
            if peak >= LIMIT_MB
        ]
        return fat + ([] if self.equal else ["the target's rows aren't the source's"])


def initial_snapshot(servers: Servers, folder: Path, rows: int, chain: Chain) -> FirstCopy:
    """Wipe the servers, copy `rows` customers through a chain, compare."""
    print(f"filling the source with {rows:,} rows ...", file=sys.stderr, flush=True)
    servers.wipe(rows)
    chain.prepare(servers, folder)
    peaks: dict[str, float] = {}
    looked = 0.0

    def look() -> None:
        nonlocal looked
        for name, child in chain.processes().items():
            child.check()
            if time.monotonic() - looked > 1:
                peaks[name] = max(peaks.get(name, 0.0), peak_bytes(child.pid) / 1e6)
        if time.monotonic() - looked > 1:
            looked = time.monotonic()

    print(f"copying by {chain.name} ...", file=sys.stderr, flush=True)
    try:
        with servers.connect("src") as source, servers.connect("dst") as target:
            began = time.monotonic()
            chain.start()
            seen = until_visible(target, chain.table, "", rows, rows / 2_000 + 120, look, pause=0.25)
            looked = 0.0
            look()
            equal = checksum(source, "customers") == checksum(target, chain.table)
    finally:
        chain.stop()
    return FirstCopy(rows, seen.last - began, seen.rate, peaks, equal)


def main() -> int:
    """Read the command line, copy, show and save."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.memory",
        description=(__doc__ or "").partition(": ")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=ROWS, metavar="N", help=f"how many rows (default {ROWS:,})")
    parser.add_argument(
        "--use-running", action="store_true", help="use servers that already run on the ports, wiping them"
    )
    parser.add_argument("--peer", action="store_true", help="copy by Debezium, too, whose memory has no limit")
    parser.add_argument(
        "--peers-folder", type=Path, default=PEERS, metavar="FOLDER",
        help="where debezium/ is (default: ../shared/peers beside the checkout)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON instead of sentences")
    parser.add_argument("--no-save", action="store_true", help="don't write to bench/results")
    options = parser.parse_args()
    end_in_order()
    if options.rows < 1:
        parser.error("--rows must be 1 or more")
    began = datetime.now(UTC)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="sorbus-bench-") as folder,
            running(Path(folder) / "servers", use_running=options.use_running) as servers,
        ):
            peer = None
            if options.peer:
                peer = initial_snapshot(
                    servers, Path(folder), options.rows, Debezium(options.peers_folder / "debezium", "4g")
                )
            copied = initial_snapshot(servers, Path(folder), options.rows, Sorbus())
            facts = machine() | servers.facts()
    except (UnreachableError, NotHereError) as error:
        print(error, file=sys.stderr)
        return 3
    except (ChildFailedError, TooSlowError, TimeoutError, OSError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1
    found = {"began": f"{began:%Y-%m-%d %H:%M UTC}", **asdict(copied), "peer": peer and asdict(peer), "facts": facts}
    content = json.dumps(found, indent=1) + "\n"
    if not options.no_save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"memory-{began:%Y-%m-%d-%H%M}.json").write_text(content)
    if options.json:
        print(content, end="")
    else:
        peaks = ", ".join(f"{name} {peak:.0f} MB" for name, peak in copied.peaks_mb.items())
        print(f"{copied.rows:,} rows in {copied.seconds:.0f} s ({copied.rate:,.0f} rows/s); at the highest: {peaks}")
        if peer is not None:
            ratio = peer.seconds / copied.seconds
            print(f"Debezium took {peer.seconds:.0f} s ({peer.rate:,.0f} rows/s), {ratio:.1f} times as long")
    for fault in copied.faults:
        print(fault, file=sys.stderr)
    return 1 if copied.faults else 0


if __name__ == "__main__":
    sys.exit(main())
