"""A text as values are looked for in it: without case, accents and encodings, each character with its place.

`caf%C3%A9`, `caf\\u00e9`, `caf&eacute;`, `CAFÉ` and `café` are read alike.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

_ENCODED = re.compile(
    r"(?P<percent>(?:%[0-9A-Fa-f]{2})+)|(?P<unicode>(?:\\u[0-9A-Fa-f]{4})+)|\\x(?P<hex>[0-9A-Fa-f]{2})"
    r"|(?P<slash>\\)(?=[\"'\\/])|\\(?P<control>[nrt])|(?P<entity>&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,31});)"
)
_TIME = re.compile(r"(?<=\d)t(?=\d\d:)")
_DEEPEST = 2
"""An encoded text in an encoded text is read; deeper ones are not met."""
Pieces = list[tuple[str, int, int]]
"""Characters, each with the place in the original text that it stands for."""


class Reading(NamedTuple):
    """`text` is folded; `places`: where each of its characters begins and ends in the original, None if at the same."""

    text: str
    places: Pieces | None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The place in the original."""
        return (start, end) if self.places is None else (self.places[start][1], self.places[end - 1][2])


def folded(text: str) -> str:
    """Without case, accents and compatibility forms; `T` between a date and a time is a blank."""
    plain = text.lower() if text.isascii() else "".join(map(_folded, text))
    return _TIME.sub(" ", plain)


def readings(text: str) -> list[Reading]:
    """The text as it is, and decoded as often as there is something to decode."""
    found = [_reading(text, None)]
    pieces: Pieces = [(each, place, place + 1) for place, each in enumerate(text)]
    for _ in range(_DEEPEST):
        if _ENCODED.search(text) is None:
            break
        pieces = list(_decoded(text, pieces))
        text = "".join(each for each, _, _ in pieces)
        found.append(_reading(text, pieces))
    return found


def _reading(text: str, pieces: Pieces | None) -> Reading:
    if text.isascii():
        return Reading(folded(text), pieces)
    if pieces is None:
        pieces = [(each, place, place + 1) for place, each in enumerate(text)]
    places = [(part, start, end) for each, start, end in pieces for part in _folded(each)]
    return Reading(_TIME.sub(" ", "".join(part for part, _, _ in places)), places)


@lru_cache(4096)
def _folded(character: str) -> str:
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(part for part in apart if not unicodedata.combining(part))


def _decoded(text: str, pieces: Pieces) -> Iterator[tuple[str, int, int]]:
    at = 0
    for found in _ENCODED.finditer(text):
        yield from pieces[at : found.start()]
        at = found.start()
        for character, length in _characters(found):
            yield character, pieces[at][1], pieces[at + length - 1][2]
            at += length
        at = found.end()
    yield from pieces[at:]


def _characters(found: re.Match[str]) -> Iterator[tuple[str, int]]:
    """What an encoded part stands for, and how long each character is in it."""
    whole = found[0]
    if found["percent"] is not None:
        raw = bytes.fromhex(whole.replace("%", ""))
        try:
            yield from ((each, 3 * len(each.encode())) for each in raw.decode())
        except UnicodeDecodeError:
            yield from ((each, 3) for each in raw.decode("latin-1"))
    elif found["unicode"] is not None:
        units = bytes.fromhex(whole.replace("\\u", "")).decode("utf-16-be", "replace")
        yield from ((each, 6 * (1 + (each > "\uffff"))) for each in units)
    elif found["hex"] is not None:
        yield chr(int(found["hex"], 16)), len(whole)
    elif found["control"] is not None:
        yield " ", len(whole)
    elif found["entity"] is not None and len(meant := html.unescape(whole)) == 1:
        yield meant, len(whole)
    elif found["slash"] is None:
        yield from ((each, 1) for each in whole)
