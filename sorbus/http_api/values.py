"""JSON values and timestamps of applications to Python values and back; exact, and UTC if no zone is named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from email.utils import format_datetime, parsedate_to_datetime

from sorbus.calendar_limits import EPOCH
from sorbus.errors import PermanentError
from sorbus.http_api.description import ApiField, FieldKind, Moment
from sorbus.http_api.interface import Json
from sorbus.http_api.invalid_value import InvalidValue, RepeatedValue
from sorbus.mapping.errors import shown

_MS_JSON = re.compile(r"/Date\((-?\d{1,17})(?:[+-]\d{4})?\)/")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MOST_DIGITS = 1000
_LARGEST_EXPONENT = 400
DEEPEST = 100
"""Maximum nesting of objects and lists in an answer."""
_LONGEST_SHOWN = 1000
_MOST_REPEATED = 10
_WORDS = {"true": True, "false": False, "1": True, "0": False}


def load_json(data: bytes | str, *, broken_text: bool = False) -> Json:
    """JSON with exact numbers; `InvalidValue` for numbers that can't be exact, for nesting deeper than `DEEPEST`, and
    for a name that one object has with several values.

    `broken_text`: takes texts with raw line breaks, tabs and bytes that aren't UTF-8; such a byte becomes a lone
    surrogate, which nothing encodes, so that the rest can be read. ValueError for malformed JSON, or if it is nested
    deeper than Python's parser allows.
    """
    text = _text_of(data) if broken_text and isinstance(data, bytes) else data
    try:
        found = json.loads(
            text,
            object_pairs_hook=_object_of,
            parse_float=_number,
            parse_int=_whole_number,
            parse_constant=InvalidValue,
            strict=not broken_text,
        )
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    _cut_below(found, DEEPEST)
    return found


def dump_json(value: Json) -> str:
    """JSON text; decimals with all their digits (RFC 8259, section 6), lone surrogates escaped."""
    if isinstance(value, InvalidValue):
        return json.dumps(str(value))
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(str(key))}:{dump_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(dump_json(item) for item in value) + "]"
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value} is not a valid JSON number")
        return str(value)
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return json.dumps(value) if isinstance(value, str) and _SURROGATE.search(text) else text


def read_moment(value: Json, moment: Moment) -> datetime | None:
    """An aware datetime; None for null or empty. ValueError, TypeError or ArithmeticError for anything else."""
    if value is None or value == "":
        return None
    if moment in ("epoch", "epoch-ms"):
        ticks = _decimal(value) * (1_000_000 if moment == "epoch" else 1000)
        return _after_epoch(microseconds=int(ticks))
    text = str(value).strip()
    if moment == "ms-json":
        if match := _MS_JSON.fullmatch(text):
            return _after_epoch(microseconds=int(match[1]) * 1000)
        raise ValueError(f"{text!r} isn't /Date(milliseconds)/")
    try:
        return _aware(parsedate_to_datetime(text) if moment == "http-date" else datetime.fromisoformat(text))
    except IndexError as error:  # raised by the standard library for some texts that are not dates
        raise ValueError(f"{text[:80]!r} is not a date") from error


def write_moment(value: datetime, moment: Moment) -> str:
    """The inverse, truncated to the format's precision: never later than `value`, so a list since then is complete."""
    value = value.astimezone(UTC)
    ticks = (value - EPOCH) // timedelta(microseconds=1)
    whole = value.replace(microsecond=0)
    if moment == "iso":
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    if moment == "iso-seconds":
        return whole.isoformat().replace("+00:00", "Z")
    if moment == "iso-offset":
        return whole.isoformat()
    if moment == "iso-bare":
        return whole.replace(tzinfo=None).isoformat()
    if moment == "http-date":
        return format_datetime(whole, usegmt=True)
    if moment == "epoch":
        return str(ticks // 1_000_000)
    if moment == "epoch-ms":
        return str(ticks // 1000)
    if moment == "date":
        return value.date().isoformat()
    if moment == "slash-date":
        return whole.strftime("%Y-%m-%d %H:%M:%S").rjust(19, "0")
    return f"/Date({ticks // 1000}+0000)/"


def to_value(value: Json, field: ApiField) -> object:
    """A field of an answer as a Python value: Decimal, date, aware datetime; None for null and for an empty text, which
    applications write for no value, sometimes only in lists.

    So does a value that the field's `empty` names. PermanentError for a value that is not of the described kind.
    """
    if value is None or value == "" or any(type(value) is type(one) and value == one for one in field.empty):
        return None
    require_valid(value)
    try:
        return _READ[field.kind](value)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise PermanentError(
            f"{shown(value)} is not of kind {field.kind}, as the API's description says; fix the record or the kind",
            reason="value",
            value=value,
        ) from error


def to_json(value: object, field: ApiField) -> Json:
    """A value in the application's format. PermanentError for one that it can't have."""
    if value is None:
        return None
    try:
        written = _WRITE[field.kind](value)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise PermanentError(
            f"{shown(value)} can't be written as {field.kind}; fix the mapping's rule", reason="value", value=value
        ) from error
    if field.largest is not None and isinstance(written, str) and len(written) > field.largest:
        raise PermanentError(
            f"{shown(value)} has {len(written)} characters, but the field takes {field.largest}; shorten it by a rule",
            reason="value",
            value=value,
        )
    if field.values and written is not None and str(written) not in field.values:
        raise PermanentError(
            f"{shown(value)} isn't one of {', '.join(field.values)}; fix the rule", reason="value", value=value
        )
    return written


def require_valid(value: Json) -> None:
    """PermanentError for an `InvalidValue`."""
    if isinstance(value, InvalidValue):
        why = value.why or "can't be represented exactly; fix the record in the application"
        raise PermanentError(
            f"{shown(str(value))} {why}",
            reason="value",
            value=str(value)[:200],
        )


def _object_of(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    values: dict[str, list[Json]] = {}
    for name, value in pairs:
        held = values.setdefault(name, [])
        if len(held) < _MOST_REPEATED and not any(type(value) is type(one) and value == one for one in held):
            held.append(value)
    return {
        name: held[0] if len(held) == 1 else RepeatedValue(dump_json(held)[:_LONGEST_SHOWN])
        for name, held in values.items()
    }


def _text_of(data: bytes) -> str:
    try:
        return data.decode(json.detect_encoding(data), "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape")


def _number(text: str) -> Decimal | InvalidValue:
    """Exact, or the original text: a huge exponent or endless digits would cost minutes in any computation."""
    try:
        number = Decimal(text[: _MOST_DIGITS + 1])
    except InvalidOperation:
        return InvalidValue(text)
    is_held = len(text) <= _MOST_DIGITS and abs(number.adjusted()) <= _LARGEST_EXPONENT
    return number if is_held else InvalidValue(text)


def _whole_number(text: str) -> int | InvalidValue:
    return int(text) if len(text) <= _MOST_DIGITS else InvalidValue(text)


def _cut_below(value: Json, levels: int) -> None:
    """Iterative, since code that reads the answer afterwards recurses, and Python limits the depth."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(levels - 1):
        level = [inner for outer in level for inner in _inside(outer) if isinstance(inner, dict | list)]
        if not level:
            return
    for outer in level:
        for key, inner in list(outer.items() if isinstance(outer, dict) else enumerate(outer)):
            if isinstance(inner, dict | list):
                outer[key] = InvalidValue(f"nested deeper than {levels} levels")


def _inside(value: dict[str, Json] | list[Json]) -> Iterable[Json]:
    return value.values() if isinstance(value, dict) else value


def _after_epoch(*, microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)


def _aware(value: datetime) -> datetime:
    """OverflowError for a time outside the years 1 to 9999 in UTC."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list | tuple):
        return dump_json(_plain(value))
    if isinstance(value, date | time):
        return str(_plain(value))
    return str(value)


def _integer(value: object) -> int:
    number = _decimal(value)
    if number != number.to_integral_value():
        raise ValueError("not whole")
    return int(number)


def _decimal(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise TypeError("not a number")
    number = Decimal(str(value).strip())
    if not number.is_finite() or abs(number.adjusted()) > _LARGEST_EXPONENT:
        raise ValueError("not a number that can be represented exactly")
    return number


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    return _WORDS[_known(str(value).strip().lower())]


def _known(word: str) -> str:
    if word not in _WORDS:
        raise ValueError("neither true nor false")
    return word


def _date(value: object) -> date:
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else datetime.fromisoformat(str(value).strip()).date()


def _ms_date(value: object) -> date:
    moment = read_moment(value, "ms-json") if str(value).startswith("/") else None
    return _date(value) if moment is None else moment.date()


def _moment(moment: Moment) -> Callable[[object], datetime | None]:
    return lambda value: read_moment(value, moment)


def _as_moment(value: object) -> datetime:
    if isinstance(value, datetime):
        return _aware(value)
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    return _aware(datetime.fromisoformat(str(value).strip()))


def _object(value: object) -> object:
    if not isinstance(value, Mapping):
        raise TypeError("not an object")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list | tuple):
        raise TypeError("not a list")
    return list(value)


def _set(value: object) -> list[object]:
    found = _list(value) if isinstance(value, list | tuple) else [value]
    return sorted({dump_json(_plain(one)): one for one in found}.values(), key=lambda one: dump_json(_plain(one)))


def _plain(value: object) -> Json:
    """What JSON can hold: timestamps and dates in ISO 8601."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return write_moment(_aware(value), "iso" if value.microsecond else "iso-seconds")
    return value.isoformat() if isinstance(value, date | time) else value


_READ: Mapping[FieldKind, Callable[[object], object]] = {
    "text": _text,
    "integer": _integer,
    "decimal": _decimal,
    "number": lambda value: float(_decimal(value)),
    "boolean": _boolean,
    "date": _date,
    "datetime": _moment("iso"),
    "epoch": _moment("epoch"),
    "epoch-ms": _moment("epoch-ms"),
    "ms-json": _moment("ms-json"),
    "ms-date": _ms_date,
    "object": _object,
    "list": _list,
    "set": _set,
}
_WRITE: Mapping[FieldKind, Callable[[object], Json]] = {
    "text": _text,
    "integer": _integer,
    "decimal": _decimal,
    "number": _decimal,
    "boolean": _boolean,
    "date": lambda value: _date(value).isoformat(),
    "datetime": lambda value: _plain(_as_moment(value)),
    "epoch": lambda value: int(write_moment(_as_moment(value), "epoch")),
    "epoch-ms": lambda value: int(write_moment(_as_moment(value), "epoch-ms")),
    "ms-json": lambda value: write_moment(_as_moment(value), "ms-json"),
    "ms-date": lambda value: _date(value).isoformat(),
    "object": lambda value: _plain(_object(value)),
    "list": lambda value: _plain(_list(value)),
    "set": lambda value: _plain(_set(value)),
}
