"""Sorbus itself, as its users run it: `apply`, then one process each for the producer and the flow's consumer.

Everything is on: headers, registry, transactions, version guard, metrics. The map is bench/map/map.yaml; the same with
ten rules is bench/ruled/map.yaml.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from bench.processes import Child
from bench.servers import Servers

MAP = Path(__file__).parent / "map" / "map.yaml"
RULED_MAP = Path(__file__).parent / "ruled" / "map.yaml"
SYSTEM = "src"
FLOW = "bench_customer-to-dst"


class Sorbus:
    """Our chain, by its plain commands."""

    name = "Sorbus"
    topic = "bench_customer"
    table = "sorbus_customers"

    def __init__(self, map_path: Path = MAP, partitions: int | None = None, **environment: str) -> None:
        """`partitions`: of the topic; without it what a map that says nothing gets."""
        self._map, self._partitions, self._more = map_path, partitions, environment
        self._folder = Path()
        self._environment: dict[str, str] = {}
        self._running: dict[str, Child] = {}

    def prepare(self, servers: Servers, folder: Path) -> None:
        self._folder = folder
        if self._partitions is not None:
            self._map = _with_partitions(self._map, folder / "map", self._partitions)
        self._environment = {
            "SORBUS_KAFKA": servers.kafka,
            "SORBUS_REGISTRY": servers.registry,
            "SORBUS_DATABASE": servers.dsn("sorbus"),
            "BENCH_SRC": servers.dsn("src"),
            "BENCH_DST": servers.dsn("dst"),
            **self._more,
        }
        try:
            Child.start("apply", self._command("apply", "--yes"), folder, self._environment).finish(120)
        except subprocess.TimeoutExpired as slow:
            raise TimeoutError("sorbus apply takes more than two minutes") from slow

    def start(self) -> None:
        self._run("produce", SYSTEM)
        self._run("consume", FLOW)

    def pause_sink(self) -> None:
        self._running.pop("consume").stop()

    def resume_sink(self) -> None:
        self._run("consume", FLOW)

    def processes(self) -> dict[str, Child]:
        return dict(self._running)

    def stop(self) -> None:
        while self._running:
            self._running.popitem()[1].stop()

    def _run(self, verb: str, argument: str) -> None:
        self._running[verb] = Child.start(verb, self._command(verb, argument), self._folder, self._environment)

    def _command(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).parent / "sorbus"), "--map", str(self._map), *arguments]


def _with_partitions(written: Path, folder: Path, partitions: int) -> Path:
    """A copy of a map whose topic has so many."""
    shutil.copytree(written.parent, folder)
    owner = f"    system_of_record: {SYSTEM}\n"
    (folder / written.name).write_text(written.read_text().replace(owner, f"{owner}    partitions: {partitions}\n"))
    return folder / written.name
