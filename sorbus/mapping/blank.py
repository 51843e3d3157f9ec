"""What counts as no value: if a value is required, blank text counts as missing."""

from __future__ import annotations

_UNSEEN = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"


def is_blank(value: object) -> bool:
    """Null, text without a visible character, or a list of only such values."""
    if isinstance(value, str):
        return not value.strip() or all(letter.isspace() or letter in _UNSEEN for letter in value)
    if isinstance(value, list | tuple):
        return all(is_blank(item) for item in value)
    return value is None
