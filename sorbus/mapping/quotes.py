"""Quotation marks as word processors and spreadsheets turn them round, made straight where they delimit a text."""

from __future__ import annotations

import re

_TEXT_OR_CURLY = re.compile(
    r"""
    "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*'            # a text in straight quotes stays as it is
    | [“”„‟«] (?P<double>[^“”»]*) [“”»] | [‘’‚‛] (?P<single>[^‘’]*) [‘’]
    | (?P<blank>[\u00a0\u202f])
    """,
    re.VERBOSE,
)


def straightened(text: str) -> str:
    """A rule with straight quotes around its texts, and plain blanks between its words; what is inside texts stays."""
    return text if text.isascii() else _TEXT_OR_CURLY.sub(_straight, text)


def _straight(found: re.Match[str]) -> str:
    if found["blank"]:
        return " "
    inner = found["double"] if found["double"] is not None else found["single"]
    if inner is None:
        return found[0]
    escaped = inner.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
