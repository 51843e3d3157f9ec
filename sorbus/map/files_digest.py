"""A digest of the files that a map is read from, by which a process tells that they have changed since."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
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
    found = hashlib.sha256()
    for file in files:
        content = file.read_bytes() if file.is_file() else b""
        found.update(f"{file.name}\0{len(content)}\0".encode() + content)
    return found.hexdigest()
