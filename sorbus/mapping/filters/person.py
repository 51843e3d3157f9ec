"""Filters over people's names, by nameparser, which knows titles, suffixes and particles such as "van der"."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Annotated

from sorbus.mapping.failure import shown
from sorbus.mapping.filters.registry import rule_filter
from sorbus.mapping.kinds import TEXT

if TYPE_CHECKING:
    from nameparser import ParsedName, Parser

_PARTS = ("title", "given", "middle", "family", "suffix", "nickname")
_ORDERS = ("given first", "family first")
_STYLES = ("given family", "family given", "family, given")


def _one_of(*words: str) -> object:
    def check(word: str) -> None:
        if word not in words:
            raise ValueError(f"{shown(word)} is none of {', '.join(words)}")

    return check


PartName = Annotated[str, _one_of(*_PARTS)]
Order = Annotated[str, _one_of(*_ORDERS)]
Style = Annotated[str, _one_of(*_STYLES)]


@rule_filter(takes=TEXT, gives="string")
def name_part(value: str, part: PartName, order: Order = "given first") -> str:
    """One part of a person's full name, empty if it has none: `"Dr. Sarah Jane Smith" | name_part("middle")` is Jane.

    Parts: title, given, middle, family, suffix, nickname. Particles stay with the family name (van der Berg), and
    "Family, Given" is understood; for names written family first without a comma: `name_part("given", "family first")`.
    """
    found: str = getattr(_parsed(value, order), part)
    return found


@rule_filter(takes=TEXT, gives="string")
def first_name(value: str, order: Order = "given first") -> str:
    """Given and middle names of a full name, for systems with one field for both: `value | first_name`."""
    name = _parsed(value, order)
    return " ".join(part for part in (name.given, name.middle) if part)


@rule_filter(takes=TEXT, gives="string")
def last_name(value: str, order: Order = "given first") -> str:
    """The family name of a full name with its particles, empty for a single word: `value | last_name`."""
    return _parsed(value, order).family


@rule_filter(takes=TEXT, gives="string", sees_null=True)
def full_name(
    value: str | None,
    family: object,
    middle: object = None,
    title: object = None,
    suffix: object = None,
    style: Style = "given family",
) -> str:
    """A full name from its parts: `record.given | full_name(record.family, title=record.title)`.

    Styles: "given family" (Dr. Sarah Jane Smith Jr.), "family given", "family, given" (Smith, Sarah Jane).
    """
    given = _joined(value, middle)
    if style == "given family":
        return _joined(title, given, family, suffix)
    if style == "family given":
        return _joined(title, family, given, suffix)
    return ", ".join(part for part in (_joined(family), _joined(title, given, suffix)) if part)


@rule_filter(takes=TEXT, gives="string")
@lru_cache(maxsize=4096)
def name_case(value: str) -> str:
    """A name written in capitals or small letters as names are: `"JAN VAN DER BERG" | name_case`; others stay."""
    from nameparser import parse

    return value if value not in (value.upper(), value.lower()) else str(parse(value).capitalized())


def _joined(*parts: object) -> str:
    words = []
    for part in parts:
        if part is not None and not isinstance(part, str):
            raise ValueError(f"{shown(part)} is no text; write `| text` behind it")
        words += (part or "").split()
    return " ".join(words)


@lru_cache(maxsize=4096)
def _parsed(value: str, order: str) -> ParsedName:
    return _parser(order).parse(value)


@cache
def _parser(order: str) -> Parser:
    from nameparser import FAMILY_FIRST, GIVEN_FIRST, Parser, Policy

    return Parser(policy=Policy(name_order=FAMILY_FIRST if order == "family first" else GIVEN_FIRST))
