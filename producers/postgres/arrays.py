"""PostgreSQL's text of an array to a list (documentation, 8.15.6 "Array Input and Output Syntax")."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache


def read_array(text: bytes, read: Callable[[bytes], object], delimiter: bytes = b",") -> list[object]:
    """The elements, each as `read` makes it of its text, in lists as deep as the array. ValueError."""
    start = text.find(b"{")
    if start < 0:
        raise ValueError(f"{text[:80].decode(errors='replace')!r} is not a valid array")
    top: list[object] = []
    open_lists = [top]
    at, end, tokens = start, len(text), _tokens(delimiter)
    while at < end:
        found = tokens.match(text, at)
        if found is None or not open_lists:
            break
        at = found.end()
        brace, quoted, plain = found.group(1, 2, 3)
        if brace == b"{":
            inner: list[object] = []
            open_lists[-1].append(inner)
            open_lists.append(inner)
        elif brace == b"}":
            open_lists.pop()
        elif quoted is not None:
            open_lists[-1].append(read(_ESCAPED.sub(rb"\1", quoted)))
        elif plain is not None:
            open_lists[-1].append(None if plain.upper() == b"NULL" else read(plain))
    if at != end or len(open_lists) != 1 or len(top) != 1 or not isinstance(top[0], list):
        raise ValueError(f"{text[:80].decode(errors='replace')!r} is not a valid array")
    return top[0]


_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


@cache
def _tokens(delimiter: bytes) -> re.Pattern[bytes]:
    mark = re.escape(delimiter)
    return re.compile(
        rb'([{}])|"((?:[^"\\]|\\.)*)"|([^"\\{}' + mark + rb"]+)|" + mark,
        re.DOTALL,
    )
