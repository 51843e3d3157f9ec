"""References in a mapping sheet's row: which part of a record, which field of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from sorbus.schema import FieldType, RecordSchema

CANONICAL = "canonical"
RECORD = ""
ID = "id"
_DOT = re.compile(r"\.(?![^\[\]]*\])")
"""A dot between names, not one inside `[key=value]`."""


class FieldRef(NamedTuple):
    """A field of one side: its part ("" the record itself, a list field's name its items) and its name."""

    part: str
    name: str


def canonical_fields(schema: RecordSchema) -> dict[str, dict[str, FieldType]]:
    """Part -> field -> type. A list of records is both a part and a field of the record."""
    parts: dict[str, dict[str, FieldType]] = {RECORD: {field.name: field.type for field in schema.fields}}
    for field in schema.fields:
        if field.type.kind == "array" and field.type.item is not None and field.type.item.kind == "record":
            parts[field.name] = {inner.name: inner.type for inner in field.type.item.fields}
    return parts


def canonical_data_type(reference: str) -> str:
    """The data type of a canonical reference: `order` for `order.lines[].sku`; empty for an empty one."""
    return reference.partition(".")[0]


def canonical_ref(reference: str) -> FieldRef:
    """`order.lines[].sku` is (lines, sku), `order.number` (record, number), `order` the record without a field."""
    _, _, rest = reference.partition(".")
    part, items, name = rest.partition("[].")
    return FieldRef(part, name) if items else FieldRef(RECORD, rest)


def column_refs(reference: str, resources: Mapping[str, str]) -> list[FieldRef]:
    """Every field that RESOURCE.COLUMN can mean among `resources` (part -> name); none: it is in another resource.

    RESOURCE may be shortened to its last parts, and end in `[]`; the longest match counts. COLUMN may be a path into
    JSON (`Phones[PhoneType=MOBILE].PhoneNumber`). A name without a dot is a column of any part.
    """
    words = _DOT.split(reference.replace("[]", ""))
    if len(words) == 1:
        return [FieldRef(part, reference) for part in resources]
    best = 0
    found: list[FieldRef] = []
    for part, resource in resources.items():
        whole = resource.replace("[]", "").split(".")
        for length in range(len(whole), max(best, 1) - 1, -1):
            if words[:length] == whole[-length:] and len(words) > length:
                place = FieldRef(part, ".".join(words[length:]))
                found = [*found, place] if length == best else [place]
                best = length
                break
    return found


def column_reference(place: FieldRef, resources: Mapping[str, str]) -> str:
    """A column as written in a sheet: RESOURCE.COLUMN."""
    return f"{resources.get(place.part, place.part)}.{place.name}"


def canonical_reference(place: FieldRef, data_type: str) -> str:
    """A canonical field as written in a sheet: DATA_TYPE.FIELD or DATA_TYPE.LIST[].FIELD."""
    return f"{data_type}.{place.part}[].{place.name}" if place.part else f"{data_type}.{place.name}"
