"""This machine: Python, disk, memory, open files."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import sorbus
from sorbus import native
from sorbus.diagnosis import Diagnosis, size

WHERE = "this machine"
_DISK_WARNS, _DISK_FAILS = 2_000_000_000, 200_000_000
_MEMORY_WARNS = 300_000_000
_FILES = 1024


def examine_machine(folder: Path) -> Iterator[Diagnosis]:
    """`folder`: where `sorbus up` writes its files."""
    yield Diagnosis(WHERE, "version", f"Sorbus {sorbus.__version__}, Python {platform.python_version()}")
    yield _native()
    for place in dict.fromkeys((_existing(folder), Path(tempfile.gettempdir()))):
        yield _disk(place, shutil.disk_usage(place).free)
    if (free := _free_memory()) is not None:
        fix = "a process needs 20 to 200 MB: stop something, or run fewer flows here (`sorbus up --only`)"
        low = free < _MEMORY_WARNS
        yield Diagnosis(WHERE, "memory", f"{size(free)} available", "warning" if low else "ok", fix if low else "")
    if sys.platform != "win32":
        import resource

        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        few = soft != resource.RLIM_INFINITY and soft < _FILES
        fix = f"`ulimit -n {_FILES}` or more, before `sorbus up`"
        yield Diagnosis(WHERE, "open files", f"{soft} allowed", "warning" if few else "ok", fix if few else "")


def _native() -> Diagnosis:
    """What takes rows apart: with C a row takes about half of the processor's time."""
    if not native.absence:
        return Diagnosis(WHERE, "rows", "converted in C")
    fix = "install gcc (or another C compiler) and Python's headers, then install Sorbus again"
    is_meant = bool(os.environ.get("SORBUS_NO_EXTENSION"))
    found = f"converted in Python, slower: the C module is {native.absence}"
    return Diagnosis(WHERE, "rows", found, "ok", "" if is_meant else fix)


def _existing(folder: Path) -> Path:
    place = folder.absolute()
    while not place.is_dir():
        place = place.parent
    return place


def _disk(place: Path, free: int) -> Diagnosis:
    found = f"{size(free)} free in {place}"
    if free >= _DISK_WARNS:
        return Diagnosis(WHERE, "disk", found)
    level = "problem" if free < _DISK_FAILS else "warning"
    return Diagnosis(WHERE, "disk", found, level, "free some space there")  # type: ignore[arg-type]


def _free_memory() -> int | None:
    """Bytes that processes can still get, where the system says so (Linux)."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
