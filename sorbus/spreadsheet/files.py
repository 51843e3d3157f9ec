"""Which files a map means, and whether they are at rest: nobody has them open, and nothing is writing them."""

from __future__ import annotations

import errno
import fnmatch
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from sorbus.connector import BoundSystem
from sorbus.errors import TransientError

WORKBOOKS = frozenset({".xlsx", ".xlsm"})
TEXTS = frozenset({".csv", ".tsv", ".tab", ".txt"})
SUFFIXES = WORKBOOKS | TEXTS
_GLOB = re.compile(r"[*?\[]")
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".filepart")


class SpreadsheetConnection(BaseModel):
    """Where the files are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(
        default=Path(), description="The folder with the files, relative to the map's folder; default: that itself."
    )


def folder_of(system: BoundSystem) -> Path:
    """The connection's folder."""
    assert isinstance(system.connection, SpreadsheetConnection)
    return (system.folder / system.connection.path.expanduser()).absolute()


class FileStamp(NamedTuple):
    """What changes when a file is written."""

    size: int
    modified: int
    changed: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> FileStamp:
        """OSError where it isn't there."""
        found = path.stat()
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

    @property
    def text(self) -> str:
        """For the state."""
        return " ".join(map(str, self))


class FileLock(NamedTuple):
    """The file that a spreadsheet program puts beside one that it has open."""

    file: Path
    who: str

    def error(self, path: Path) -> TransientError:
        """What to tell people."""
        who = f" by {self.who}" if self.who else ""
        return TransientError(
            f"{path.name} is open{who}: it is read and written once it is closed (if nobody has it open, delete"
            f" {self.file.name} beside it)"
        )


def lock_of(path: Path) -> FileLock | None:
    """Whether Excel or LibreOffice has it open."""
    excel = path.with_name(f"~${path.name}")
    office = path.with_name(f".~lock.{path.name}#")
    for file in (excel, office):
        try:
            with file.open("rb") as opened:
                head = opened.read(200)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                continue  # no program can have made it
            return FileLock(file, "")
        return FileLock(file, _excel_user(head) if file == excel else _office_user(head))
    return None


def _excel_user(head: bytes) -> str:
    """Its length in a byte, then the name; the rest repeats it in UTF-16."""
    length = head[0] if head else 0
    name = head[1 : 1 + length].decode("cp1252", "replace").strip()
    return name if name.isprintable() else ""


def _office_user(head: bytes) -> str:
    """Name, login, host and time, with commas between."""
    parts = head.decode("utf-8", "replace").split(",")
    return next((part.strip() for part in parts[:3] if part.strip()), "")


def matching(folder: Path, pattern: str) -> list[Path]:
    """The files that `pattern` means, by name. TransientError where there is none, or where one name means two."""
    names = _names(folder)
    wanted = pattern.casefold()
    if _GLOB.search(pattern):
        found = [name for name in names if fnmatch.fnmatchcase(name.casefold(), wanted)]
    else:
        found = [name for name in names if name == pattern] or [
            name for name in names if wanted in (name.casefold(), Path(name).stem.casefold())
        ]
        if len(found) > 1:
            raise TransientError(f"{pattern} in {folder} may be {' or '.join(sorted(found))}: write the whole name")
    if not found:
        raise TransientError(f"no file in {folder} is called {pattern}: put it there, or correct `file:` in the map")
    return [folder / name for name in sorted(found)]


def data_files(folder: Path) -> list[Path]:
    """Every spreadsheet of a folder, by name. TransientError."""
    return [folder / name for name in sorted(_names(folder))]


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder) if _is_data(entry.name) and entry.is_file()]
    except NotADirectoryError as error:
        raise TransientError(
            f"{folder} is a file: name its folder as the connection's `path:`, and the file as `file:`"
        ) from error
    except OSError as error:
        raise TransientError(f"{folder} can't be read: {error.strerror or error}; is the drive connected?") from error


def _is_data(name: str) -> bool:
    """Whether it is a spreadsheet, and not what a program leaves beside one."""
    is_hidden = name.startswith(("~$", ".", "~"))
    return not is_hidden and not name.endswith(_UNFINISHED) and Path(name).suffix.lower() in SUFFIXES


class RestWatch:
    """Files that are written over a while: one is at rest once nothing about it has changed for so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen: dict[Path, tuple[FileStamp, float]] = {}
        self._restless: dict[Path, float] = {}

    def since(self, path: Path, now: float) -> tuple[FileStamp, float]:
        """Its stamp, and in how many seconds it is at rest (0: it is). `now` is monotonic. OSError."""
        stamp = FileStamp.of(path)
        before = self._seen.get(path)
        if before is None or before[0] != stamp:
            self._seen[path] = before = (stamp, now)
        wait = max(0.0, before[1] + self._seconds - now)
        if wait:
            self._restless.setdefault(path, now)
        else:
            self._restless.pop(path, None)
        return stamp, wait

    def restless(self, path: Path, now: float) -> float:
        """For how many seconds it hasn't been at rest."""
        return now - self._restless.get(path, now)

    def forget(self, keep: Collection[Path]) -> None:
        """Files that aren't there any more."""
        self._seen = {path: seen for path, seen in self._seen.items() if path in keep}
        self._restless = {path: since for path, since in self._restless.items() if path in keep}
