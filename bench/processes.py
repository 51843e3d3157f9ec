"""Processes under measurement: start one, read what it and its children cost, end it. Linux only, from /proc."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from `state` on; the name before may hold spaces."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def family(root: int) -> list[int]:
    """`root` and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue  # ended while we looked

    def below(pid: int) -> Iterator[int]:
        yield pid
        for child in children.get(pid, ()):
            yield from below(child)

    return list(below(root))


def cpu_seconds(*roots: int) -> float:
    """CPU used so far by `roots`, their living descendants and the dead ones that these have waited for."""
    ticks = 0
    for pid in {pid for root in roots for pid in family(root)}:
        try:
            ticks += sum(map(int, _stat(pid)[11:15]))  # utime, stime, cutime, cstime
        except (FileNotFoundError, ProcessLookupError):
            continue
    return ticks / TICKS


def machine_cpu_seconds() -> float:
    """CPU used so far by everything on this machine: all but idle and waiting for disks."""
    user, nice, system, _idle, _iowait, irq, softirq = map(int, (PROC / "stat").read_text().split(maxsplit=8)[1:8])
    return (user + nice + system + irq + softirq) / TICKS


def own_peak_bytes(pid: int) -> int:
    """The highest resident memory of one process (VmHWM); 0 if it has ended."""
    try:
        status = (PROC / str(pid) / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def peak_bytes(root: int) -> int:
    """The highest resident memory of `root` and its living descendants, summed."""
    return sum(map(own_peak_bytes, family(root)))


def resident_bytes(*roots: int) -> int:
    """What `roots` and their living descendants have in memory now."""
    pages = 0
    for pid in {pid for root in roots for pid in family(root)}:
        try:
            pages += int((PROC / str(pid) / "statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return pages * os.sysconf("SC_PAGE_SIZE")


def listener(port: int) -> int | None:
    """The process that listens on a TCP port, oldest first (a forking server's first process)."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        for line in (PROC / "net" / table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:  # 0A: listening
                sockets.add(f"socket:[{fields[9]}]")
    for pid in sorted(int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()):
        try:
            if any(str(fd.readlink()) in sockets for fd in (PROC / str(pid) / "fd").iterdir()):
                return pid
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return None


def end_in_order() -> None:
    """Have SIGTERM unwind this process as Ctrl-C does, so that no measured process and no server outlives it."""

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)


class ChildFailedError(RuntimeError):
    """A measured process ended by itself, or with an error; the message holds the end of its log."""


@dataclass(slots=True)
class Child:
    """A started process whose output goes to a log file."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(
        cls, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> "Child":
        """Start `command` in `folder`, with `environment` added to ours; its log is `folder/NAME.log`."""
        log = folder / f"{name}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                command, cwd=folder, env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        return self.process.pid

    def words(self, size: int = 2000) -> str:
        """The end of its log."""
        return self.log.read_bytes()[-size:].decode(errors="replace")

    def check(self) -> None:
        """Raise if it has ended: a measurement waits for it in vain."""
        if self.process.poll() is not None:
            raise ChildFailedError(f"{self.name} ended with code {self.process.returncode}:\n{self.words()}")

    def finish(self, seconds: float) -> str:
        """Wait for its own end; its log."""
        if self.process.wait(seconds) != 0:
            self.check()
        return self.words()

    def stop(self, seconds: float = 30) -> None:
        """Ask it to end, insist after `seconds`."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
