"""How the stack runs a Java server: options for a quick start on a small machine, and ahead-of-time caches.

`train` runs a server once and has the JVM write down the classes it loaded and linked (an AOT cache, JEP 483 and 514);
later starts map that file instead of doing the work again. Measured on 2 cores: Kafka 4.0 s -> 1.4 s, the registry
5.4 s -> 2.4 s. The JVM ignores a cache that doesn't fit its jars, so a stale one costs time, never correctness.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sorbus.ops.embedded.packages import Packages


@dataclass(frozen=True, slots=True)
class Program:
    """A Java program, but for what differs between two runs of it.

    `class_path` in the order of look-up, `options` for the JVM, `main` the class to run.
    """

    name: str
    class_path: tuple[Path, ...]
    options: tuple[str, ...]
    main: str

    def aot_cache(self, packages: Packages) -> Path:
        """Where this program's ahead-of-time cache lies, if it was trained with just these jars, options and Java."""
        parts = [str(packages.java), str(packages.java.stat().st_mtime_ns), *map(str, self.class_path), *self.options]
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
        return packages.cache / "aot" / f"{self.name}-{key}.aot"

    def command(
        self,
        packages: Packages,
        *,
        properties: Sequence[str] = (),
        arguments: Sequence[str] = (),
        train_to: Path | None = None,
    ) -> list[str]:
        """The command line. `properties` are further JVM options for this run; `train_to` has it write an AOT cache."""
        cache = self.aot_cache(packages)
        if train_to is not None:
            aot = [f"-XX:AOTCacheOutput={train_to}"]
        elif cache.exists():
            aot = [f"-XX:AOTCache={cache}", "-Xlog:aot*=off"]
        else:
            aot = []
        class_path = os.pathsep.join(map(str, self.class_path))
        fixed = [str(packages.java), *self.options, *aot, *properties]
        return [*fixed, "-cp", class_path, self.main, *arguments]


def grace(train_to: Path | None) -> float:
    """How long such a server may take to stop: little, unless it writes its cache then."""
    return 15.0 if train_to is None else 180.0


def quick_start(heap: str) -> tuple[str, ...]:
    """JVM options for a server on a small machine: one compiler tier, one collector thread, no perf-data file."""
    return (
        f"-Xmx{heap}",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
        "--enable-native-access=ALL-UNNAMED",
    )
