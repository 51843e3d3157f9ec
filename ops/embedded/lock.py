"""Which artifacts the stack is made of: their coordinates, sizes and hashes, in packages.lock.

What is fetched is checked against this file, so a mirror that serves something else is found out, and no resolving is
needed at run time. `sorbus stack lock` writes it anew (part of `make lock`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jgo.maven import Artifact, MavenContext

LOCK_FILE = Path(__file__).with_name("packages.lock")

KAFKA = "4.3.1"
REGISTRY = "3.3.3"

_KAFKA_ROOTS = (f"org.apache.kafka:kafka_2.13:{KAFKA}", f"org.apache.kafka:kafka-tools:{KAFKA}")


@dataclass(frozen=True, slots=True)
class Locked:
    """One artifact: which server it belongs to, what it is called, and what its bytes must be."""

    server: str
    group: str
    name: str
    version: str
    classifier: str
    packaging: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        """The file's name in the cache folder."""
        return f"{self.name}-{self.version}{f'-{self.classifier}' if self.classifier else ''}.{self.packaging}"

    def artifact(self, context: MavenContext) -> Artifact:
        """The same artifact as jgo knows it."""
        return context.project(self.group, self.name).at_version(self.version).artifact(self.classifier, self.packaging)

    def __str__(self) -> str:
        coordinate = ":".join((self.group, self.name, self.version, self.classifier, self.packaging))
        return f"{self.server} {coordinate} {self.size} {self.sha256}"


def read(file: Path = LOCK_FILE) -> list[Locked]:
    """The locked artifacts of all servers."""
    found = []
    for line in file.read_text(encoding="utf-8").splitlines():
        server, coordinate, size, sha256 = line.split()
        group, name, version, classifier, packaging = coordinate.split(":")
        found.append(Locked(server, group, name, version, classifier, packaging, int(size), sha256))
    return found


def digest(artifacts: list[Locked]) -> str:
    """A short name for exactly these artifacts, for the folder that holds them."""
    return hashlib.sha256("\n".join(map(str, artifacts)).encode()).hexdigest()[:12]


def resolve() -> list[Locked]:
    """Ask the package index what the pinned versions need today, and hash every file."""
    from jgo.maven import MavenContext

    context = MavenContext()
    inputs, transitive = context.resolver.resolve([context.create_dependency(root) for root in _KAFKA_ROOTS])
    kafka = [dependency.artifact for dependency in [*inputs, *transitive]]
    # Kafka logs through SLF4J and brings no binding of its own, so without this one its log stays empty.
    log4j = next(artifact for artifact in kafka if artifact.artifactId == "log4j-core").version
    kafka.append(context.project("org.apache.logging.log4j", "log4j-slf4j-impl").at_version(log4j).artifact("", "jar"))
    registry = context.project("io.apicurio", "apicurio-registry-app").at_version(REGISTRY).artifact("all", "tar.gz")
    locked = [_lock("kafka", artifact) for artifact in kafka]
    return [*sorted(set(locked), key=str), _lock("registry", registry)]


def _lock(server: str, artifact: Artifact) -> Locked:
    content = artifact.resolve().read_bytes()
    return Locked(
        server,
        artifact.groupId,
        artifact.artifactId,
        artifact.version,
        artifact.classifier,
        artifact.packaging,
        len(content),
        hashlib.sha256(content).hexdigest(),
    )


def write(artifacts: list[Locked], file: Path = LOCK_FILE) -> None:
    """Lock exactly these artifacts."""
    file.write_text("".join(f"{artifact}\n" for artifact in artifacts), encoding="utf-8")
