"""Filters over numbers that identify whoever is taxed or paid: tax numbers and IBANs, with their check digits.

By python-stdnum: each country's own rules for tax numbers, ISO 13616 for IBANs.
"""

from __future__ import annotations

import re
from functools import lru_cache
from unicodedata import normalize

from sorbus.mapping.errors import shown
from sorbus.mapping.filters.code import country as country_code
from sorbus.mapping.filters.registry import rule_filter
from sorbus.mapping.types import TEXT

_IBAN_SAID = re.compile(r"^IBAN\b[\s:.]*")


@rule_filter(takes=TEXT, gives="string")
@lru_cache(maxsize=4096)
def tax_number(value: str, country: str = "") -> str:
    """A VAT or tax number with valid check digits, prefixed by its country: `"136 695 976" | tax_number("DE")`.

    Without `country`, it is taken from the number's first two letters: `"DE136695976" | tax_number`.
    """
    from stdnum import get_cc_module
    from stdnum.exceptions import ValidationError

    written = "".join(letter for letter in value.upper() if letter.isalnum())
    where = country_code(country) if country else "GR" if written[:2] == "EL" else written[:2]
    # A Swiss number is the same with or without the tax's abbreviation after it.
    kind = "uid" if where == "CH" else "vat"
    written = written.removesuffix("MWST").removesuffix("TVA").removesuffix("IVA") if where == "CH" else written
    module = get_cc_module(where.lower(), kind) if where.isalpha() else None
    if module is None:
        known = "its first letters name no known country" if not country else f"{where} has none that can be checked"
        raise ValueError(f"{shown(value)} can't be checked as a tax number: {known}")
    prefix = "EL" if where == "GR" else where
    try:
        number = str(module.validate(written.removeprefix(prefix) if where != "CH" else written))
    except ValidationError as error:
        raise ValueError(f"{shown(value)} is not a valid tax number of {where}: {error}") from None
    return number if number.startswith(prefix) else prefix + number


@rule_filter(takes=TEXT, gives="string")
@lru_cache(maxsize=4096)
def iban(value: str) -> str:
    """A bank account number without spaces, its check digits checked: `"DE89 3704 0044 0532 0130 00" | iban`."""
    from stdnum import iban as standard
    from stdnum.exceptions import ValidationError

    written = normalize("NFKC", value).strip().upper()
    written = _IBAN_SAID.sub("", written)
    try:
        return str(standard.validate(written))
    except ValidationError as error:
        raise ValueError(f"{shown(value)} is not a valid IBAN: {error}") from None
