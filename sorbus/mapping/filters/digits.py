"""Normalises digits and marks of all scripts; their meaning never changes."""

from __future__ import annotations

import sys
import unicodedata
from functools import cache

_MARKS: dict[int, str | None] = {
    **dict.fromkeys(map(ord, "\u2212\u2010\u2011\uff0d\u2013"), "-"),
    **dict.fromkeys(map(ord, "\u00a0\u2007\u2009\u202f\u3000"), " "),
    **dict.fromkeys(map(ord, "\u200e\u200f\u061c\u200b\ufeff"), None),
    **dict(zip(map(ord, "\uffe0\uffe1\uffe5\uffe6"), "¢£¥₩", strict=True)),
    ord("\u066b"): ".",
    ord("\u066c"): ",",
}
"""Minus signs and hyphens, spaces of all widths, marks of writing direction, the Arabic decimal and group marks."""


def plain(text: str) -> str:
    """`text` with ASCII digits, hyphens and spaces, and full-width forms (U+FF01 to U+FF5E) made narrow."""
    return text if text.isascii() else text.translate(_table())


@cache
def _table() -> dict[int, str | None]:
    digits = {
        code: str(unicodedata.digit(chr(code)))
        for code in range(128, sys.maxunicode)
        if unicodedata.category(chr(code)) == "Nd"
    }
    wide = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    return {**wide, **digits, **_MARKS}
