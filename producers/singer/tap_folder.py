"""A tap's files while it runs: settings with secrets, catalog, state. Removed afterwards, even after a kill."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import time
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO, Self

_OWNER = "owner"
_LONG_UNUSED = 7 * 86400.0


def cache_folder() -> Path:
    """SORBUS_CACHE, or `sorbus` in the user's cache folder."""
    if named := os.environ.get("SORBUS_CACHE"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sorbus"


class TapFolder:
    """A folder that only its user can read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._owner: IO[str] | None = None

    @classmethod
    def of(cls, system: str, purpose: str) -> Self:
        """The only folder of this system and purpose: what an earlier process left there is ended and removed.

        So are all others whose processes were killed: each holds a lock on its folder while it lives.
        """
        name = blake2b(f"{system}\0{purpose}".encode(), digest_size=8).hexdigest()
        folders = cache_folder() / "singer" / "run"
        folders.mkdir(parents=True, exist_ok=True)
        folder = cls(folders / name)
        with folders.with_name(".run.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for path in folders.iterdir():
                if _is_left(path):
                    cls(path).remove()
            folder.remove()
            folder.path.mkdir(mode=0o700)
            folder._owner = (folder.path / _OWNER).open("w")
            fcntl.flock(folder._owner, fcntl.LOCK_EX)
        return folder

    def write(self, name: str, text: str) -> Path:
        """A new file with this text."""
        path = self.path / name
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def note_process(self, pid: int) -> None:
        """So that a later process can end this one, if nobody else does."""
        self.write("pid", f"{pid} {_started(pid)}")

    def remove(self) -> None:
        """Ends the process that was noted, if it is still the same, and removes all files."""
        with suppress(OSError, ValueError):
            pid, _, started = (self.path / "pid").read_text("utf-8").partition(" ")
            if started.isdigit() and _started(int(pid)) == started:
                os.killpg(int(pid), signal.SIGKILL)
        shutil.rmtree(self.path, ignore_errors=True)
        if self._owner is not None:
            self._owner.close()
            self._owner = None


def _is_left(path: Path) -> bool:
    """Whether nobody uses a folder any more. One without an owner is an older Sorbus's, as long as it is used."""
    try:
        if not (path / _OWNER).exists():
            return time.time() - path.stat().st_mtime > _LONG_UNUSED
        with (path / _OWNER).open() as owner:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False


def _started(pid: int) -> str:
    """When a process started, as the kernel counts."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return f"not known for {pid}"
