"""The house number in a street line. Numbers of the street's own name, a post box or a flat don't count.

Forms after the Universal Postal Union's addressing guides, AFNOR XP Z10-011 (bis, ter), DIN 5008, ÖNORM A 2693 (9/3/12)
and USPS Publication 28. A line with two numbers that could each be the house's is rejected.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple

from sorbus.mapping.errors import shown
from sorbus.mapping.filters.digits import plain
from sorbus.mapping.filters.registry import rule_filter
from sorbus.mapping.types import TEXT

_LONGEST = 1000
_WORDS: dict[str, list[str]] = tomllib.loads((files(__package__) / "street_words.toml").read_text(encoding="utf-8"))


def _any(kind: str) -> str:
    """A pattern for any word of a category."""
    written = (re.escape(word).replace(r"\.", r"\.? ?").replace(r"\ ", r" ?") for word in _WORDS[kind])
    return f"(?:{'|'.join(sorted(written, key=len, reverse=True))})"


_BIS = r"(?:bis|ter|quater|quinquies)(?!\w)"
_ONE = rf"\d{{1,6}}(?:[a-zA-Z](?![^\W_])| ?{_BIS}|/{_BIS}| ?[½¼¾]| 1/[24])?"
_STAIR = r"(?:stiege|stg\.?|tür|top|stock) ?\d+"
_MORE = rf"(?: ?[-/+&] ?(?:{_STAIR}|{_ONE}|[IVX]{{1,4}}(?![^\W\d_])|[a-zA-Z](?!\w)))*"
_NUMBER = _ONE + _MORE
_BEHIND = rf"(?P<number>{_NUMBER}(?: [a-zA-Z](?:-[a-zA-Z])?)?)\.?"
_MARKER = r"(?:(?:no|nr|num|nro|n)[.:]* ?|n[º°o]\.? ?|núm\.? ?|№ ?|# ?|house (?:no\.? ?)?|д\. ?|hs\.? ?(?:nr\.? ?)?)"
_IS_NUMBER = re.compile(rf"{_MARKER}?{_BEHIND}", re.IGNORECASE)
_STREET = r"(?P<street>(?=.*[^\W\d_]{2}).*)"
_FIRST = re.compile(rf"(?P<number>{_NUMBER})(?P<letter> [a-zA-Z](?= ))?,? +{_STREET}", re.IGNORECASE)
_ORDINAL_FIRST = re.compile(r"\d+(?:st|nd|rd|th|ST|ND|RD|TH|e|er|re|ème|eme|de|\.|º|ª)(?= )")
_MARKED = re.compile(rf"(?P<street>.*?[^\W_].*?),? +{_MARKER}{_BEHIND}", re.IGNORECASE)
_LAST = re.compile(rf"(?P<street>.*?[^\d\s,./+&-][.)]?)(?:,? +|(?<=\.)){_BEHIND}", re.IGNORECASE)
_GLUED = re.compile(
    rf"(?P<street>\w{{2,}}(?:str|straße|strasse|weg|gasse|platz|allee|ring|damm|ufer))(?P<number>{_NUMBER})",
    re.IGNORECASE,
)
_BOX = re.compile(rf"{_any('boxes')}\W{{0,2}} ?\w*\d[\w -]*", re.IGNORECASE)
_ROAD = re.compile(rf"(?<!\w){_any('roads')}$", re.IGNORECASE)
_KIND = re.compile(_any("kinds"), re.IGNORECASE)
_FRENCH = re.compile(rf"{_any('french')}(?!\w)", re.IGNORECASE)
_UNIT = re.compile(
    rf"(?:- )?{_any('units')}(?!\w)\W*.*"
    rf"|\d+(?:\.?[ºª°]|(?:\. ?| |st |nd |rd |th ){_any('floors')}|og)(?!\w).*",
    re.IGNORECASE,
)
_YEAR = re.compile(r"1[789]\d\d|20\d\d")
_DAY = re.compile(r"\d{1,2}\.?|1er|1º")
_NAMED_AFTER_DAYS = (
    *("fr", "es", "pt", "it", "de", "pl", "cs", "sk", "hu", "ro", "bg", "hr", "sl", "ca", "uk", "ru", "en"),
)


class Split(NamedTuple):
    """A split street line. `number` is empty if there is none; then `street` is the unchanged line."""

    number: str
    street: str


@rule_filter(takes=TEXT, gives="string", weight="middling")
def house_number(value: str) -> str:
    """The house number in a street line, before or after the street, empty if there is none: `value | house_number`.

    5 - 7, 12 bis and 9/3/12 are one number; a post box's, a flat's, or one of the street's own name (rue du 8 Mai 1945,
    Calle 50) isn't one. A line with two numbers that could each be the house's is rejected.
    """
    return split_house_number(value).number


@rule_filter(takes=TEXT, gives="string", weight="middling")
def street_name(value: str) -> str:
    """A street line without the house number: `"Obere Str. 57" | street_name` is Obere Str.

    Everything else stays, such as floor and door: `"C/ Mayor, 15, 3º B" | street_name` is C/ Mayor, 3º B.
    """
    return split_house_number(value).street


@lru_cache(maxsize=4096)
def split_house_number(value: str) -> Split:
    """ValueError for a line with two possible house numbers, and for one too long to be an address."""
    if len(value) > _LONGEST:
        raise ValueError(f"{shown(value)} is too long for a street")
    given = value.strip()
    line = " ".join(plain(value.replace("–", "-")).split())
    if not any(letter.isdigit() for letter in line) or _BOX.match(line):
        return Split("", given)
    parts = [part.strip() for part in line.split(",")]
    found = [(n, split) for n, part in enumerate(parts) for split in _candidates(part, n, parts)]
    if len({split.number for _, split in found}) > 1:
        numbers = " or ".join(split.number for _, split in found)
        raise ValueError(f"{shown(value)} may have the house number {numbers}: map it by hand, or from another field")
    if not found:
        return Split("", given)
    at, split = found[0]
    kept = [*parts[:at], split.street, *parts[at + 1 :]]
    return Split(split.number, ", ".join(part for part in kept if part))


def _candidates(part: str, place: int, parts: list[str]) -> list[Split]:
    """The possible house numbers in a part between commas."""
    if _UNIT.fullmatch(part) or _BOX.fullmatch(part):
        return []
    street, unit = _without_unit(part)
    if whole := _IS_NUMBER.fullmatch(street):
        # "Musterstr. 5, 3" has its number already; a number before a street, or after it, is the house's.
        before = place > 0 and _candidates(parts[place - 1], place - 1, parts[:place])
        return [] if before or len(parts) == 1 else [Split(whole["number"].strip(), unit)]
    found = [split for split in (_first(street), _last(street)) if split is not None]
    if len(found) == 2 and found[0].number == found[1].number:
        found.pop()
    return [Split(split.number, f"{split.street} {unit}".strip()) for split in found]


def _first(street: str) -> Split | None:
    """A number at the start, unless it is part of the name: 5th Avenue, 25 de Mayo, 3 Maja."""
    found = _FIRST.fullmatch(street)
    if found is None or _ORDINAL_FIRST.match(street) or _begins_with_month(found["street"]):
        return None
    number, rest = found["number"], found["street"]
    if letter := found["letter"]:
        if _FRENCH.match(rest):
            number += letter
        elif letter.strip().upper() in "NSEW" or _KIND.fullmatch(rest):
            rest = f"{letter.strip()} {rest}"
        else:
            raise ValueError(f"{shown(street)} may have the house number {number} or {number}{letter.strip()}")
    return Split(number, rest.strip())


def _last(street: str) -> Split | None:
    """A number at the end, unless it is part of the name: Highway 61, Calle 50, du 8 Mai 1945."""
    if found := _GLUED.fullmatch(street):
        return Split(found["number"], found["street"])
    if found := _MARKED.fullmatch(street):
        return Split(found["number"].strip(), found["street"].strip())
    found = _LAST.fullmatch(street)
    if found is None:
        return None
    name, number = found["street"].strip(), found["number"].strip()
    words = name.split()
    if _ROAD.search(name) or (len(words) == 1 and _KIND.fullmatch(name)):
        return None
    if len(words) > 1 and _YEAR.fullmatch(number) and _begins_with_month(words[-1]) and _DAY.fullmatch(words[-2]):
        return None
    return Split(number, name)


def _without_unit(part: str) -> tuple[str, str]:
    """A part without the flat, floor or door at its end: "Main St 1 Apt 5" -> "Main St 1", "Apt 5"."""
    for gap in re.finditer(r" ", part):
        if gap.start() and _UNIT.fullmatch(part, gap.end()) and any(c.isdigit() for c in part[: gap.start()]):
            return part[: gap.start()], part[gap.end() :].removeprefix("- ")
    return part, ""


def _begins_with_month(text: str) -> bool:
    word = re.match(r"(?:de |di |d'|of )?([^\W\d_]+)", text.casefold())
    return word is not None and word[1] in _months()


@cache
def _months() -> frozenset[str]:
    """Names of months in the languages whose streets are called after days."""
    from babel import Locale

    found: set[str] = set()
    for language in _NAMED_AFTER_DAYS:
        for context in ("format", "stand-alone"):
            found |= {str(name).casefold() for name in Locale.parse(language).months[context]["wide"].values()}
    return frozenset(found - {"may"})
