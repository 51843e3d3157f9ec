"""Text that PostgreSQL can't hold as it is, for the state's names and messages; values that are compared stay exact."""

from __future__ import annotations


def storable(text: str) -> str:
    """The text with zero bytes and halves of characters written out: `\\0`, `\\ud83d`."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
