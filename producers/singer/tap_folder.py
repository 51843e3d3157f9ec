"""A tap's files while it runs: settings with secrets, catalog, state. Removed afterwards, even after a kill."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Self


def cache_folder() -> Path:
    """SORBUS_CACHE, or `sorbus` in the user's cache folder."""
    if named := os.environ.get("SORBUS_CACHE"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sorbus"


class TapFolder:
    """A folder that only its user can read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, system: str, purpose: str) -> Self:
        """The only folder of this system and purpose: what an earlier process left there is ended and removed."""
        name = blake2b(f"{system}\0{purpose}".encode(), digest_size=8).hexdigest()
        folder = cls(cache_folder() / "singer" / "run" / name)
        folder.remove()
        folder.path.mkdir(parents=True, mode=0o700)
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


def _started(pid: int) -> str:
    """When a process started, as the kernel counts."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return f"not known for {pid}"
