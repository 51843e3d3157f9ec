"""Ids as values of a key column: each value has one id, and keys are compared as the column does; no I/O."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from ipaddress import IPv6Address, ip_address
from uuid import UUID

from sorbus.mysql.catalog import MysqlColumn
from sorbus.mysql.text_values import value_maker

UNFIT_KEYS = {"float", "json", "geometry"}
"""Types whose values can't be compared exactly."""


def id_of_key(column: MysqlColumn, made: object) -> str:
    """The only id that a key's value may come from, as the server shows it: others would be the same row.

    ValueError, ArithmeticError where none may.
    """
    text = str(made)
    match column.type:
        case "decimal":
            return _unsigned_zero(f"{Decimal(text).quantize(Decimal(1).scaleb(-column.scale)):f}")
        case "double":
            return _unsigned_zero(_shown_double(float(text), column.places))
        case "datetime" | "timestamp":
            found = value_maker(column)(text)
            return str(found).removesuffix("+00:00")
        case "date":
            return str(value_maker(column)(text)) if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else ""
        case "time":
            places = rf"\.\d{{{column.fraction}}}" if column.fraction else ""
            shown = re.fullmatch(rf"-?(?:\d\d|[1-9]\d\d):\d\d:\d\d{places}", text)
            return _unsigned_zero(text) if shown else ""
        case "uuid":
            return str(UUID(text))
        case "inet4":
            return str(ip_address(text))
        case "inet6":
            return _shown_inet6(IPv6Address(text))
        case "set":
            return ",".join(one for one in column.labels if one in text.split(","))
        case _:
            return text


def _unsigned_zero(text: str) -> str:
    return text if text.strip("-0.:") else text.removeprefix("-")


def _shown_double(value: float, places: int | None) -> str:
    if places is not None:
        return f"{value:.{places}f}"
    if value and not 1e-15 <= abs(value) < 1e15:
        head, _, power = f"{Decimal(repr(value)).normalize():e}".partition("e")
        return f"{head}e{int(power)}"
    return f"{Decimal(repr(value)).normalize():f}"


def _shown_inet6(address: IPv6Address) -> str:
    """Also a single group of zeros is left out, and what holds an address of version 4 ends in it."""
    high, low = divmod(int(address), 1 << 32)
    if high == 0xFFFF or (not high and low > 0xFFFF):
        return f"::{'ffff:' if high else ''}{ip_address(low)}"
    text = str(address)
    return text if "::" in text else re.sub(r"(^|:)0(:|$)", "::", text, count=1)


def key_value(column: MysqlColumn) -> Callable[[object], object]:
    """What makes a key comparable, be it a parameter or what a query gave."""
    read = value_maker(column)

    def make(value: object) -> object:
        return value if column.type == "bit" and isinstance(value, int) else read(value)

    return make
