"""What a message says of a row: created, changed, read by a snapshot, deleted, or all rows gone; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from sorbus.calendar_limits import EPOCH
from sorbus.errors import PermanentError
from sorbus.http_api.interface import Json
from sorbus.http_api.invalid_value import InvalidValue
from sorbus.http_api.values import load_json
from sorbus.mapping.errors import shown
from sorbus.mapping.filters.text import as_text
from sorbus.producers.debezium.connect_values import UNAVAILABLE, Schema, named_value, value_of
from sorbus.producers.debezium.formats import Content
from sorbus.producers.debezium.options import TYPES, DebeziumSource
from sorbus.producers.record_keys import record_id

_LONGEST_ID = 1000
_TRANSACTION = {"status", "id", "event_count", "data_collections"}
_ENVELOPE = {
    "before", "after", "source", "op", "ts_ms", "ts_us", "ts_ns", "transaction", "message", "patch", "filter",
    "updateDescription",
}  # fmt: skip
Row = dict[str, Any]


class RowChange(NamedTuple):
    """A row's new state `row`, None if it was deleted. `known`: its values, or those of the deleted row, if told.

    `occurred_at`: microseconds since 1970, None where it isn't said. `before`: an updated row's values until then, if
    told.
    """

    row: Row | None
    known: Row | None
    schema: Schema | None
    occurred_at: int | None
    is_snapshot: bool
    before: Row | None = None


class AllGone(NamedTuple):
    """The table was emptied."""

    occurred_at: int | None


class NoChange(NamedTuple):
    """Nothing about a row, such as a logical message."""


def event_of(content: Content, options: DebeziumSource) -> RowChange | AllGone | NoChange:
    """What a value says. PermanentError."""
    try:
        return _event_of(content, options)
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
        raise PermanentError(
            f"the message isn't as Debezium writes it ({type(error).__name__}: {str(error)[:200]})",
            reason="not canonical",
        ) from error


def _event_of(content: Content, options: DebeziumSource) -> RowChange | AllGone | NoChange:
    raw, schema = content.raw, content.schema
    if not isinstance(raw, dict):
        raise PermanentError("the message's value is no record", reason="not canonical")
    if not is_envelope(content):
        return _flattened(raw, schema, options)
    occurred_at = _moment(raw)
    match raw["op"]:
        case "t":
            return AllGone(occurred_at)
        case "m":
            return NoChange()
        case "d":
            before = raw.get("before")
            known = _row(before, _field(schema, "before"), options) if isinstance(before, dict) else None
            return RowChange(None, known, None, occurred_at, is_snapshot=False)
        case "c" | "u" | "r" as op:
            inside = _field(schema, "after")
            after = raw.get("after")
            if isinstance(after, str):  # MongoDB: the document as text
                document = _document(after)
                return RowChange(document, document, None, occurred_at, is_snapshot=op == "r")
            if not isinstance(after, dict):
                raise PermanentError(
                    "the message has no state after the change; with MongoDB set `capture.mode` to"
                    " change_streams_update_full",
                    reason="not canonical",
                )
            row, known = _row(after, inside, options), raw.get("before")
            before = _row(known, _field(schema, "before"), options) if isinstance(known, dict) else None
            return RowChange(row, row, inside, occurred_at, is_snapshot=op == "r", before=before)
    raise PermanentError(f"the message's op {shown(raw['op'])} is not c, u, r, d, t or m", reason="not canonical")


def is_envelope(content: Content) -> bool:
    """Whether a value tells of a change in Debezium's envelope; a flattened row may have columns of the same names."""
    raw, name = content.raw, str((content.schema or {}).get("name") or "")
    if not isinstance(raw, dict) or "op" not in raw or name.endswith(".Value"):
        return False
    if name.endswith(".Envelope"):
        return True
    source = raw.get("source")
    if isinstance(source, dict) and "connector" in source:
        return True
    return raw.keys() <= _ENVELOPE and any(isinstance(raw.get(part), dict) for part in ("source", "before", "after"))


def id_of(key: Content | None, row: Row | None, options: DebeziumSource) -> bytes:
    """The record's id; with `key:`, of a message without a row, by the columns that its key has. PermanentError."""
    try:
        values = _key_values(key, row, options)
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
        raise _no_id(f"its key can't be read ({str(error)[:200]})") from error
    parts = []
    for value in values:
        if value is None or value is UNAVAILABLE or isinstance(value, InvalidValue | dict | list):
            raise _no_id(f"a part of the key is {'unavailable' if value is UNAVAILABLE else shown(value)}")
        try:
            parts.append(as_text(value).encode())
        except UnicodeError as error:
            raise _no_id(
                f"a part of the key is {shown(value)}, which is no text: have Debezium write bytes as text"
                " (`binary.handling.mode: hex`), or name other columns with `key:`"
            ) from error
    id = record_id(parts)
    if not id or len(id) > _LONGEST_ID or not id.decode().isprintable():
        raise _no_id(f"the key has {len(id)} bytes or control characters: 1 to {_LONGEST_ID} are needed")
    return id


def _key_values(key: Content | None, row: Row | None, options: DebeziumSource) -> list[object]:
    given = None if key is None or key.raw is None else value_of(key.raw, key.schema, options.unavailable)
    if options.key:
        told = row if row is not None else given
        lacks = [name for name in options.key if not isinstance(told, dict) or name not in told]
        if lacks or not isinstance(told, dict):
            what = "key" if row is None else "row"
            raise _no_id(f"the message's {what} has no {', '.join(lacks)}, of which `key:` makes it")
        return [told[name] for name in options.key]
    if given is None:
        raise _no_id("the message has no key; name the columns with `key:`")
    if not isinstance(given, dict):
        return [given]
    return [_mongo_id(one) for name, one in given.items() if name != "__dbz__physicalTableIdentifier"]


def _flattened(raw: Row, schema: Schema | None, options: DebeziumSource) -> RowChange | NoChange:
    """A row alone, as ExtractNewRecordState leaves it."""
    if raw.keys() <= {"ts_ms"} or raw.keys() - {"ts_ms"} == _TRANSACTION:
        return NoChange()  # a heartbeat, or where a transaction begins or ends
    at = raw.get("__source_ts_ms") or raw.get("__ts_ms")
    occurred_at = at * 1000 if isinstance(at, int) else None
    if str(raw.get("__deleted", "")).lower() == "true" or raw.get("__op") == "d":
        return RowChange(None, _row(raw, schema, options), None, occurred_at, is_snapshot=False)
    row = _row(raw, schema, options)
    return RowChange(row, row, schema, occurred_at, is_snapshot=raw.get("__op") == "r")


def _row(raw: Row, schema: Schema | None, options: DebeziumSource) -> Row:
    """A row's values by column; one that can't be read is kept as an InvalidValue, for its field's dead letter."""
    fields = {str(one["field"]): one for one in (schema or {}).get("fields") or ()}
    made: Row = {}
    for name, value in raw.items():
        if schema is not None and name not in fields:
            continue
        try:
            made[name] = value_of(value, fields.get(name), options.unavailable)
            if schema is None and name in options.types and made[name] not in (None, UNAVAILABLE):
                made[name] = _typed(value, name, options)
        except (ValueError, TypeError, ArithmeticError) as error:
            made[name] = InvalidValue(f"{str(value)[:200]} ({str(error)[:200]})")
    return made


def _typed(value: Json, name: str, options: DebeziumSource) -> object:
    scale = options.scale(name)
    if scale is not None:
        return named_value(value, "org.apache.kafka.connect.data.Decimal", scale)
    return named_value(value, TYPES[options.types[name]], None)


def _document(text: str) -> Row:
    """A MongoDB document in extended JSON."""
    try:
        found = load_json(text)
    except ValueError as error:
        raise PermanentError("the document in `after` is not JSON", reason="not canonical") from error
    if not isinstance(found, dict):
        raise PermanentError("the document in `after` is no record", reason="not canonical")
    return {name: _plain_or_invalid(value) for name, value in found.items()}


def _plain_or_invalid(value: Json) -> Any:
    try:
        return _plain(value)
    except (ValueError, TypeError, ArithmeticError) as error:
        return InvalidValue(f"{str(value)[:200]} ({str(error)[:200]})")


def _plain(value: Json) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (word, inner), *_ = value.items()
        if word in ("$oid", "$symbol"):
            return str(inner)
        if word in ("$numberLong", "$numberInt"):
            return int(str(inner))
        if word == "$numberDecimal":
            return Decimal(str(inner))
        if word == "$numberDouble":
            return float(str(inner))
        if word == "$date":
            millis = _plain(inner)
            if isinstance(millis, int):
                return EPOCH + timedelta(milliseconds=millis)
            return datetime.fromisoformat(str(millis))
    return {name: _plain(one) for name, one in value.items()}


def _mongo_id(value: object) -> object:
    """MongoDB's key is extended JSON in a text; other texts stay as they are."""
    if isinstance(value, str) and value[:1] in ("{", '"'):
        try:
            plain = _plain(load_json(value))
        except (ValueError, ArithmeticError):
            return value
        return plain if isinstance(plain, str | int) else value
    return value


def _field(schema: Schema | None, name: str) -> Schema | None:
    return next((one for one in (schema or {}).get("fields") or () if one.get("field") == name), None)


def _moment(raw: Row) -> int | None:
    for of in (raw.get("source"), raw):
        if not isinstance(of, Mapping):
            continue
        for name, unit in (("ts_us", 1), ("ts_ms", 1000)):
            if isinstance(found := of.get(name), int) and found > 0:
                return found * unit
    return None


def _no_id(why: str) -> PermanentError:
    return PermanentError(f"the record has no id: {why}", reason="no id")
