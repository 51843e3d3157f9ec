"""Normal forms of match keys: two records have the same e-mail address if their normal forms are equal.

The forms are never shown, and never guess: no provider-specific rules for addresses (dots, +tags), no default country
for a national telephone number. Placeholders ("n/a", "-", "000") count as no value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Literal
from unicodedata import normalize

from sorbus.schema import Kind, SchemaField

Form = Literal["email", "phone", "code", "web", "name", "number", "text"]

_BY_WORD: Mapping[Form, frozenset[str]] = {
    "email": frozenset({"email", "mail"}),
    "phone": frozenset({"phone", "mobile", "telephone", "fax", "cell"}),
    "web": frozenset({"website", "url", "domain", "homepage"}),
    "code": frozenset({"number", "sku", "gtin", "ean", "isbn", "code", "barcode", "iban", "vat", "id", "account"}),
    "name": frozenset({"name", "title"}),
}
_NUMBERS: frozenset[Kind] = frozenset({"int", "long", "float", "double", "decimal"})
_NOTHING = frozenset({"n/a", "na", "none", "null", "nil", "unknown", "tbd", "tba", "-", "--", ".", "?", "x", "xxx"})
_UNSEEN = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*://")
_PHONE_END = re.compile(r"[^\W\d_]|[;,/]")
_POINT = re.compile(r"(?<![\d.,])(\d+)[.,](\d{1,2})(?![\d.,])")
_STROKE = re.compile(r"(?<![\d/])(\d+)[/\u2044](\d{1,2})(?![\d/])")
_GROUP_END = re.compile("\\d(?=[-_.,:/\u2010-\u2015]\\d)")
_REGISTERED = 9
"""Digits from which on a code is likely of a register of companies, persons or accounts."""
_GROUPING = re.compile("[\\s_.,:;/'()\u2044\u2010-\u2015\u2212-]|^#(?=\\d)")


def form_of(field: SchemaField) -> Form:
    """The form of a canonical field: by a tag that names it, else by its type, else by the words in its name."""
    for form in (*_BY_WORD, "number", "text"):
        if form in field.tags:
            return form
    if field.type.kind in _NUMBERS:
        return "number"
    if field.type.kind == "uuid":
        return "code"
    words = set(field.name.casefold().split("_"))
    return next((form for form, known in _BY_WORD.items() if words & known), "text")


def normalise(form: Form, value: object) -> str | None:
    """A form of `value` that is equal for equal things; None if it holds nothing to match.

    Idempotent.
    """
    written = _written(value)
    return None if written is None else _form(form, written)


@lru_cache(1 << 16)
def _form(form: Form, written: str) -> str | None:
    if folded(written) in _NOTHING:
        return None
    while (again := _FORMS[form](written)) != written:
        written = again
    return written if written and written not in _NOTHING else None


def may_differ(form: Form, one: object, other: object) -> bool:
    """Whether two values with the same normal form may be of two things, by what the form leaves out: a code's signs
    (1.5 and 15, A+ and A-) and groups (100-12 and 1001-2), a telephone's extension, an address's query.
    """
    texts = [folded(_written(value) or "") for value in (one, other)]
    match form:
        case "code":
            return len({_with_signs(text) for text in texts}) > 1 or _are_grouped_apart(*texts)
        case "phone":
            ends = [_PHONE_END.search(text) for text in texts]
            left = {"".join(filter(str.isdecimal, end.string[end.start() :])) for end in ends if end is not None}
        case "web":
            left = {text.partition(text[end.start()])[2] for text in texts if (end := re.search("[?#]", text))}
        case _:
            return False
    return len(left - {""}) > 1


def _with_signs(code: str) -> str:
    """A folded code without what only groups it; a point or stroke with at most two digits behind it is a number's."""
    kept = _STROKE.sub("\\1\N{DIVISION SLASH}\\2", _POINT.sub("\\1\N{MIDDLE DOT}\\2", code))
    return _GROUPING.sub("", kept)


def _are_grouped_apart(one: str, other: str) -> bool:
    """Whether both folded codes have groups of digits that contradict each other, and too few digits to be a
    register's number, which people group as they like.
    """
    mine, theirs = _groups(one), _groups(other)
    return sum(map(str.isdecimal, one)) < _REGISTERED and not (mine <= theirs or theirs <= mine)


def _groups(code: str) -> set[int]:
    """After how many letters and digits groups of digits end."""
    return {sum(map(str.isalnum, code[: found.end()])) for found in _GROUP_END.finditer(code)}


def folded(text: str) -> str:
    """Unicode's compatibility form, case-folded, without invisible characters and repeated spaces (UAX 15)."""
    return " ".join(normalize("NFKC", _UNSEEN.sub("", text).casefold()).split())


def _written(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(Decimal(repr(value)))
    if isinstance(value, datetime) and value.tzinfo is not None:
        try:
            return value.astimezone(UTC).isoformat()
        except OverflowError:  # outside the calendar in UTC: not comparable
            return None
    if value is None or isinstance(value, list | tuple | dict | bytes | bytearray):
        return None
    return str(value)


def _address(text: str) -> str:
    """Like `folded`, but a sharp s stays one: strasse.example is another domain than straße.example."""
    return "".join(normalize("NFKC", _UNSEEN.sub("", text).lower()).split())


def _email(text: str) -> str:
    address = _address(text)
    local, _, domain = address.rpartition("@")
    return address if local and domain else ""


def _phone(text: str) -> str:
    number = folded(text).replace("(0)", "")
    if end := _PHONE_END.search(number):
        number = number[: end.start()]
    digits = "".join(letter for letter in number if letter.isdecimal())
    digits = re.sub(r"^(?:00)+", "", digits)
    return digits if len(digits) >= 5 else ""


def _code(text: str) -> str:
    letters = "".join(letter for letter in folded(text) if letter.isalnum()).upper()
    nothing = not letters.strip("0") or letters.casefold() in _NOTHING
    return "" if nothing else letters


def _web(text: str) -> str:
    address = _SCHEME.sub("", _address(text))
    address = re.split(r"[?#]", address, maxsplit=1)[0]
    host, slash, path = address.partition("/")
    host = re.sub(r":(?:80|443)$", "", host.rpartition("@")[2]).removeprefix("www.").rstrip(".")
    return f"{host}{slash}{path}".rstrip("/") if host else ""


def _name(text: str) -> str:
    return " ".join("".join(letter if letter.isalnum() else " " for letter in folded(text)).split())


def _number(text: str) -> str:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return folded(text)
    if not number.is_finite() or abs(number.adjusted()) > 40:
        return folded(text)
    written = f"{number:f}" if number else "0"
    return written.rstrip("0").rstrip(".") if "." in written else written


_FORMS: Mapping[Form, Callable[[str], str]] = {
    "email": _email,
    "phone": _phone,
    "code": _code,
    "web": _web,
    "name": _name,
    "number": _number,
    "text": folded,
}
