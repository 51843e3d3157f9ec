"""Ids as values of a key column: each value has one id, and keys are compared as the column does; no I/O."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from ipaddress import ip_address
from uuid import UUID

from sorbus.mysql.catalog import MysqlColumn
from sorbus.mysql.text_values import value_maker

UNFIT_KEYS = {"float", "json", "geometry"}
"""Types whose values can't be compared exactly."""


def id_of_key(column: MysqlColumn, made: object) -> str:
    """The only id that a key's value may come from: others would be the same row. ValueError where none may."""
    text = str(made)
    match column.type:
        case "decimal":
            return f"{Decimal(text).quantize(Decimal(1).scaleb(-column.scale)):f}"
        case "datetime" | "timestamp":
            found = value_maker(column)(text)
            return str(found).removesuffix("+00:00")
        case "date":
            return str(value_maker(column)(text)) if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else ""
        case "time":
            places = rf"\.\d{{{column.fraction}}}" if column.fraction else ""
            return text if re.fullmatch(rf"-?\d\d\d?:\d\d:\d\d{places}", text) else ""
        case "uuid":
            return str(UUID(text))
        case "inet4" | "inet6":
            return str(ip_address(text))
        case "set":
            return ",".join(one for one in column.labels if one in text.split(","))
        case _:
            return text


def key_value(column: MysqlColumn) -> Callable[[object], object]:
    """What makes a key comparable, be it a parameter or what a query gave."""
    read = value_maker(column)

    def make(value: object) -> object:
        return value if column.type == "bit" and isinstance(value, int) else read(value)

    return make
