"""Which of a data type's files can be read now, and what keeps the others waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sorbus.errors import TransientError
from sorbus.producers.spreadsheet.options import SpreadsheetSource
from sorbus.spreadsheet.files import FileStamp, RestWatch, lock_of, matching

_LONGEST_UNREST = 60.0
_PAUSES = 10
"""Times `settle` for which a file may go on changing before people are told of it."""


@dataclass(slots=True)
class FoundFiles:
    """`ready`: at rest, with their stamps. `is_complete`: no file has to wait. `problems`: what people should know."""

    ready: dict[Path, FileStamp] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    is_complete: bool = True


class ChosenFiles:
    """One data type's. `soon`: seconds until a file that is being written may be at rest; None: none is."""

    def __init__(self, options: SpreadsheetSource, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._options, self._folder, self._clock = options, folder, clock
        self._rest = RestWatch(options.settle)
        self._refused: dict[Path, tuple[FileStamp, str]] = {}
        self.soon: float | None = None

    def refuse(self, path: Path, stamp: FileStamp, problem: str) -> None:
        """It can't be read as it is now: not tried again until it changes."""
        self._refused[path] = stamp, problem

    def look(self, *, again: bool) -> FoundFiles:
        """The files as they are now; `again`: those that couldn't be read, too."""
        found, self.soon = FoundFiles(), None
        if again:
            self._refused.clear()
        try:
            paths = self._chosen(matching(self._folder, self._options.file))
        except TransientError as error:
            return FoundFiles(problems=[str(error)], is_complete=False)
        self._rest.forget(paths)
        for path in paths:
            try:
                self._look_at(path, found)
            except FileNotFoundError:
                found.is_complete = False  # it went since it was listed: the next look lists it no more
            except OSError as error:
                found.problems.append(f"{path.name} can't be read: {error.strerror or error}")
        found.is_complete = found.is_complete and not found.problems
        return found

    def _look_at(self, path: Path, found: FoundFiles) -> None:
        stamp, wait = self._rest.since(path, self._clock())
        lock = lock_of(path) if self._options.open_files == "wait" else None
        if lock is not None:
            found.problems.append(str(lock.error(path)))
        elif wait > 0:
            found.is_complete = False
            self.soon = wait if self.soon is None else min(wait, self.soon)
            longest = max(_LONGEST_UNREST, _PAUSES * self._options.settle)
            if self._rest.restless(path, self._clock()) > longest:
                found.problems.append(
                    f"{path.name} has been changing for more than {longest:g} s without a pause of"
                    f" {self._options.settle:g} s, and is read only once it rests: write it elsewhere and move it here"
                    " when it is complete, or say a shorter `settle:` under the data type's `source:`"
                )
        elif path in self._refused and self._refused[path][0] == stamp:
            found.problems.append(self._refused[path][1])
        else:
            found.ready[path] = stamp

    def _chosen(self, paths: list[Path]) -> list[Path]:
        match self._options.files:
            case "last":
                return paths[-1:]
            case "newest":
                try:
                    return sorted(paths, key=_modified)[-1:]
                except OSError as error:
                    raise TransientError(f"{self._folder} can't be read: {error.strerror or error}") from error
            case _:
                return paths


def _modified(path: Path) -> int:
    """When it was changed, in nanoseconds since 1970; long ago for one that went since it was listed. OSError."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return -1
