"""Masking inside texts: messages, our own or other systems', that quote a record's values."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable

from sorbus.privacy.mask import HIDDEN, masked_text
from sorbus.privacy.ordinary import ORDINARY

_LONGEST_OF_WORDS = 60
"""Longer values are free text, whose single words identify nobody."""
_HEAD = 20
_SIGNS = 3
"""This many characters without a letter or digit identify nobody."""
_ROW = re.compile(r"(?<=Failing row contains )\(.*\)|(?<=\)=)\(.*\)", re.DOTALL)
_EMAIL = re.compile(r"(?<![\w.!#$%&*+/=?^`{|}~•-])[\w.!#$%&*+/=?^`{|}~•-]+@[\w•-]+(?:\.[\w•-]+)+")
_QUOTED = re.compile(
    r"\"(?P<a>(?:[^\"\\]|\\.)*)\"|(?<!\w)'(?P<b>(?:[^'\\]|\\.|'(?=\w))*)'(?!\w)"
    r"|[“„](?P<c>[^”“]*)[”“]|«(?P<d>[^»]*)»|‘(?P<e>[^’]*)’",
    re.DOTALL,
)
_NAMES = re.compile(
    r"\b(?:column|relation|table|constraint|type|domain|index|function|field|schema|rule|filter|trigger|resource)\s$",
    re.IGNORECASE,
)


def without(text: str, values: Iterable[object], *, keep: Collection[str] = (), quotes: bool = False) -> str:
    """`text` with the values masked wherever they occur, in any case, truncated or as one of their words.

    E-mail addresses and rows quoted by PostgreSQL are always masked; with `quotes` also everything in quotation marks,
    except column names, `ORDINARY` words and signs, and what is in `keep`. An ordinary word is masked only if it is
    the whole value, spelled identically. Idempotent.
    """
    kept = {word.casefold() for word in keep if word}
    spans = [(*found.span(), HIDDEN) for found in _ROW.finditer(text)]
    spans = [(start + 1, end - 1, made) for start, end, made in spans]
    spans += [(*found.span(), "") for found in _EMAIL.finditer(text)]
    if quotes:
        spans += [
            (*found.span(found.lastgroup or 0), "")
            for found in _QUOTED.finditer(text)
            if found[found.lastgroup or 0].casefold() not in kept
            and not _is_ordinary(found[found.lastgroup or 0])
            and not _NAMES.search(text, max(0, found.start() - 20), found.start())
        ]
    for value in sorted({str(value).strip() for value in values}, key=len, reverse=True):
        if value.casefold() not in kept:
            spans += [(start, end, "") for start, end in _found(text, value, kept)]
    return _replaced(text, spans)


def _found(text: str, value: str, kept: Collection[str]) -> Iterable[tuple[int, int]]:
    """Where a value occurs: whole, truncated, and its words (of four letters and more)."""
    if len(value) < 2:
        return
    if len(value) < 4 or value.casefold() in ORDINARY:
        yield from (found.span() for found in re.finditer(rf"(?<!\w){re.escape(value)}(?!\w)", text))
        return
    for written in {value, repr(value)[1:-1], json.dumps(value)[1:-1]}:
        for found in re.finditer(re.escape(written[:_HEAD]), text, re.IGNORECASE):
            end, more = found.end(), len(found[0])
            while end < len(text) and more < len(written) and text[end].lower() == written[more].lower():
                end, more = end + 1, more + 1
            if _word_around(text, found.start(), end).casefold() not in ORDINARY:
                yield found.start(), end
    if len(value) <= _LONGEST_OF_WORDS:
        for word in re.findall(r"[\w-]{4,}", value):
            if word != value and word.casefold() not in kept and word.casefold() not in ORDINARY:
                pattern = rf"(?<!\w){re.escape(word)}(?!\w)"
                yield from (found.span() for found in re.finditer(pattern, text, re.IGNORECASE))


def _is_ordinary(quoted: str) -> bool:
    """Whether it consists of ordinary words, or is a sign or two: `"Forbidden"`, `"<"`."""
    words = re.findall(r"\w+", quoted.casefold())
    return all(word in ORDINARY for word in words) if words else len(quoted.strip()) <= _SIGNS


def _word_around(text: str, start: int, end: int) -> str:
    """The word around a match: a short value may occur in one by chance ("Main" in "remaining")."""
    if not text[start:end].isalpha():
        return text[start:end]
    while start and text[start - 1].isalpha():
        start -= 1
    while end < len(text) and text[end].isalpha():
        end += 1
    return text[start:end]


def _replaced(text: str, spans: Iterable[tuple[int, int, str]]) -> str:
    """`text` with the outermost spans masked; overlapping ones as one."""
    made, at = [], 0
    merged: list[tuple[int, int, str]] = []
    for start, end, instead in sorted(spans, key=lambda span: (span[0], -span[1])):
        if merged and start < merged[-1][1]:
            before = merged[-1]
            merged[-1] = (before[0], max(before[1], end), before[2])
        elif start < end:
            merged.append((start, end, instead))
    for start, end, instead in merged:
        made += [text[at:start], instead or masked_text(text[start:end])]
        at = end
    return "".join([*made, text[at:]])
