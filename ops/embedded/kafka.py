"""A real Apache Kafka: one node that is broker and controller at once (KRaft), its topics kept in a folder."""

from __future__ import annotations

import base64
import signal
import subprocess
import uuid
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from sorbus.ops.embedded.errors import StackError
from sorbus.ops.embedded.java import Program, grace, quick_start
from sorbus.ops.embedded.packages import Packages
from sorbus.ops.embedded.ports import LOOPBACK
from sorbus.ops.embedded.process import ServerProcess

_LOG4J = Path(__file__).with_name("log4j2.properties")

# Each meter of each topic has a timer of five seconds: late by this many microseconds, many share one waking up.
_SLACK = 2_000

# One node, so nothing can be replicated; few partitions for Kafka's own topics, so that it starts and stops quickly.
_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=CLIENT
listeners=CLIENT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=CLIENT://{host}:{port}
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.retention.hours=168
offsets.retention.minutes=86400
log.segment.bytes=134217728
log.cleaner.dedupe.buffer.size=33554432
log.cleaner.threads=1
auto.leader.rebalance.enable=false
num.network.threads=2
num.io.threads=4
"""


class Kafka:
    """The broker of a stack. `port` serves clients, `controller` is its own; both on loopback only."""

    def __init__(self, folder: Path, packages: Packages, *, port: int, controller: int, heap: str = "512m") -> None:
        self.address = f"{LOOPBACK}:{port}"
        self._packages = packages
        self._folder = folder
        self._data = folder / "kafka"
        self._ports = (port, controller)
        self._process = ServerProcess("kafka", folder, stop=signal.SIGTERM, death=signal.SIGKILL, slack=_SLACK)
        jars = tuple(sorted(packages.kafka.glob("*.jar")))
        self._program = Program(
            "kafka", jars, (*quick_start(heap), f"-Dlog4j2.configurationFile={_LOG4J}"), "kafka.Kafka"
        )

    def start(self, *, train_to: Path | None = None) -> None:
        """Format the folder if it is new, and start; `wait` tells when it answers."""
        temporary = self._folder / "tmp"
        temporary.mkdir(exist_ok=True)
        port, controller = self._ports
        settings = self._folder / "kafka.properties"
        written = _SETTINGS.format(host=LOOPBACK, port=port, controller=controller, data=self._data)
        settings.write_text(written, encoding="utf-8")
        if not (self._data / "meta.properties").exists():
            self._format(settings)
        command = self._program.command(
            self._packages,
            properties=[f"-Djava.io.tmpdir={temporary}"],
            arguments=[str(settings)],
            train_to=train_to,
        )
        self._process.start(command, grace=grace(train_to))

    def wait(self, deadline: float = 120.0) -> None:
        """Return when the broker answers a client, or raise StackError after `deadline` seconds."""
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0, "reconnect.backoff.max.ms": 100})

        def is_ready() -> bool:
            try:
                return bool(admin.list_topics(timeout=0.5).brokers)
            except KafkaException:
                return False

        event = f"it answered clients on {self.address}"
        self._process.wait_until(is_ready, deadline=deadline, event=event, port=self._ports[0])

    def stop(self) -> None:
        """Shut down in order; the topics stay in the folder."""
        self._process.stop()

    def is_running(self) -> bool:
        """Whether the broker is up."""
        return self._process.is_running()

    @property
    def program(self) -> Program:
        """What is run, for training."""
        return self._program

    def _format(self, settings: Path) -> None:
        """Have Kafka's own tool lay out a new folder; it also records which features this version switches on."""
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = Program(self._program.name, self._program.class_path, self._program.options, "kafka.tools.StorageTool")
        command = tool.command(self._packages, arguments=["format", "-t", f"s{cluster[1:]}", "-c", str(settings)])
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise StackError(f"Kafka could not format {self._data}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
