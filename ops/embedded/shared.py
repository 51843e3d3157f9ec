"""One stack that several processes of a run share, started by whichever needs it first.

The run's first process owns a folder (`own`) for as long as it lives; any process of the run calls `join`. The stack
runs in a host process of its own, since its first user may end before its last. The host waits for the lock that the
owner holds: the kernel frees it when the owner ends, however it ends, and then the host stops the stack.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO

from sorbus.ops.embedded.errors import StackError
from sorbus.ops.embedded.stack import Addresses, Stack

_OWNER, _HOST, _START = "owner.lock", "host.lock", "start.lock"
_ADDRESSES, _HOST_LOG = "addresses.json", "host.log"
_STACK, _MEMORY = "stack", Path("/dev/shm")  # noqa: S108 - a folder of our own in it

# A first start may have to fetch everything.
_START_SECONDS = 600.0
_STOP_SECONDS = 60.0
_ROOM = 4 << 30


@contextlib.contextmanager
def own() -> Iterator[Path]:
    """A new folder for a run's stack; on leaving, the stack (if anybody joined) is stopped and the folder removed."""
    folder = Path(tempfile.mkdtemp(prefix="sorbus-run-"))
    # PostgreSQL may run as another user, who must be able to enter.
    folder.chmod(0o711)
    try:
        with _held(folder / _OWNER):
            yield folder
    finally:
        with (folder / _HOST).open("ab") as host:
            end = time.monotonic() + _STOP_SECONDS
            while not _taken(host) and time.monotonic() < end:
                time.sleep(0.05)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(_MEMORY / folder.name, ignore_errors=True)


def join(folder: Path) -> Addresses:
    """The addresses of the run's stack, which is started if this is the first to ask. `folder` is what `own` gave."""
    addresses, log = folder / _ADDRESSES, folder / _HOST_LOG
    with _held(folder / _START):
        if not addresses.exists():
            with log.open("ab") as output:
                host = subprocess.Popen(
                    [sys.executable, "-m", "sorbus.ops.embedded.shared", str(folder)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            end = time.monotonic() + _START_SECONDS
            while not addresses.exists():
                if host.poll() is not None or time.monotonic() > end:
                    said = log.read_text(encoding="utf-8", errors="replace")[-3000:]
                    raise StackError(f"The run's stack did not start:\n{said}")
                time.sleep(0.05)
    return Addresses(**json.loads(addresses.read_text(encoding="utf-8")))


def host(folder: Path) -> None:
    """Run the stack until the owner of `folder` ends."""
    orphaned = threading.Event()

    def watch() -> None:
        # The file may be gone already, with the owner.
        with contextlib.suppress(FileNotFoundError), _held(folder / _OWNER):
            pass
        orphaned.set()

    with _held(folder / _HOST):
        if not (folder / _OWNER).exists():
            return
        threading.Thread(target=watch, daemon=True).start()
        _put_in_memory(folder)
        try:
            with Stack(folder / _STACK, fast=True) as stack:
                draft = folder / f"{_ADDRESSES}.draft"
                draft.write_text(json.dumps(asdict(stack.addresses)), encoding="utf-8")
                draft.rename(folder / _ADDRESSES)
                while not orphaned.wait(1.0) and stack.is_running():
                    pass
        finally:
            shutil.rmtree(_MEMORY / folder.name, ignore_errors=True)
        # With the owner alive, the folder is the owner's to remove; it looks for logs there when a server ended.
        if orphaned.is_set():
            shutil.rmtree(folder, ignore_errors=True)


def _put_in_memory(folder: Path) -> None:
    """Where there is room, keep in memory what Kafka and the registry write through to the disk for each topic, schema
    and commit: a run's data need not outlive the machine.
    """
    if not os.access(_MEMORY, os.W_OK) or shutil.disk_usage(_MEMORY).free < _ROOM:
        return
    stack = folder / _STACK
    stack.mkdir()
    for data in ("kafka", "registry"):
        (_MEMORY / folder.name / data).mkdir(parents=True)
        (stack / data).symlink_to(_MEMORY / folder.name / data)


@contextlib.contextmanager
def _held(file: Path) -> Iterator[None]:
    with file.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _taken(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    host(Path(sys.argv[1]))
