"""A digest of the files that a map is read from, by which a process tells that they have changed since."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from sorbus.mapfile.model import Map

_FOLDERS = ("mappings", "schemas", "catalog")


def digest_of_fixed(file: Path) -> str:
    """Of map.yaml and of mappings/, schemas/ and catalog/ beside it: what is known before anything is read."""
    return _digest([file, *(one for name in _FOLDERS for one in sorted((file.parent / name).glob("*")))])


def digest_of_named(folder: Path, company: Map) -> str:
    """Of the files that map.yaml names: descriptions of applications, and the holidays of calendars."""
    named = (value for system in company.systems.values() for value in system.connection.values())
    own = sorted({name for name in named if isinstance(name, str) and name.endswith(".yaml")})
    own += sorted(one.holidays for one in company.calendars.values() if one.holidays is not None)
    return _digest(folder / name for name in own)


def _digest(files: Iterable[Path]) -> str:
    """One that can't be read counts as empty: reading the map says what is wrong with it."""
    found = hashlib.sha256()
    for file in files:
        content = b""
        with suppress(OSError):
            if file.is_file():  # not a pipe, which would be waited for
                with file.open("rb") as opened:
                    content = hashlib.file_digest(opened, "sha256").digest()
        found.update(file.name.encode("utf-8", "surrogateescape") + b"\0" + content.ljust(32, b"\0"))
    return found.hexdigest()
