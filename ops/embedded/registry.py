"""A real schema registry: Apicurio, which speaks the Confluent API, its schemas and ids kept in a file."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx

from sorbus.ops.embedded.java import Program, grace, quick_start
from sorbus.ops.embedded.packages import Packages
from sorbus.ops.embedded.ports import LOOPBACK
from sorbus.ops.embedded.process import ServerProcess


class RegistryServer:
    """The schema registry of a stack, on one loopback port."""

    def __init__(self, folder: Path, packages: Packages, *, port: int, heap: str = "256m") -> None:
        self.address = f"http://{LOOPBACK}:{port}/apis/ccompat/v7"
        self._folder = folder
        self._packages = packages
        self._port = port
        self._process = ServerProcess("registry", folder, stop=signal.SIGTERM, death=signal.SIGKILL)
        root = packages.registry
        # The jars on one flat class path instead of Quarkus's own loader, whose classes an AOT cache can't hold. The
        # transformed classes must come before the jars they were made from.
        jars = [root / "quarkus" / f"{name}-bytecode.jar" for name in ("transformed", "generated")]
        jars += [jar for part in ("app", "lib/boot", "lib/main") for jar in sorted((root / part).glob("*.jar"))]
        options = (
            *quick_start(heap),
            "--add-opens=java.base/java.lang=ALL-UNNAMED",
            "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
        )
        self._program = Program("registry", tuple(jars), options, "io.quarkus.runner.GeneratedMain")

    def start(self, *, train_to: Path | None = None) -> None:
        """Start; `wait` tells when it answers."""
        temporary = self._folder / "tmp"
        temporary.mkdir(exist_ok=True)
        settings = {
            "java.io.tmpdir": temporary,
            "quarkus.http.host": LOOPBACK,
            "quarkus.http.port": self._port,
            "quarkus.http.access-log.enabled": "false",
            # By default the management interface listens on every address of the machine, at port 9000.
            "quarkus.management.host": LOOPBACK,
            "quarkus.management.port": 0,
            "apicurio.storage.kind": "sql",
            "apicurio.storage.sql.kind": "h2",
            "apicurio.storage.snapshot.location": temporary,
            # Written through at once: an id that was handed out is in messages from then on.
            "apicurio.datasource.url": f"jdbc:h2:file:{self._folder / 'registry' / 'schemas'};WRITE_DELAY=0",
            "apicurio.datasource.jdbc.initial-size": 2,
            "apicurio.datasource.jdbc.min-size": 2,
            "apicurio.datasource.jdbc.max-size": 20,
            "apicurio.ccompat.max-subjects": 100_000,
            # The Confluent API lets a subject be deleted; Apicurio switches that off unless asked.
            "apicurio.rest.deletion.artifact.enabled": "true",
            "apicurio.rest.deletion.artifact-version.enabled": "true",
            "apicurio.rest.deletion.group.enabled": "true",
        }
        properties = [f"-D{name}={value}" for name, value in settings.items()]
        command = self._program.command(self._packages, properties=properties, train_to=train_to)
        self._process.start(command, grace=grace(train_to))

    def wait(self, deadline: float = 180.0) -> None:
        """Return when the registry lists its subjects, or raise StackError after `deadline` seconds."""
        with httpx.Client(trust_env=False, timeout=5.0) as client:

            def is_ready() -> bool:
                try:
                    return client.get(f"{self.address}/subjects").is_success
                except httpx.TransportError:
                    return False

            event = f"it answered on {self.address}"
            self._process.wait_until(is_ready, deadline=deadline, event=event, port=self._port)

    def stop(self) -> None:
        """Shut down in order; schemas and ids stay in the folder."""
        self._process.stop()

    def is_running(self) -> bool:
        """Whether the registry is up."""
        return self._process.is_running()

    @property
    def program(self) -> Program:
        """What is run, for training."""
        return self._program
