"""Whether the application has a value already: compared as what it means, not as how it is written.

Applications give back what they were sent in their own way: "10.0" for 10, a date with a time, text without the space
at its end, "" for null. None of these is a difference, or every event would be an update for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, date, datetime, time
from decimal import Decimal

from sorbus.errors import PermanentError
from sorbus.http_api.description import ApiField
from sorbus.http_api.interface import Json, Record
from sorbus.http_api.path import read_path, write_path
from sorbus.http_api.values import to_value

Fields = dict[str, Json]
"""A record's fields by their paths."""

_PLAIN = ApiField()


def same(ours: Json, theirs: Json, field: ApiField | None, items: Mapping[str, ApiField] | None = None) -> bool:
    """Whether `theirs` is what we would send. `items`: a list's, by their fields' paths in an item."""
    if items is not None:
        return _same_items(ours or [], theirs or [], items)
    return _meaning(ours, field or _PLAIN) == _meaning(theirs, field or _PLAIN)


def differing(
    wanted: Fields, current: Record, fields: Mapping[str, ApiField], lists: Mapping[str, Mapping[str, ApiField]]
) -> Fields:
    """Those of `wanted` that `current` doesn't have. What can be given only at creation, or not read, never differs."""
    return {
        path: value
        for path, value in wanted.items()
        if (path not in fields or is_compared(fields[path]))
        and not same(value, read_path(current, path), fields.get(path), lists.get(path))
    }


def is_compared(field: ApiField) -> bool:
    """Whether what the application shows of a field is what an update would change."""
    return not (field.once or field.read_only or field.write_only)


def body(fields: Fields, current: Record | None = None) -> Record:
    """Fields as the record that is sent. A list that is ours in part goes along whole, or the rest would end."""
    made: Record = {}
    for path, value in fields.items():
        root, is_inside_list, _ = path.partition("[")
        if is_inside_list and current is not None and read_path(made, root) is None:
            there = read_path(current, root)
            write_path(made, root, deepcopy(there) if there else [])
        write_path(made, path, value)
    return made


def _same_items(ours: Json, theirs: Json, items: Mapping[str, ApiField]) -> bool:
    if not isinstance(theirs, list) or len(ours) != len(theirs):
        return False
    return all(
        isinstance(there, dict) and same(read_path(here, path), read_path(there, path), field)
        for here, there in zip(ours, theirs, strict=True)
        for path, field in items.items()
    )


def _meaning(value: Json, field: ApiField) -> object:
    if value is None or value in ("", [], {}):
        return None
    try:
        found = to_value(value, field)
    except PermanentError:
        found = value
    return _plain(found)


def _plain(value: object) -> object:
    """One form for each meaning."""
    match value:
        case bool():
            return value
        case int() | Decimal() | float():
            return Decimal(str(value))
        case str():
            return value.replace("\r\n", "\n").strip() or None
        case datetime():
            return value.astimezone(UTC) if value.tzinfo else value
        case date() | time():
            return value
        case dict():
            return {name: made for name, inner in value.items() if (made := _plain(inner)) is not None}
        case list() | tuple():
            return [_plain(inner) for inner in value]
    return value
