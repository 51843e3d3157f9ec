"""Masking inside texts: messages, our own or other systems', that quote a record's values."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation

from sorbus.privacy.mask import HIDDEN, masked_text
from sorbus.privacy.ordinary import ORDINARY
from sorbus.privacy.readings import Reading, folded, readings

_LONGEST_OF_WORDS = 60
"""Longer values are free text, whose single words identify nobody."""
_HEAD = 20
_SHORT = 4
_LONGEST_WORD = 40
"""Of ordinary words, by far."""
_SIGNS = 3
"""This many characters without a letter or digit identify nobody."""
_ROW = re.compile(r"(?<=Failing row contains )\(.*\)|(?<=\)=)\(.*\)", re.DOTALL)
_EMAIL = re.compile(r"(?<![\w.!#$%&*+/=?^`{|}~•-])[\w.!#$%&*+/=?^`{|}~•-]+@[\w•-]+(?:\.[\w•-]+)+")
_PLAIN_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
"""In a text that was decoded: what precedes it may be an address's path or query."""
_QUOTED = re.compile(
    r"\"(?P<a>(?:[^\"\\]|\\.)*)\"|(?<!\w)'(?P<b>(?:[^'\\]|\\.|'(?=\w))*)'(?!\w)"
    r"|[“„](?P<c>[^”“]*)[”“]|«(?P<d>[^»]*)»|‘(?P<e>[^’]*)’|‹(?P<f>[^›]*)›|「(?P<g>[^」]*)」|‚(?P<h>[^‘]*)‘",
    re.DOTALL,
)
_ELLIPSIS = re.compile(r"\.\.\.")
_NUMBER = re.compile(r"(?<![\w.,])\d[\d.,'\u2019]{0,60}\d(?!\w)")
_NAMES = re.compile(
    r"\b(?:column|relation|table|constraint|type|domain|index|function|field|schema|rule|filter|trigger|resource)\s$",
    re.IGNORECASE,
)


def without(text: str, values: Iterable[object], *, keep: Collection[str] = (), quotes: bool = False) -> str:
    """`text` with the values masked wherever they occur: in any case, without accents, encoded for URLs, JSON or HTML,
    cut short, or as one of their words; numbers with any separators.

    E-mail addresses and rows quoted by PostgreSQL are always masked; with `quotes` also everything in quotation marks,
    except column names, `ORDINARY` words and signs, and what is in `keep`. An ordinary word is masked only if it is
    the whole value, spelled identically. Idempotent.
    """
    kept = {folded(word) for word in keep if word}
    read = readings(text)
    spans = [(*found.span(), HIDDEN) for found in _ROW.finditer(text)]
    spans = [(start + 1, end - 1, made) for start, end, made in spans]
    spans += [(*found.span(), "") for found in _EMAIL.finditer(text)]
    spans += [(*each.span(*found.span()), "") for each in read for found in _PLAIN_EMAIL.finditer(each.text)]
    if quotes:
        spans += [
            (*found.span(found.lastgroup or 0), "")
            for found in _QUOTED.finditer(text)
            if folded(found[found.lastgroup or 0]) not in kept
            and not _is_ordinary(found[found.lastgroup or 0])
            and not _NAMES.search(text, max(0, found.start() - 20), found.start())
        ]
    known: set[object] = set()
    numbers: set[Decimal] = set()
    cuts = [_cuts(each) for each in read]
    for given in values:
        if isinstance(given, int | float | Decimal) and not isinstance(given, bool):
            numbers |= _number(str(given), ".")
        for value in _written(given):
            if value in known or (plain := folded(value)) in kept:
                continue
            known.add(value)
            if len(value) < _SHORT or plain in ORDINARY:
                spans += [(start, end, "") for start, end in _exactly(text, value)]
                continue
            for each, cut in zip(read, cuts, strict=True):
                found = _found(each.text, cut, value, plain, kept)
                spans += [(*each.span(start, end), "") for start, end in found]
    if numbers:
        spans += [(*found.span(), "") for found in _NUMBER.finditer(text) if _numbers(found[0]) & numbers]
    return _replaced(text, spans)


def _written(value: object) -> Iterable[str]:
    """How a value may be written, but for numbers' separators."""
    if isinstance(value, bytes):
        text = value.decode("utf-8", "replace").strip()
        return (value.hex(), b64encode(value).decode(), *([text] if "\ufffd" not in text else []))
    if isinstance(value, datetime):
        return (f"{value:%Y-%m-%d %H:%M:%S}",)
    return (str(value).strip(),)


def _exactly(text: str, value: str) -> Iterable[tuple[int, int]]:
    if len(value) >= 2 and value in text:
        yield from (found.span() for found in re.finditer(rf"(?<!\w){re.escape(value)}(?!\w)", text))


def _found(text: str, cuts: Sequence[int], value: str, plain: str, kept: Collection[str]) -> Iterable[tuple[int, int]]:
    """Where a value occurs in a folded text: whole, cut short, and its words (of four letters and more)."""
    needle, at = plain[:_HEAD], text.find(plain[:_HEAD])
    while at >= 0 and needle:
        end = at + len(needle)
        while end < len(text) and end - at < len(plain) and text[end] == plain[end - at]:
            end += 1
        if _word_around(text, at, end) not in ORDINARY:
            yield at, end
        at = text.find(needle, end)
    yield from _cut_short(text, cuts, plain, kept)
    if len(value) <= _LONGEST_OF_WORDS:
        for word in re.findall(r"[\w-]{4,}", value):
            each = folded(word)
            if each == plain or each in kept or each in ORDINARY:
                continue
            if each in text:
                yield from (found.span() for found in re.finditer(rf"(?<!\w){re.escape(each)}(?!\w)", text))
            yield from _cut_short(text, cuts, each, kept)


def _cuts(reading: Reading) -> list[int]:
    """Where a folded text may have been cut: at its end, and before an ellipsis."""
    return [*dict.fromkeys([*(found.start() for found in _ELLIPSIS.finditer(reading.text)), len(reading.text)])]


def _cut_short(text: str, cuts: Sequence[int], plain: str, kept: Collection[str]) -> Iterable[tuple[int, int]]:
    """The beginning of a value, of four letters and more, at the end of a text that was cut there."""
    for cut in cuts:
        first = text.rfind(plain[:_SHORT], max(0, cut - len(plain)), cut)
        if first < 0 or (first and text[first - 1].isalnum()) or not plain.startswith(text[first:cut]):
            continue
        if text[first:cut] not in kept and text[first:cut] not in ORDINARY:
            yield first, cut


def _numbers(token: str) -> set[Decimal]:
    """What digits with separators may mean: 1,234.50, 1.234,50 and 1'234.5."""
    return _number(token, ".") | _number(token, ",")


def _number(token: str, point: str) -> set[Decimal]:
    """The number, if it has two digits and more; `point` separates its fraction."""
    text = re.sub("[,.'\u2019]", lambda sign: "." if sign[0] == point else "", token)
    try:
        found = abs(Decimal(text))
        return {found} if found.is_finite() and len(text.strip("-+0.")) >= 2 else set()
    except InvalidOperation:
        return set()


def _is_ordinary(quoted: str) -> bool:
    """Whether it consists of ordinary words, or is a sign or two: `"Forbidden"`, `"<"`."""
    words = re.findall(r"\w+", quoted.casefold())
    return all(word in ORDINARY for word in words) if words else len(quoted.strip()) <= _SIGNS


def _word_around(text: str, start: int, end: int) -> str:
    """The word around a match: a short value may occur in one by chance ("Main" in "remaining")."""
    if not text[start:end].isalpha():
        return text[start:end]
    first, last = max(0, start - _LONGEST_WORD), min(len(text), end + _LONGEST_WORD)
    while start > first and text[start - 1].isalpha():
        start -= 1
    while end < last and text[end].isalpha():
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
