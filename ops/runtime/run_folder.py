"""What `sorbus up` writes of its processes: prometheus.json (targets) and processes.json (who is who)."""

from __future__ import annotations

import fcntl
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from sorbus.errors import UsageError
from sorbus.ops.runtime.child import ChildProcess
from sorbus.telemetry.options import LOOPBACK

_log = logging.getLogger(__name__)


class RunFolder:
    """The folder of one supervisor at a time. A disk that is full stops nothing: the files are then older."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: TextIO | None = None
        self.is_behind = False
        """Whether the files lack the last change."""

    def claim(self) -> None:
        """UsageError if another supervisor writes there, or nobody may."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self._folder / "lock").open("a", encoding="utf-8")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another `sorbus up` runs with the folder {self._folder}: stop that one first, or give this one a"
                " --folder of its own (a producer or flow should run in one of them only)"
            ) from None
        except OSError as error:
            raise UsageError(
                f"{self._folder} can't be written to: {error.strerror}; give a --folder that can be"
            ) from error

    def release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def write(self, children: Sequence[ChildProcess]) -> None:
        targets = [
            {"targets": [f"{LOOPBACK}:{child.port}"], "labels": {"process": child.name}}
            for child in children
            if child.port
        ]
        processes = [
            {"name": name, "state": child.state, "pid": child.pid, "port": child.port, "restarts": child.restarts}
            for child in children
            for name in child.program.names
        ]
        try:
            for name, content in (("prometheus.json", targets), ("processes.json", processes)):
                new = self._folder / f".{name}.new"
                new.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
                new.replace(self._folder / name)
        except OSError as error:
            if not self.is_behind:
                _log.warning("%s can't be written to: %s; its files are out of date", self._folder, error.strerror)
            self.is_behind = True
        else:
            self.is_behind = False
