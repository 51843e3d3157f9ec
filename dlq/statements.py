"""The SQL of the letters' index, a file a statement."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "sql"


@cache
def statement(name: str) -> str:
    """The text of sql/NAME.sql."""
    return (_FOLDER / f"{name}.sql").read_text("utf-8")
