"""Stands between the stack and one server, so that the server never outlives the stack.

Run as a program of its own (`python -I -S guard.py SPEC`), with the standard library only, so that it starts in
milliseconds. The stack holds the other end of its standard input and never writes to it: end of file means that the
stack is done or dead, however it died, and the server is shut down in order. If the guard itself is killed, the kernel
kills the server (PR_SET_PDEATHSIG, Linux). The guard is single-threaded on purpose: that signal is tied to the thread
that started the child, so a worker thread of the stack could not be the one to start it.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_TIMERSLACK = 29


def started_at(pid: int) -> str | None:
    """When a process began, as a token that tells it from a later process with the same pid; None if there is none."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The command's name stands in parentheses and may hold anything, so count the fields after the last one.
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            return None
        return None if fields[0] == "Z" else f"{boot}:{fields[19]}"
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip() or None


def _bind_to_parent(death: int, slack: int) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    guard = os.getpid()

    def bind() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, death)
        if slack:
            libc.prctl(_PR_SET_TIMERSLACK, slack * 1000)
        if os.getppid() != guard:
            os._exit(1)

    return bind


def main(spec: dict[str, str | int | list[str]]) -> int:
    """Run one server until it ends or standard input does.

    `spec`: command, log (a file), record (a file that names guard and server for `process.clear_stale`), folder (the
    working folder), stop and death (signal numbers: the orderly way to stop, and the kernel's way), grace (seconds),
    slack (microseconds that its timers may be late, 0: as the kernel has it).
    """
    command, record = spec["command"], Path(str(spec["record"]))
    assert isinstance(command, list)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)

    with Path(str(spec["log"])).open("ab") as log:
        server = subprocess.Popen(
            command,
            cwd=str(spec["folder"]),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=_bind_to_parent(int(str(spec["death"])), int(str(spec["slack"]))),
        )
    pids = [os.getpid(), server.pid]
    record.write_text(json.dumps([{"pid": pid, "started_at": started_at(pid)} for pid in pids]), encoding="utf-8")

    while server.poll() is None:
        ready, _, _ = select.select([0, wake_read], [], [])
        asked = wake_read in ready and not set(os.read(wake_read, 64)) <= {signal.SIGCHLD}
        if asked or (0 in ready and not os.read(0, 64)):
            break
    if server.poll() is None:
        server.send_signal(int(str(spec["stop"])))
        try:
            server.wait(float(str(spec["grace"])))
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
    with contextlib.suppress(FileNotFoundError):
        record.unlink()
    return server.returncode


if __name__ == "__main__":
    sys.exit(abs(main(json.loads(sys.argv[1]))))
