"""Replaces a file that people have on their screens: whole or not at all, and never what they saved meanwhile."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from sorbus.errors import TransientError
from sorbus.spreadsheet.files import FileStamp, lock_of


def require_closed(path: Path) -> None:
    """TransientError while a program has the file open: what is written would be overwritten by its next save."""
    if (lock := lock_of(path)) is not None:
        raise lock.error(path)


def replace_file(path: Path, stamp: FileStamp | None, write: Callable[[IO[bytes]], None]) -> FileStamp:
    """Writes a new file in place of the one that had `stamp` (None: there was none); returns the new one's stamp.

    TransientError where it was changed since, is open, or can't be written; then it is as it was.
    """
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:50]}-", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as opened:
            write(opened)
            opened.flush()
            os.fsync(opened.fileno())
        temporary.chmod(0o664 if stamp is None else path.stat().st_mode & 0o7777)
        if stamp is not None:
            _keep_owner(path, temporary)
        require_closed(path)
        if (FileStamp.of(path) if path.exists() else None) != stamp:
            raise TransientError(
                f"{path.name} was saved by another program meanwhile: it is read again", retry_after=1.0
            )
        temporary.replace(path)
        temporary = None
        _sync_folder(path.parent)
        return FileStamp.of(path)
    except OSError as error:
        raise TransientError(f"{path.name} can't be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


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
