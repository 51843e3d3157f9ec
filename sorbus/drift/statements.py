"""The SQL of this package, by name: each statement is a file in sql/."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "sql"


@cache
def statement(name: str) -> bytes:
    """The text of sql/NAME.sql."""
    return (_FOLDER / f"{name}.sql").read_bytes()
