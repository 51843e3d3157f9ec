"""Filters over text."""

from __future__ import annotations

import re
import unicodedata
from datetime import date, datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

from sorbus.mapping.errors import shown
from sorbus.mapping.filters.moment import ZoneName
from sorbus.mapping.filters.registry import rule_filter
from sorbus.mapping.types import LIST, SCALAR, TEXT

_MOST = 1_000_000
_WORD = re.compile(r"[^\s\-]+")
_SPELLED = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ħ": "h", "ŋ": "n"}
)
"""Latin letters that Unicode doesn't decompose into a letter and an accent."""


@rule_filter(takes=TEXT, gives="string", weight="light")
def trim(value: str) -> str:
    """Removes white space at both ends: `value | trim`."""
    return value.strip()


@rule_filter(takes=TEXT, gives="string", weight="light")
def upper(value: str) -> str:
    """Upper case: `value | upper`."""
    return value.upper()


@rule_filter(takes=TEXT, gives="string", weight="light")
def lower(value: str) -> str:
    """Lower case: `value | lower`."""
    return value.lower()


@rule_filter(takes=TEXT, gives="string", weight="light")
def title(value: str) -> str:
    """Each word with a capital, the rest small: `"ANNA-MARIA o'neill" | title` is Anna-Maria O'neill."""
    if value.isascii() and value.isprintable() and "-" not in value:
        return " ".join([word.capitalize() for word in value.split(" ")])
    return _WORD.sub(lambda word: word[0][:1].upper() + word[0][1:].lower(), value)


@rule_filter(takes=TEXT, gives="string", weight="light")
def truncate(value: str, length: int, end: str = "") -> str:
    """At most `length` characters, ending in `end` if truncated: `value | truncate(40, "…")`.

    `sorbus map explain` and `sorbus preview --explain` show how many characters were cut.
    """
    if length < len(end):
        raise ValueError(f"truncate({length}) leaves no room for its end {shown(end)}")
    return value if len(value) <= length else value[: length - len(end)] + end


@rule_filter(takes=TEXT, gives="string", weight="light")
def replace(value: str, old: str, new: str) -> str:
    """Replaces every `old` with `new`: `value | replace("-", "")`."""
    if not old:
        raise ValueError("the text to replace is empty: write one")
    made = value.replace(old, new)
    return made if len(made) <= _MOST else bounded(made)


@rule_filter(takes=TEXT, gives="string", weight="middling")
def slug(value: str) -> str:
    """Lower-case letters, digits and hyphens only, accents removed: `"Blauer See Delikatessen" | slug`.

    Letters with a usual Latin spelling get it (ß is ss, ø is o); letters of another script are rejected.
    """
    plain = unicodedata.normalize("NFKD", value.lower().translate(_SPELLED)).lower()
    if any(letter.isalnum() and not letter.isascii() for letter in plain):
        raise ValueError(f"{shown(value)} has letters that no slug can hold; write another rule for its script")
    return re.sub(r"[^a-z0-9]+", "-", plain.encode("ascii", "ignore").decode()).strip("-")


@rule_filter(takes=TEXT, gives="array", weight="middling")
def split(value: str, separator: str) -> list[str]:
    """A list of the trimmed parts between separators, without empty ones: `value | split(";")`."""
    if not separator:
        raise ValueError("the separator is empty: write one")
    return [piece.strip() for piece in value.split(separator) if piece.strip()]


@rule_filter(takes=LIST, gives="string", weight="middling")
def join(value: list[object], separator: str = ", ") -> str:
    """A list as one text, without nulls: `value | join("; ")`."""
    return bounded(separator.join(as_text(item) for item in value if item is not None))


@rule_filter(takes=SCALAR, gives="string", sees_null=True, weight="light")
def concat(value: object, *more: object) -> str:
    """Concatenates several values, without nulls: `record.first_name | concat(" ", record.last_name)`."""
    return bounded("".join([as_text(item) for item in (value, *more)]))


@rule_filter(takes=SCALAR, gives="string", weight="middling")
def text(value: object, format: str = "", tz: ZoneName = "UTC") -> str:
    """A value as text; dates and times by `format` if given: `value | text("%d.%m.%Y")`, in the time zone `tz`."""
    if not format:
        return as_text(value)
    if not isinstance(value, date | time):
        raise ValueError(f"a format is for dates and times, not for {shown(value)}: write text without one")
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(ZoneInfo(tz))
    return value.strftime(format)


def as_text(value: object) -> str:
    """A value as text: null as empty, decimals without exponent, times in ISO 8601; ValueError for other types."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        if abs(value.adjusted()) > _MOST:  # 1e999999999 in a JSON document
            raise ValueError(f"{shown(value)} has too many digits to be written out")
        return format(value, "f")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list | tuple | dict):
        raise ValueError(f"{shown(value)} is not a single value; write `| join` for a list")
    return str(value)


def bounded(text: str) -> str:
    """`text`, unless a rule has made it too long."""
    if len(text) > _MOST:
        raise ValueError(f"the result has {len(text)} characters; a rule may make at most {_MOST}")
    return text
