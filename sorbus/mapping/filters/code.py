"""Filters that turn names into ISO codes."""

from __future__ import annotations

import unicodedata
from functools import cache, lru_cache

from sorbus.mapping.errors import shown
from sorbus.mapping.filters.registry import rule_filter
from sorbus.mapping.types import TEXT

_ALSO_COUNTRIES = {
    "uk": "GB",
    "great britain": "GB",
    "britain": "GB",
    "england": "GB",
    "scotland": "GB",
    "wales": "GB",
    "northern ireland": "GB",
    "u.k.": "GB",
    "u.s.a.": "US",
    "u.s.": "US",
    "united states of america": "US",
    "america": "US",
    "holland": "NL",
    "the netherlands": "NL",
    "czech republic": "CZ",
    "ivory coast": "CI",
    "turkey": "TR",
    "russia": "RU",
    "south korea": "KR",
    "north korea": "KP",
    "vietnam": "VN",
    "macau": "MO",
    "burma": "MM",
    "cape verde": "CV",
    "swaziland": "SZ",
}


@rule_filter(takes=TEXT, gives="string", weight="middling")
@lru_cache(maxsize=4096)
def country(value: str) -> str:
    """A country's name or code as ISO 3166-1 alpha-2: `"Germany" | country` is DE, `"UK" | country` is GB."""
    if not value.strip():
        raise ValueError('the country is blank; write `value | nullif("") | country` if it may be')
    try:
        return _countries()[_folded(value)]
    except KeyError:
        raise ValueError(f"no country is called {shown(value)}; translate it with a lookup table first") from None


@rule_filter(takes=TEXT, gives="string", weight="middling")
@lru_cache(maxsize=4096)
def currency(value: str) -> str:
    """A currency's code or English name as ISO 4217 code: `"Euro" | currency` is EUR."""
    try:
        return _currencies()[_folded(value)]
    except KeyError:
        raise ValueError(f"no currency is called {shown(value)}; translate it with a lookup table first") from None


@cache
def _countries() -> dict[str, str]:
    import pycountry

    found = dict(_ALSO_COUNTRIES)
    for item in pycountry.countries:
        for name in ("alpha_2", "alpha_3", "numeric", "name", "official_name", "common_name"):
            if written := getattr(item, name, None):
                found[_folded(written)] = item.alpha_2
    return found


@cache
def _currencies() -> dict[str, str]:
    import pycountry

    found = {"€": "EUR"}
    for item in pycountry.currencies:
        for written in (item.alpha_3, item.numeric, item.name):
            found[_folded(written)] = item.alpha_3
    return found


def _folded(text: str) -> str:
    """Without case, accents and repeated white space."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(letter for letter in plain if not unicodedata.combining(letter)).split())
