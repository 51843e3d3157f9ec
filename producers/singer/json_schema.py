"""What a stream's JSON schema says of its fields: names by path, kinds, and how their values are read; no I/O."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import NamedTuple

from sorbus.abilities import CatalogField
from sorbus.http_api.interface import Json, Record
from sorbus.http_api.path import read_path
from sorbus.mapping.errors import shown
from sorbus.mapping.filters.moment import placed
from sorbus.producers.polling.json_shape import Reader
from sorbus.schema import Kind

_DEEPEST = 6
_FINER = re.compile(r"[.,]\d{6}\d*[1-9]")
_DATE_ALONE = len("2026-12-31")
_KINDS: Mapping[str, Kind] = {"integer": "long", "number": "decimal", "boolean": "boolean", "array": "array"}
_FORMATS: Mapping[str, Kind] = {"date-time": "timestamp", "date": "date", "uuid": "uuid", "singer.decimal": "decimal"}


class FieldSchema(NamedTuple):
    """One field. `is_open`: an object of which more may be inside than is described."""

    kind: Kind
    native: str
    nullable: bool
    is_open: bool = False


def fields_of(schema: Record) -> dict[str, FieldSchema]:
    """Every field by its path: `address.city` for one inside an object."""
    return dict(_inside(schema, "", 0))


def catalog_fields(schema: Record) -> tuple[CatalogField, ...]:
    """The same for `sorbus discover`."""
    return tuple(
        CatalogField(path, field.kind, field.native, not field.nullable) for path, field in fields_of(schema).items()
    )


def readers_of(
    schema: Record, lists: Mapping[str, str], time_zone: str, ruled: Container[str] = ()
) -> dict[str, Reader]:
    """How values are read, by path; `lists`: paths of lists of records, whose items' fields are LIST[].NAME.

    `ruled`: paths that rules read, which get what can't be kept whole as text.
    """
    found = {
        path: reader
        for path, field in fields_of(schema).items()
        if (reader := _reader(field, time_zone, is_ruled=path in ruled))
    }
    for path in lists.values():
        items = next((_dict(one.get("items")) for one in _alternatives(_at(schema, path)) if "items" in one), {})
        for name, field in fields_of(items).items():
            if reader := _reader(field, time_zone, is_ruled=False):
                found[f"{path}[].{name}"] = reader
    return found


def has_field(fields: Mapping[str, FieldSchema], path: str) -> bool:
    """Whether there may be something at a path."""
    if path in fields or "[" in path:
        return True
    head = path.rpartition(".")[0]
    return bool(head) and head in fields and fields[head].is_open


def value_at(record: Record, name: str) -> Json:
    """What is at a path; nothing where the name, which may be a tap's, is none."""
    try:
        return read_path(record, name)
    except ValueError:
        return None


def _inside(schema: Record, head: str, depth: int) -> Iterator[tuple[str, FieldSchema]]:
    for one in _alternatives(schema):
        for name, value in _dict(one.get("properties")).items():
            path, alternatives = f"{head}{name}", list(_alternatives(_dict(value)))
            field = _field(alternatives)
            yield path, field
            if field.kind == "record" and depth < _DEEPEST:
                for inner in alternatives:
                    yield from _inside(inner, f"{path}.", depth + 1)


def _field(alternatives: list[Record]) -> FieldSchema:
    types, formats, is_open, is_described = list[str](), list[str](), False, False
    for one in alternatives:
        given = one.get("type")
        types += [str(each) for each in (given if isinstance(given, list) else [given] if given else [])]
        if isinstance(form := one.get("format"), str):
            formats.append(form)
        is_described |= bool(_dict(one.get("properties")))
        is_open |= one.get("additionalProperties", False) is not False
    names = sorted(set(types) - {"null"})
    form = formats[0] if len(set(formats)) == 1 else ""
    native = "|".join(names) + (f"({form})" if form else "")
    nullable = "null" in types or not types
    if not names or "object" in names:
        return FieldSchema("record", native or "object", nullable, is_open or not is_described)
    if form in _FORMATS and set(names) <= {"string", "number"}:
        return FieldSchema(_FORMATS[form], native, nullable)
    kind: Kind = _KINDS.get(names[0], "string") if len(names) == 1 else "string"
    return FieldSchema("decimal" if names == ["integer", "number"] else kind, native, nullable)


def _alternatives(schema: Record) -> Iterator[Record]:
    """A schema, and those of which a value may satisfy any."""
    yield schema
    for word in ("anyOf", "oneOf", "allOf"):
        for one in schema.get(word) or [] if isinstance(schema.get(word), list) else []:
            if isinstance(one, dict):
                yield from _alternatives(one)


def _at(schema: Record, path: str) -> Record:
    for name in path.split("."):
        found = (_dict(_dict(one.get("properties")).get(name)) for one in _alternatives(schema))
        schema = next((one for one in found if one), {})
    return schema


def _reader(field: FieldSchema, time_zone: str, *, is_ruled: bool) -> Reader | None:
    match field.kind:
        case "timestamp":
            return partial(_moment, time_zone=time_zone, is_ruled=is_ruled)
        case "date":
            return _date
        case "decimal" if "string" in field.native:
            return _decimal
    return None


def _moment(value: Json, time_zone: str, *, is_ruled: bool) -> object:
    """ValueError for a point in time without an offset, where the map says none, or finer than a microsecond."""
    if not isinstance(value, str) or len(value) == _DATE_ALONE:
        return _date(value)
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return value  # a rule may know the format; without one the conversion refuses it
    if _FINER.search(value):
        if is_ruled:
            return value
        raise ValueError(f"{shown(value)} is finer than a microsecond; write a rule that says what to do with the rest")
    if found.tzinfo is not None:
        return found
    if not time_zone:
        raise ValueError(
            f"{shown(value)} has no offset: say which it is with `time_zone: UTC` under the data type's `source:`"
        )
    return placed(found, time_zone)


def _date(value: Json) -> object:
    try:
        return date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _decimal(value: Json) -> object:
    """A number that travels as text, so that no program between rounds it."""
    if not isinstance(value, str):
        return value
    try:
        return Decimal(value)
    except ArithmeticError:
        return value


def _dict(given: Json) -> Record:
    return given if isinstance(given, dict) else {}
