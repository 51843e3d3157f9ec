"""Detects a column's format from its values: e-mail addresses, telephone numbers, dates in some format."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple

_ENOUGH = 0.9
_FEWEST = 3
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]{2,}")
_URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_PHONE = re.compile(r"(?:\+|00|0|\()[\d\s()./-]{6,22}")
_COMMA = re.compile(r"-?\d{1,3}(?:\.\d{3})*,\d+|-?\d+,\d+")
_POINT = re.compile(r"-?\d{1,3}(?:,\d{3})+\.\d+|-?\d+(?:\.\d+)?")
_FORMATS = ("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%d-%b-%Y", "%d %b %Y", "%Y/%m/%d")


class Looks(NamedTuple):
    """A detected format in words; the rules that read it, and what the values leave open, if anything."""

    what: str
    rule: str = ""
    doubt: str = ""


def looks_of(values: Sequence[object]) -> Looks | None:
    """The format of nearly all of a column's texts; None if there are too few, or the format is unknown."""
    texts = [text for value in values if isinstance(value, str) and (text := value.strip())]
    if len(texts) < _FEWEST:
        return None
    if (date := _date(texts)) is not None:
        return date
    for looks, is_such in _KINDS:
        if sum(map(is_such, texts)) >= _ENOUGH * len(texts):
            return looks
    return None


def wanted_look(field: str, kind: str) -> str:
    """The expected format of a canonical field, by its name and type; "" if unknown."""
    words = field.split("_")
    if kind in ("date", "timestamp"):
        return "a date"
    if kind != "string":
        return ""
    for word, what in _BY_NAME.items():
        if word in words and "method" not in words:
            return what
    return ""


TELLING = frozenset({"an e-mail address", "a web address", "an IBAN", "a telephone number", "a date"})
"""Formats that a field without an expected format is unlikely to have."""
_BY_NAME: Mapping[str, str] = {
    "email": "an e-mail address",
    "phone": "a telephone number",
    "mobile": "a telephone number",
    "website": "a web address",
    "iban": "an IBAN",
    "country": "a country",
    "currency": "a currency code",
}


def _date(texts: Sequence[str]) -> Looks | None:
    """Dates as text: every value counts, since one that doesn't parse is a record that fails."""
    fitting = [each for each in _FORMATS if all(_parses(text, each) for text in texts)]
    if not fitting:
        return None
    first = fitting[0]
    rule = "value | date" if first == "%Y-%m-%d" else f'value | date("{first}")'
    if len(fitting) > 1:
        ways = " or ".join(f'date("{each}")' for each in fitting)
        return Looks("a date", "", f"which of day and month comes first ({ways}) is ambiguous in {len(texts)} values")
    return Looks("a date", rule)


def _parses(text: str, format: str) -> bool:
    try:
        datetime.strptime(text, format)
    except ValueError:
        return False
    return True


@cache
def _countries() -> frozenset[str]:
    import pycountry

    return frozenset(name.lower() for each in pycountry.countries for name in _names(each))


def _names(country: object) -> Iterator[str]:
    for name in ("alpha_2", "name", "common_name"):
        if isinstance(found := getattr(country, name, None), str):
            yield found


@cache
def _currencies() -> frozenset[str]:
    import pycountry

    return frozenset(str(each.alpha_3) for each in pycountry.currencies)


def _is_iban(text: str) -> bool:
    from stdnum import iban

    return bool(iban.is_valid(text))


def _is_phone(text: str) -> bool:
    return _PHONE.fullmatch(text) is not None and sum(letter.isdigit() for letter in text) >= 7


_KINDS: Sequence[tuple[Looks, Callable[[str], bool]]] = (
    (Looks("an e-mail address"), lambda text: _EMAIL.fullmatch(text) is not None),
    (Looks("a web address"), lambda text: _URL.fullmatch(text) is not None),
    (Looks("an IBAN"), _is_iban),
    (Looks("a telephone number"), _is_phone),
    (Looks("a country", "value | country"), lambda text: text.lower() in _countries()),
    (Looks("a currency code"), lambda text: text in _currencies()),
    (Looks("yes or no", "value | boolean"), lambda text: text.lower() in ("y", "n", "yes", "no", "true", "false")),
    (Looks("a number", "value | decimal"), lambda text: re.fullmatch(r"-?\d+(\.\d+)?", text) is not None),
    (Looks("a number", 'value | decimal(group=",")'), lambda text: _POINT.fullmatch(text) is not None),
    (Looks("a number", 'value | decimal(",", ".")'), lambda text: _COMMA.fullmatch(text) is not None),
)
