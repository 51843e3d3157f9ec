"""A message's bytes as a schema and a raw value: JSON with or without a schema, Avro with a registry.

The registry is asked once for each schema id. Nothing else here does I/O.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sorbus.errors import PermanentError
from sorbus.http_api.interface import Json
from sorbus.http_api.values import load_json
from sorbus.producers.debezium.connect_values import Schema

_MAGIC = 0
_HEAD = 5
_PRIMITIVE = {"int": "int32", "long": "int64", "fixed": "bytes", "enum": "string"}


class Content(NamedTuple):
    """A key or value. `schema` None: JSON without one."""

    schema: Schema | None
    raw: Json


class Formats:
    """Reads keys and values. `ask`: the registry's schema of an id."""

    def __init__(self, ask: Callable[[int], str | None] | None) -> None:
        self._ask = ask
        self._avro: dict[int, tuple[Any, Schema]] = {}

    def read(self, data: bytes) -> Content:
        """PermanentError for bytes in no known form. TransientError while the registry doesn't answer."""
        if len(data) >= _HEAD and data[0] == _MAGIC:
            return self._read_avro(int.from_bytes(data[1:_HEAD], "big"), data[_HEAD:])
        try:
            found = load_json(data)
        except ValueError as error:
            raise _unreadable(
                f"it is neither JSON nor Avro with a registry's schema id ({str(error)[:200]})"
            ) from error
        if isinstance(found, dict) and found.keys() == {"schema", "payload"}:
            return Content(found["schema"], found["payload"])
        return Content(None, found)

    def _read_avro(self, number: int, data: bytes) -> Content:
        import fastavro  # only where it is needed: it is heavy

        if number not in self._avro:
            text = self._ask(number) if self._ask is not None else None
            if text is None:
                why = "doesn't know it" if self._ask is not None else "isn't named: write `registry:` in the connection"
                raise _unreadable(f"it is Avro with schema id {number}, and the registry {why}")
            try:
                written = json.loads(text)
                self._avro[number] = fastavro.parse_schema(_plain(written)), connect_schema(written, {})
            except Exception as error:
                raise _unreadable(f"the schema with id {number} is not Avro ({type(error).__name__})") from error
        schema, connect = self._avro[number]
        try:
            stream = io.BytesIO(data)
            found = fastavro.schemaless_reader(stream, schema, None)
        except Exception as error:
            raise _unreadable(f"it isn't what the schema with id {number} says ({type(error).__name__})") from error
        return Content(connect, found)


def connect_schema(avro: Json, names: dict[str, Schema]) -> Schema:
    """An Avro schema as JsonConverter would write it; AvroConverter keeps Connect's names in `connect.name`."""
    if isinstance(avro, list):
        other = [one for one in avro if one != "null"]
        return connect_schema(other[0], names) if len(other) == 1 else {"type": "union"}
    if isinstance(avro, str):
        return names.get(avro) or {"type": _PRIMITIVE.get(avro, avro)}
    kind = avro.get("type")
    made: dict[str, Any] = {"type": _PRIMITIVE.get(str(kind), kind), "name": avro.get("connect.name")}
    if isinstance(kind, dict | list):
        return connect_schema(kind, names)
    parameters = avro.get("connect.parameters") or {}
    if avro.get("logicalType") == "decimal" and "scale" in avro:
        parameters = {"scale": avro["scale"], **parameters}
        made["name"] = made["name"] or "org.apache.kafka.connect.data.Decimal"
    made["parameters"] = parameters
    if kind == "record":
        made["type"] = "struct"
        for name in _full_names(avro):
            names[name] = made
        made["fields"] = [
            {**connect_schema(one["type"], names), "field": (one.get("connect.name") or one["name"])}
            for one in avro["fields"]
        ]
    elif kind == "array":
        made["items"] = connect_schema(avro["items"], names)
    elif kind == "map":
        made["values"] = connect_schema(avro["values"], names)
    return made


def _full_names(avro: Mapping[str, Json]) -> list[str]:
    name, space = str(avro["name"]), avro.get("namespace")
    return [name, *([f"{space}.{name}"] if space else [])]


def _plain(avro: Json) -> Json:
    """Without logical types, so that values stay as they are written."""
    if isinstance(avro, list):
        return [_plain(one) for one in avro]
    if isinstance(avro, dict):
        return {
            key: _plain(value) if key in ("type", "items", "values", "fields") else value
            for key, value in avro.items()
            if key not in ("logicalType", "default")
        }
    return avro


def _unreadable(why: str) -> PermanentError:
    return PermanentError(f"the message can't be read: {why}", reason="not canonical")
