"""Filters over people's names, by nameparser, which knows titles, suffixes and particles such as "van der"."""

from __future__ import annotations

import tomllib
import unicodedata
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated

from sorbus.mapping.errors import shown
from sorbus.mapping.filters.registry import rule_filter
from sorbus.mapping.types import TEXT

if TYPE_CHECKING:
    from nameparser import ParsedName, Parser

_LONGEST = 500
_PARTS = ("title", "given", "middle", "family", "suffix", "nickname")
_ORDERS = ("given first", "family first")
_STYLES = ("given family", "family given", "family, given")


def _one_of(*words: str) -> object:
    def check(word: str) -> None:
        if word not in words:
            raise ValueError(f"{shown(word)} is none of {', '.join(words)}")

    return check


def _check_surnames(count: int) -> None:
    if count not in (0, 1, 2):
        raise ValueError(f"surnames={count} is none of 1 and 2")


Surnames = Annotated[int, _check_surnames]
PartName = Annotated[str, _one_of(*_PARTS)]
Order = Annotated[str, _one_of(*_ORDERS)]
Style = Annotated[str, _one_of(*_STYLES)]


@rule_filter(takes=TEXT, gives="string")
def name_part(value: str, part: PartName, order: Order = "given first", surnames: Surnames = 0) -> str:
    """One part of a person's full name, empty if it has none: `"Dr. Sarah Jane Smith" | name_part("middle")` is Jane.

    Parts: title, given, middle, family, suffix, nickname. Particles stay with the family name (van der Berg), and
    "Family, Given" is recognised; for names written family first without a comma: `name_part("given", "family first")`.
    For two family names (Gabriel García Márquez) write `surnames=2`, for one `surnames=1`; without it, an ambiguous
    name is rejected.
    """
    return _parts(value, order, surnames)[part]


@rule_filter(takes=TEXT, gives="string")
def first_name(value: str, order: Order = "given first", surnames: Surnames = 0) -> str:
    """Given and middle names of a full name, for systems with one field for both: `value | first_name`.

    `surnames` as for `name_part`.
    """
    parts = _parts(value, order, surnames)
    return " ".join(part for part in (parts["given"], parts["middle"]) if part)


@rule_filter(takes=TEXT, gives="string")
def last_name(value: str, order: Order = "given first", surnames: Surnames = 0) -> str:
    """The family name of a full name with its particles, empty for a single word: `value | last_name`.

    `surnames` as for `name_part`: `"Gabriel García Márquez" | last_name(surnames=2)` is García Márquez.
    """
    return _parts(value, order, surnames)["family"]


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
    """Capitalises a name written all in upper or lower case: `"JAN VAN DER BERG" | name_case`; others stay."""
    from nameparser import parse

    if value not in (value.upper(), value.lower()):
        return value
    return str(parse(_bounded(value)).capitalized())


def _joined(*parts: object) -> str:
    words = []
    for part in parts:
        if part is not None and not isinstance(part, str):
            raise ValueError(f"{shown(part)} is not text; write `| text` behind it")
        words += (part or "").split()
    return " ".join(words)


def _parts(value: str, order: str, surnames: int) -> dict[str, str]:
    name, known = _parsed(value, order), _spanish_names()
    parts = {part: str(getattr(name, part)) for part in _PARTS}
    middle, family = parts["middle"].split(), _whole_names(parts["family"])
    # "Family, Given" and "family first" determine where the family names end.
    if order != "given first" or "," in value or not middle or surnames == 1 or len(family) > 1:
        return parts
    if surnames == 0:
        is_spanish = middle[-1:] if len(middle) == 1 else [middle[-1], *family]
        if _plain(middle[-1]) not in known["second_given_names"] and known["surnames"] & {*map(_plain, is_spanish)}:
            raise ValueError(
                f"{shown(value)} may have one family name or two ({middle[-1]} {parts['family']}): "
                "say which, as in last_name(surnames=2)"
            )
        return parts
    if len(middle) == 1 and _plain(middle[0]) in known["second_given_names"]:
        raise ValueError(f"{shown(value)} may have two given names or two family names: map its parts by hand")
    first = len(middle) - 1
    while first > 0 and _plain(middle[first - 1]) in known["particles"]:
        first -= 1
    return {**parts, "middle": " ".join(middle[:first]), "family": " ".join((*middle[first:], parts["family"]))}


def _whole_names(family: str) -> list[str]:
    return [word for word in family.split() if _plain(word) not in _spanish_names()["particles"]]


@cache
def _spanish_names() -> dict[str, frozenset[str]]:
    read = tomllib.loads((files(__package__) / "spanish_names.toml").read_text(encoding="utf-8"))
    return {kind: frozenset(map(_plain, words)) for kind, words in read.items()}


def _plain(word: str) -> str:
    """Without case and accents, as in ASCII exports."""
    letters = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


@lru_cache(maxsize=4096)
def _parsed(value: str, order: str) -> ParsedName:
    return _parser(order).parse(_bounded(value))


def _bounded(value: str) -> str:
    if len(value) > _LONGEST:
        raise ValueError(f"{shown(value)} is too long for a name")
    return value


@cache
def _parser(order: str) -> Parser:
    from nameparser import FAMILY_FIRST, GIVEN_FIRST, Parser, Policy

    return Parser(policy=Policy(name_order=FAMILY_FIRST if order == "family first" else GIVEN_FIRST))
