"""Filters over amounts of money, exact to the last unit. Locales and symbols by Babel (Unicode CLDR).

The number of decimals of a currency is ISO 4217's, not CLDR's, whose figures are for display.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, Inexact
from functools import cache, lru_cache
from typing import Annotated

from sorbus.mapping.errors import shown
from sorbus.mapping.filters.code import currency as currency_code
from sorbus.mapping.filters.digits import plain
from sorbus.mapping.filters.number import as_decimal
from sorbus.mapping.filters.registry import rule_filter
from sorbus.mapping.types import EXACT, NUMBER, TEXT

_NONE = frozenset({"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV"})
_NONE_IN_FRANCS = frozenset({"XAF", "XOF", "XPF"})
_THREE = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})
_FOUR = frozenset({"CLF", "UYW"})
_MINOR_UNITS = {**dict.fromkeys(_NONE | _NONE_IN_FRANCS, 0), **dict.fromkeys(_THREE, 3), **dict.fromkeys(_FOUR, 4)}
"""ISO 4217, list one: currencies without exactly two decimals."""
_EXACT = Context(prec=60, traps=[Inexact])
_LONGEST = 100
_CODE = re.compile(r"(?<![A-Za-z])[A-Z]{3}(?![A-Za-z])")
_BESIDE = r"[^\d\s+().,-][^\d+()-]{0,19}?"
_MONEY = re.compile(
    rf"(?:(?P<outside>{_BESIDE}) ?(?=\())?(?P<open>\()?(?P<sign>[+-])? ?(?P<before>{_BESIDE})? ?(?P<inner>[+-])? ?"
    r"(?P<number>(?:(?:^|(?<=[(+-]))[.,])?\d(?:[\d.,' ]*\d)?)(?P<whole>[.,](?:--?|\u2014)?|\.?/-)? ?"
    rf"(?P<after>{_BESIDE})? ?(?P<behind>-)?(?P<close>\))?"
)
"""Sign, currency, sign, digits and marks, a dash for no cents (5,- and 500/-), currency, sign; or all in brackets."""


def _check_locale(name: str) -> None:
    from babel import Locale, UnknownLocaleError

    try:
        Locale.parse(name.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        raise ValueError(f"{shown(name)} is not a valid locale; write one such as en_GB or de_DE") from None


def _check_currency(code: str) -> None:
    if code and (len(code) != 3 or currency_code(code) != code):
        raise ValueError(f"{shown(code)} is not a valid ISO 4217 code; write one such as EUR")


LocaleName = Annotated[str, _check_locale]
Code = Annotated[str, _check_currency]


@rule_filter(takes=TEXT | NUMBER, gives="decimal")
def money(value: object, locale: LocaleName = "en_US") -> Decimal:
    """An exact amount in a locale's format, its currency removed: `"1.234,50 €" | money("de_DE")`.

    (1,234.50) and 1,234.50- are negative; 5,- and 500/- have no cents. Misplaced marks are rejected, so that 1.234 is
    never read as 1,234, and so is any text beside the amount that is not a valid currency.
    """
    if not isinstance(value, str):
        return as_decimal(value)
    from babel.numbers import NumberFormatError, parse_decimal

    found = _MONEY.fullmatch(" ".join(plain(value).replace("\u2019", "'").split())) if len(value) <= _LONGEST else None
    if found is None or bool(found["open"]) != bool(found["close"]):
        raise ValueError(f"{shown(value)} is not a valid amount as {locale} writes it")
    for written in (found["outside"], found["before"], found["after"]):
        _check_symbols(written or "", locale, value)
    signs = [sign for sign in (found["open"], found["sign"], found["inner"], found["behind"]) if sign]
    if len(signs) > 1:
        raise ValueError(f"{shown(value)} has more than one sign")
    number = found["number"].strip()
    group = _group(locale)
    if group.isspace():
        if "." in number and not re.fullmatch(r"\d+\.\d{1,2}", number):
            raise ValueError(
                f"{shown(value)} is not a valid amount as {locale} writes it: its full stop may group or divide"
            )
        number = number.replace(" ", group)
    elif group in "'\u2019":
        number = number.replace("'", group)
    try:
        amount = parse_decimal(number, locale=locale.replace("-", "_"), strict=True)
    except (NumberFormatError, ValueError):
        raise ValueError(f"{shown(value)} is not a valid amount as {locale} writes it") from None
    return -amount if signs and signs[0] in "(-" else amount


@rule_filter(takes=TEXT, gives="string")
@lru_cache(maxsize=4096)
def money_currency(value: str, default: Code = "") -> str:
    """The ISO 4217 code of an amount's currency: `"€ 5" | money_currency` is EUR; `default` if there is none.

    A symbol of several currencies ($, ¥, kr) needs `default` to say which one it is.
    """
    text = plain(value)
    if code := _CODE.search(text.strip()):
        return currency_code(code[0])
    if found := _symbol().search(text):
        codes = _symbols()[found[0]]
        if len(codes) == 1:
            return next(iter(codes))
        if default in codes:
            return default
        raise ValueError(
            f'{shown(value)} may be {", ".join(sorted(codes)[:6])} …: say which, as in money_currency("USD")'
        )
    if default:
        return default
    raise ValueError(f'{shown(value)} names no currency; say which if there is none, as in money_currency("EUR")')


@rule_filter(takes=EXACT, gives="long", weight="middling")
def minor_units(value: object, currency: Code) -> int:
    """An amount in the currency's smallest units, as payment systems require: `value | minor_units("EUR")`.

    A fraction of the smallest unit is rejected: write `| round(2)` first if it may be lost.
    """
    number = as_decimal(value)
    units = number.scaleb(places_of(currency), _EXACT)
    if units != units.to_integral_value():
        raise ValueError(f"{shown(value)} has more decimals than {currency} has; write `| round(…)` to lose them")
    return int(units)


@rule_filter(takes=EXACT, gives="decimal", weight="middling")
def from_minor_units(value: object, currency: Code) -> Decimal:
    """An amount from the currency's smallest units: `1999 | from_minor_units("EUR")` is 19.99."""
    number = as_decimal(value)
    if number != number.to_integral_value():
        raise ValueError(f"{shown(value)} is not a whole number of units")
    return number.scaleb(-places_of(currency), _EXACT)


@rule_filter(takes=EXACT, gives="string")
def money_text(value: object, locale: LocaleName, currency: Code = "") -> str:
    """An amount in a locale's format, with every decimal: `value | money_text("de_DE", "EUR")`."""
    from babel.numbers import format_currency, format_decimal

    number, name = as_decimal(value), locale.replace("-", "_")
    if currency:
        places = max(places_of(currency), _decimals(number))
        pattern = _currency_pattern(name, places)
        return format_currency(
            number, currency, pattern, locale=name, currency_digits=False, decimal_quantization=False
        )
    return format_decimal(number, locale=name, decimal_quantization=False)


def places_of(currency: str) -> int:
    """The number of decimals of a currency (ISO 4217)."""
    return _MINOR_UNITS.get(currency, 2)


def _decimals(number: Decimal) -> int:
    exponent = number.normalize(_EXACT).as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _check_symbols(written: str, locale: str, value: str) -> None:
    """Text beside an amount must be one currency, by code, symbol or name, or by two of them (USD $)."""
    words = written.split()
    if written.strip() in _symbols_in(locale) or all(word in _symbols_in(locale) for word in words):
        return
    for word in words:
        try:
            word in _symbols_in(locale) or currency_code(word)
        except ValueError:
            raise ValueError(
                f"{shown(value)} has {shown(word)} beside the amount, which is not a valid currency"
            ) from None


@cache
def _symbols_in(locale: str) -> tuple[str, ...]:
    """Every symbol used in a locale, longest first."""
    from babel import Locale

    own = Locale.parse(locale.replace("-", "_")).currency_symbols.values()
    return tuple(sorted({*_symbols(), *(plain(symbol).strip() for symbol in own)} - {""}, key=len, reverse=True))


@cache
def _group(locale: str) -> str:
    from babel.numbers import get_group_symbol

    return get_group_symbol(locale.replace("-", "_"))


@cache
def _currency_pattern(locale: str, places: int) -> str:
    """The locale's own pattern with this many decimals."""
    from babel import Locale

    pattern = Locale.parse(locale).currency_formats["standard"].pattern
    return re.sub(r"0(\.0+)?", "0" + ("." + "0" * places if places else ""), pattern)


@cache
def _symbol() -> re.Pattern[str]:
    """Any symbol, longest first; an alphabetic one only without an adjacent letter."""
    written = sorted(_symbols(), key=len, reverse=True)
    return re.compile(
        "|".join(
            (r"(?<![^\W\d_])" if symbol[0].isalpha() else "")
            + re.escape(symbol)
            + (r"(?![^\W\d_])" if symbol[-1].isalpha() else "")
            for symbol in written
        )
    )


@cache
def _symbols() -> dict[str, frozenset[str]]:
    """Symbol -> possible codes, over the locales of the countries that use the currency."""
    found: dict[str, set[str]] = {}
    for code, symbol in _WRITTEN:
        found.setdefault(symbol, set()).add(code)
    return {symbol: frozenset(codes) for symbol, codes in found.items()}


_DOLLARS = (
    *("USD", "AUD", "CAD", "NZD", "SGD", "HKD", "MXN", "CLP", "COP", "ARS", "BSD", "BBD", "BZD", "BMD", "BND", "FJD"),
    *("GYD", "JMD", "KYD", "LRD", "NAD", "SBD", "SRD", "TTD", "TWD", "XCD"),
)
_WRITTEN = [
    *((code, "$") for code in _DOLLARS),
    *(("USD", "US$"), ("AUD", "A$"), ("CAD", "C$"), ("CAD", "CA$"), ("NZD", "NZ$"), ("HKD", "HK$"), ("SGD", "S$")),
    *(("MXN", "MX$"), ("BRL", "R$"), ("TWD", "NT$")),
    *(("EUR", "€"), ("JPY", "¥"), ("CNY", "¥"), ("JPY", "円"), ("CNY", "元"), ("INR", "₹"), ("KRW", "₩"), ("ILS", "₪")),
    *((code, "£") for code in ("GBP", "EGP", "FKP", "GIP", "LBP", "SHP", "SSP", "SYP")),
    *((code, "kr") for code in ("SEK", "NOK", "DKK", "ISK")),
    *(
        ("PLN", "zł"),
        ("CZK", "Kč"),
        ("HUF", "Ft"),
        ("RON", "lei"),
        ("BGN", "лв"),
        ("UAH", "₴"),
        ("RUB", "₽"),
        ("TRY", "₺"),
    ),
    *(("VND", "₫"), ("THB", "฿"), ("PHP", "₱"), ("NGN", "₦"), ("GEL", "₾"), ("KZT", "₸"), ("CRC", "₡"), ("PYG", "₲")),
    *(("CHF", written) for written in ("Fr.", "SFr.", "sFr.", "Fr", "SFr", "sFr")),
    *((code, written) for code in ("INR", "PKR", "LKR", "NPR", "MUR", "SCR") for written in ("Rs.", "Rs", "₨")),
    *((code, "kr.") for code in ("DKK", "SEK", "NOK", "ISK")),
    *(("TRY", "TL"), ("MYR", "RM"), ("IDR", "Rp"), ("KES", "KSh"), ("PEN", "S/"), ("PEN", "S/."), ("ZAR", "R")),
    *(("RUB", "руб."), ("RUB", "руб"), ("UAH", "грн"), ("UAH", "грн."), ("BGN", "лв."), ("PLN", "zl"), ("CZK", "Kc")),
    *(("AED", "Dhs"), ("AED", "Dh"), ("SAR", "SR"), ("ILS", "NIS"), ("EUR", "Euro"), ("EUR", "euros"), ("GBP", "GB£")),
]
"""CLDR's symbols, including narrow ones, and what people type instead."""
