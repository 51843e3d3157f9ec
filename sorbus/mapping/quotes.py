"""Replaces the typographic quotation marks of word processors with straight ones where they delimit a text."""

from __future__ import annotations

import re

_TEXT_OR_CURLY = re.compile(
    r"""
    "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*'            # a text in straight quotes is kept
    | [“”„‟«] (?P<double>[^“”»]*) [“”»] | [‘’‚‛] (?P<single>[^‘’]*) [‘’]
    | (?P<blank>[\u00a0\u202f])
    """,
    re.VERBOSE,
)


def straightened(text: str) -> str:
    """A rule with straight quotes around its texts, and plain spaces between its words; texts are unchanged."""
    return text if text.isascii() else _TEXT_OR_CURLY.sub(_straight, text)


def _straight(found: re.Match[str]) -> str:
    if found["blank"]:
        return " "
    inner = found["double"] if found["double"] is not None else found["single"]
    if inner is None:
        return found[0]
    escaped = inner.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
