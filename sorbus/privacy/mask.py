"""Masking: who knows a value recognises it, and nobody else can read it.

| value | masked |
| --- | --- |
| an e-mail address | `a•••@•••.de`: first letter, top-level domain of two or three letters |
| text up to 3 characters; any text that doesn't begin with a letter or + | `•••` |
| text | first letter and a length class: `M•••` (to 15 characters), `M••••••` (to 63), `M•••••••••` |
| number, date, boolean, bytes | `•••` |
| nothing, empty text | unchanged |

First letters are kept only in alphabets with upper and lower case: one Chinese character can be a whole name. There is
no key and no hash, so masking can't be reversed; masked text stays unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from sorbus.schema import FieldType, SchemaField

HIDDEN = "•••"
PERSONAL = "personal"
_SHORT, _MEDIUM, _LONG = 4, 16, 64
_MASKED = re.compile(r"(?:\+|[^\W\d_])?(?:•••){1,3}|[^\W\d_]?•••@•••\.(?:[A-Za-z]{2,3}|•••)")
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.(?P<top>[^\s@.]{2,})")


def masked(value: object) -> object:
    """`value` masked; in records and lists every value inside; field names are kept."""
    if value is None:
        return None
    if isinstance(value, str):
        return masked_text(value)
    if isinstance(value, Mapping):
        return {name: masked(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(inner) for inner in value]
    return HIDDEN


def masked_text(text: str) -> str:
    """A text masked according to the table above."""
    if not text or _MASKED.fullmatch(text):
        return text
    first = text[0] if len(text) >= _SHORT and (text[0] == "+" or text[0].lower() != text[0].upper()) else ""
    if found := _EMAIL.fullmatch(text):
        top = found["top"]
        known = top if len(top) <= 3 and top.isascii() and top.isalpha() else HIDDEN
        return f"{'' if first == '+' else first}{HIDDEN}@{HIDDEN}.{known}"
    return first + HIDDEN * (1 if len(text) < _MEDIUM else 2 if len(text) < _LONG else 3)


def masked_record(record: Mapping[str, object], fields: Sequence[SchemaField]) -> dict[str, object]:
    """A canonical record with its personal fields masked, including those in nested records and lists.

    Unknown fields are masked: they may be personal.
    """
    known = {field.name: field for field in fields}
    return {name: _field(known.get(name), value) for name, value in record.items()}


def _field(field: SchemaField | None, value: object) -> object:
    if field is None or PERSONAL in field.tags:
        return masked(value)
    return _typed(field.type, value)


def _typed(type: FieldType, value: object) -> object:
    if isinstance(value, Mapping) and type.kind == "record":
        return masked_record(value, type.fields)
    if isinstance(value, Mapping) and type.kind == "map" and type.item is not None:
        return {name: _typed(type.item, inner) for name, inner in value.items()}
    if isinstance(value, list) and type.item is not None:
        return [_typed(type.item, inner) for inner in value]
    return value


def personal_names(fields: Sequence[SchemaField]) -> frozenset[str]:
    """The names of all personal fields, including those of nested records and lists (`sku` for `lines[].sku`)."""
    found: set[str] = set()
    for field in fields:
        if PERSONAL in field.tags:
            found.add(field.name)
        for inner in (field.type, field.type.item):
            found |= personal_names(inner.fields) if inner is not None else set()
    return frozenset(found)


def personal_values(record: Mapping[str, object], fields: Sequence[SchemaField]) -> Iterator[object]:
    """Every personal value of a canonical record."""
    for field in fields:
        value = record.get(field.name)
        if PERSONAL in field.tags:
            yield from leaves(value)
        elif isinstance(value, Mapping):
            yield from personal_values(value, field.type.fields)
        elif isinstance(value, list) and field.type.item is not None:
            for item in value:
                if isinstance(item, Mapping):
                    yield from personal_values(item, field.type.item.fields)


def leaves(value: object) -> Iterator[object]:
    """The leaf values of a nested value, without nulls."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from leaves(inner)
    elif value is not None:
        yield value
