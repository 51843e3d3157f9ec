"""What `sorbus doctor` finds: one fact about one place, whether it is OK, and the fix if it isn't."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sorbus.errors import Finding

Level = Literal["ok", "warning", "problem"]

SKEW_WARNS, SKEW_FAILS = 5.0, 300.0
"""Seconds by which two clocks may differ: polls compare update times; logins and signatures are rejected beyond five
minutes."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`where`: "Kafka", "map", or a system of the map. `what` is the check's name, `found` its result in a sentence."""

    where: str
    what: str
    found: str
    level: Level = "ok"
    fix: str = ""


def of_finding(where: str, finding: Finding) -> Diagnosis:
    """A finding about a file that a person wrote."""
    return Diagnosis(where, f"{finding.file.name}:{finding.line}", finding.message, "problem", finding.fix)


def clock(where: str, theirs: float, before: float, after: float) -> Diagnosis:
    """Compares a server's clock with ours: `theirs` was read between `before` and `after`; seconds since 1970."""
    off = theirs - (before + after) / 2
    least = max(0.0, abs(off) - (after - before) / 2)
    if least < SKEW_WARNS:
        return Diagnosis(where, "clock", "it agrees with this machine's")
    way = "ahead of" if off > 0 else "behind"
    found = f"its clock is {_duration(least)} {way} this machine's"
    fix = "synchronize both with a time server (chrony, systemd-timesyncd); changes are ordered by time"
    return Diagnosis(where, "clock", found, "problem" if least >= SKEW_FAILS else "warning", fix)


def size(count: float) -> str:
    """Bytes in human-readable units: "3.2 GB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
