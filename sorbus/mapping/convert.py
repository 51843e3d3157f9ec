"""Which types convert to which without a rule, and how: exactly, or not at all.

One table for `map check` (`can_convert`) and for values at run time (`convert`). They differ in one point: a text
column doesn't convert to a number or a date, since its format is unknown; but a value that arrived as text because its
system has no other way (JSON) does, if it is in the standard format: ISO 8601, 1234.50, true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache
from math import isfinite
from struct import Struct
from uuid import UUID

from sorbus.avro.encode import unscaled
from sorbus.mapping.errors import shown
from sorbus.mapping.filters.moment import placed
from sorbus.mapping.filters.number import as_decimal, integer
from sorbus.mapping.filters.text import as_text
from sorbus.mapping.types import EXACT, FLOAT, LIST, SCALAR, TEXT, WHOLE
from sorbus.schema import FieldType, Kind
from sorbus.spelling import closest

Converter = Callable[[object], object]

_ALLOWED: Mapping[Kind, frozenset[Kind]] = {
    "string": frozenset({"string", "enum", "uuid"}),
    "enum": frozenset({"string", "enum"}),
    "uuid": frozenset({"string", "uuid"}),
    "int": frozenset({"int", "long", "decimal", "double", "string"}),
    "long": frozenset({"int", "long", "decimal", "string"}),
    "decimal": frozenset({"decimal", "string"}),
    "float": frozenset({"float", "double"}),
    "double": frozenset({"float", "double"}),
    "boolean": frozenset({"boolean"}),
    "bytes": frozenset({"bytes"}),
    "timestamp": frozenset({"timestamp", "string"}),
    "date": frozenset({"date", "string"}),
    "time": frozenset({"time", "string"}),
    "array": frozenset({"array"}),
    "map": frozenset({"map", "record"}),
    "record": frozenset({"record", "map"}),
}
_NUMBERS: Mapping[Kind, str] = {
    "decimal": "value | decimal",
    "int": "value | integer",
    "long": "value | integer",
    "float": "value | float",
    "double": "value | float",
}
_RULES: tuple[tuple[frozenset[Kind], Mapping[Kind, str]], ...] = (
    (TEXT, {
        **_NUMBERS,
        "boolean": 'value | boolean("Y", "N")',
        "date": 'value | date("%d/%m/%Y")',
        "timestamp": 'value | datetime("%d/%m/%Y %H:%M", tz="Europe/London")',
        "array": 'value | split(";")',
    }),
    (FLOAT, {**_NUMBERS, "int": "value | round | integer", "long": "value | round | integer"}),
    (EXACT, {**_NUMBERS, "date": 'value | text | date("%Y%m%d")', "timestamp": 'value | datetime("epoch")'}),
    (WHOLE, {"boolean": "value | boolean"}),
    (frozenset({"timestamp"}), {"date": 'value | date(tz="Europe/London")'}),
    (frozenset({"date"}), {"timestamp": 'value | datetime(tz="Europe/London")'}),
    (LIST, {"string": 'value | join("; ")'}),
    (SCALAR, {"string": "value | text", "enum": 'value | text | lookup("TABLE")'}),
)  # fmt: skip
_SINGLE = Struct("<f")
_LIMITS: Mapping[Kind, int] = {"int": 1 << 31, "long": 1 << 63}


def can_convert(source: Kind, target: Kind) -> bool:
    """Whether values of `source` convert to `target` without a rule; if not, `rule_for` suggests one."""
    return target in _ALLOWED[source]


def rule_for(source: Kind, target: Kind) -> str:
    """The rule that converts `source` to `target`, as a person would write it; empty if there is none."""
    for group, rules in _RULES:
        if source in group and target in rules:
            return rules[target]
    return ""


def convert(value: object, to: FieldType) -> object:
    """`value` as a value of `to`, without loss; otherwise ValueError in plain words. Null stays null."""
    return converter(to)(value)


@cache
def converter(to: FieldType) -> Converter:
    """The function that `convert` applies for `to`, for many values."""
    make = _make(to)

    def run(value: object) -> object:
        if value is None:
            if not to.nullable:
                raise ValueError("there is no value, and the field requires one")
            return None
        return make(value)

    return run


def _make(to: FieldType) -> Converter:
    match to.kind:
        case "int" | "long":
            return _whole(_LIMITS[to.kind])
        case "decimal":
            return _decimal(to.precision, to.scale)
        case "enum":
            return _enum(to.symbols)
        case "array":
            assert to.item is not None
            return _list(converter(to.item))
        case "map":
            assert to.item is not None
            return _map(converter(to.item))
        case "record":
            return _record({field.name: converter(field.type) for field in to.fields})
        case kind:
            return _SIMPLE[kind]


def _whole(limit: int) -> Converter:
    def run(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int | Decimal | float | str):
            raise ValueError(f"{shown(value)} is not a valid whole number")
        number = integer(value)
        if not -limit <= number < limit:
            raise ValueError(f"{shown(value)} is outside {-limit} to {limit - 1}")
        return number

    return run


def _decimal(precision: int, scale: int) -> Converter:
    def run(value: object) -> object:
        if isinstance(value, float):
            raise ValueError(
                f"{shown(value)} is a binary fraction, not exact; write the rule value | decimal, or round(2)"
            )
        number = as_decimal(value)
        if precision:  # else nothing says how many digits: a JSON number, or PostgreSQL's numeric
            unscaled(number, precision, scale)
        return number

    return run


def _enum(symbols: tuple[str, ...]) -> Converter:
    known = frozenset(symbols)

    def run(value: object) -> object:
        if isinstance(value, str) and value in known:
            return value
        raise ValueError(f"{shown(value)} is not one of {', '.join(symbols)}; {closest(str(value), symbols)}")

    return run


def _list(item: Converter) -> Converter:
    def run(value: object) -> object:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{shown(value)} is not a list")
        return [item(inner) for inner in value]

    return run


def _map(item: Converter) -> Converter:
    def run(value: object) -> object:
        if not isinstance(value, Mapping):
            raise ValueError(f"{shown(value)} has no named entries")
        return {as_text(name): item(inner) for name, inner in value.items()}

    return run


def _record(fields: Mapping[str, Converter]) -> Converter:
    def run(value: object) -> object:
        if not isinstance(value, Mapping):
            raise ValueError(f"{shown(value)} is not a record")
        if unknown := value.keys() - fields.keys():
            raise ValueError(f"there is no field {sorted(map(str, unknown))[0]!r} in it; {closest('', fields)}")
        return {name: make(value.get(name)) for name, make in fields.items()}

    return run


def _string(value: object) -> object:
    if isinstance(value, str):
        return value
    if isinstance(value, float | bool | bytes):
        raise ValueError(f"{shown(value)} becomes text only by a rule: value | text")
    return as_text(value)


def _float(value: object) -> object:
    if isinstance(value, float):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 1 << 53:
        return float(value)
    raise ValueError(f"{shown(value)} becomes a binary fraction only by a rule: value | float")


def _single(value: object) -> object:
    number = _float(value)
    assert isinstance(number, float)
    if not isfinite(number):
        return number
    try:
        (single,) = _SINGLE.unpack(_SINGLE.pack(number))
    except OverflowError:
        raise ValueError(f"{shown(value)} is too large for 32 bits; make the field a double") from None
    if single != number and all(float(f"{single:.{digits}g}") != number for digits in range(1, 10)):
        raise ValueError(f"{shown(value)} has more digits than 32 bits keep; make the field a double")
    return number


def _boolean(value: object) -> object:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise ValueError(f'{shown(value)} is neither true nor false; write a rule: value | boolean("Y", "N")')


def _bytes(value: object) -> object:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise ValueError(f"{shown(value)} is not bytes")


def _timestamp(value: object) -> object:
    moment = _iso(datetime, value) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        raise ValueError(f"{shown(value)} is not a valid point in time; write a rule: {rule_for('date', 'timestamp')}")
    return placed(moment, "")


def _date(value: object) -> object:
    day = _iso(date, value) if isinstance(value, str) else value
    if isinstance(day, date) and not isinstance(day, datetime):
        return day
    raise ValueError(f"{shown(value)} is not a valid date; write a rule: {rule_for('timestamp', 'date')}")


def _time(value: object) -> object:
    moment = _iso(time, value) if isinstance(value, str) else value
    if isinstance(moment, time) and moment.tzinfo is None:
        return moment
    raise ValueError(f"{shown(value)} is not a valid time of day without an offset")


def _uuid(value: object) -> object:
    if isinstance(value, UUID):
        return value
    try:
        return UUID(as_text(value))
    except ValueError as error:
        raise ValueError(f"{shown(value)} is not a valid UUID") from error


def _iso(kind: type[date] | type[time], text: str) -> object:
    try:
        return kind.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{shown(text)} is not written in ISO 8601; write a rule that says how it is") from error


_SIMPLE: Mapping[Kind, Converter] = {
    "string": _string,
    "float": _single,
    "double": _float,
    "boolean": _boolean,
    "bytes": _bytes,
    "timestamp": _timestamp,
    "date": _date,
    "time": _time,
    "uuid": _uuid,
}
