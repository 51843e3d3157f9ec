"""Text that PostgreSQL can't hold as it is, for the state's names and messages; values that are compared stay exact."""

from __future__ import annotations

from collections.abc import Iterable


def storable(text: str) -> str:
    """The text with zero bytes and halves of characters written out: `\\0`, `\\ud83d`."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def holdable(texts: Iterable[str]) -> list[str]:
    """Those that PostgreSQL can hold as they are: of the others it has none, and refuses to look for them."""
    return [text for text in texts if storable(text) == text]
