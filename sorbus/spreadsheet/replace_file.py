"""Replaces a file that people have on their screens: whole or not at all, and never what they saved meanwhile."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from sorbus.errors import TransientError
from sorbus.spreadsheet.files import FileStamp, lock_of

_ABANDONED = 3600
"""Seconds after which a temporary file is nobody's: its process was killed."""


def require_closed(path: Path) -> None:
    """TransientError while a program has the file open: what is written would be overwritten by its next save."""
    for name in {path, _real(path)}:  # a program puts its lock beside the name by which the file was opened
        if (lock := lock_of(name)) is not None:
            raise lock.error(path)


def replace_file(
    path: Path, stamp: FileStamp | None, write: Callable[[IO[bytes]], None], *, settle: float = 0.0
) -> FileStamp:
    """Writes a new file in place of the one that had `stamp` (None: there was none); returns the new one's stamp.

    A symbolic link stays, and the file that it names is replaced. TransientError where it was changed since or less
    than `settle` seconds ago, is open, or can't be written; then the old file stays.
    """
    temporary: Path | None = None
    real = _real(path)
    try:
        handle, name = tempfile.mkstemp(prefix=_prefix(real), suffix=".tmp", dir=real.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as opened:
            try:
                write(opened)
            except Exception:
                _require_unchanged(path, stamp)  # another file than the one that was read may fail in any way
                raise
            opened.flush()
            os.fsync(opened.fileno())
        now = temporary.stat().st_mtime_ns  # by the clock of the drive, as the file's own
        if stamp is not None and (left := settle - abs(now - stamp.modified) / 1e9) > 0:
            raise TransientError(
                f"{path.name} may still be being written by another program: it is changed once nothing has been"
                f" written to it for {settle:g} s",
                retry_after=left,
            )
        temporary.chmod(0o664 if stamp is None else real.stat().st_mode & 0o7777)
        if stamp is not None:
            _keep_owner(real, temporary)
        require_closed(path)
        _require_unchanged(path, stamp)
        temporary.replace(real)
        temporary = None
        _sync_folder(real.parent)
        _remove_abandoned(real, now)
        return FileStamp.of(real)
    except OSError as error:
        raise TransientError(f"{path.name} can't be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _prefix(path: Path) -> str:
    return f".{path.stem[:50]}-"


def _require_unchanged(path: Path, stamp: FileStamp | None) -> None:
    if (FileStamp.of(path) if path.exists() else None) != stamp:
        raise TransientError(f"{path.name} was saved by another program meanwhile: it is read again", retry_after=1.0)


def _remove_abandoned(path: Path, now: int) -> None:
    """The temporary files of processes that were killed. `now`: nanoseconds, by the drive's clock."""
    name = re.compile(rf"{re.escape(_prefix(path))}[a-z0-9_]{{8}}\.tmp")
    with suppress(OSError):
        for entry in os.scandir(path.parent):
            if name.fullmatch(entry.name) and now - entry.stat().st_mtime_ns > _ABANDONED * 1_000_000_000:
                Path(entry.path).unlink()


def _keep_owner(path: Path, temporary: Path) -> None:
    found = path.stat()
    try:
        os.chown(temporary, found.st_uid, found.st_gid)
    except PermissionError:  # only root may give files away
        return


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:  # network drives can't
        return
    finally:
        os.close(handle)
