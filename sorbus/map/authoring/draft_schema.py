"""Draft data types for tables that hold none of the canonical ones: a schema, and the rows that fill it."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sorbus.abilities import CatalogField, Resource
from sorbus.map.authoring.field_names import noun, words
from sorbus.map.authoring.matching import Proposal, ProposedField, ProposedList
from sorbus.schema import AvroType, Kind

_LOGICAL: Mapping[Kind, AvroType] = {
    "date": {"type": "int", "logicalType": "date"},
    "time": {"type": "long", "logicalType": "time-micros"},
    "timestamp": {"type": "long", "logicalType": "timestamp-micros"},
    "uuid": {"type": "string", "logicalType": "uuid"},
}
_PLACES = re.compile(r"\((\d+)(?:,(\d+))?\)")
_LONGEST = 60
_ID = "id"
"""A record's id is not a field of its schema, so a key column of that name is skipped."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A data type for one table (and those of its lists). `schema` is the content of schemas/NAME.avsc."""

    proposal: Proposal
    schema: dict[str, AvroType]

    @property
    def text(self) -> str:
        """The schema as a file."""
        return json.dumps(self.schema, indent=2, ensure_ascii=False) + "\n"


def draft_types(resources: Sequence[Resource], proposals: Sequence[Proposal], known: Sequence[str]) -> list[Draft]:
    """A draft for each resource without a proposal; `known` are names already taken."""
    held = {each.resource.name: each.data_type for each in proposals}
    items = {each.resource for proposal in proposals for each in proposal.lists}
    free = [
        each
        for each in resources
        if each.fields and each.name not in held and each.name not in items and not _was_drafted(each, known)
    ]
    parents = _list_tables(free, resources)
    taken = set(known) | set(held.values())
    names: dict[str, str] = {}
    for each in free:
        if each.name not in parents:
            names[each.name] = _free_name("_".join(noun(each.name)) or "record", taken)
            taken.add(names[each.name])
    short = _short_names(resources)
    lists = {name: [each for each in free if parents.get(each.name, ("",))[0] == name] for name in names}
    return [
        _draft(each, names[each.name], lists[each.name], parents, {**held, **names}, short)
        for each in free
        if each.name in names
    ]


def _was_drafted(resource: Resource, known: Sequence[str]) -> bool:
    """Whether a schema with the table's name exists: without a key the table isn't proposed for it."""
    return not resource.key and _free_name("_".join(noun(resource.name)) or "record", frozenset()) in known


def _list_tables(free: Sequence[Resource], resources: Sequence[Resource]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Table -> (the table whose list it is, its columns that refer to it): its key begins with its parent's."""
    keys = {each.name: each.key for each in free}
    referred = {name for each in resources for name, _ in each.parents if name != each.name}
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for each in free:
        for parent, columns in each.parents:
            is_part = each.key[: len(columns)] == columns and len(each.key) > len(columns)
            if (
                parent != each.name
                and is_part
                and each.name not in referred
                and len(keys.get(parent, ())) == len(columns)
            ):
                found.setdefault(each.name, (parent, columns))
    return {name: found[name] for name in found if found[name][0] not in found}


def _draft(
    resource: Resource,
    name: str,
    children: Sequence[Resource],
    parents: Mapping[str, tuple[str, tuple[str, ...]]],
    holds: Mapping[str, str],
    short: Mapping[str, str],
) -> Draft:
    rows: list[ProposedField] = []
    taken: set[str] = {_ID}
    skip = [_ID] if resource.key == (_ID,) else []
    fields = list(_fields(resource, name, "", taken, skip, holds, short, rows))
    lists = []
    for child in children:
        list_name = _free_name("_".join(words(child.name.rpartition(".")[2])) or "items", taken)
        taken.add(list_name)
        inner = list(_fields(child, name, f"{list_name}[].", {_ID}, parents[child.name][1], holds, short, rows))
        record: AvroType = {"type": "record", "name": f"{name}_{list_name}", "fields": inner}
        doc = f"Rows of {child.name} that belong to it."
        fields.append({"name": list_name, "type": {"type": "array", "items": record}, "default": [], "doc": doc})
        lists.append(ProposedList(list_name, child.name, parents[child.name][1]))
    schema: dict[str, AvroType] = {
        "type": "record",
        "name": name,
        "namespace": "company",
        "doc": f"A draft, made of {resource.name}.",
        "fields": fields,
    }
    return Draft(Proposal(name, resource, 0.0, tuple(rows), tuple(lists), (), ()), schema)


def _fields(
    resource: Resource,
    data_type: str,
    prefix: str,
    taken: set[str],
    skip: Sequence[str],
    holds: Mapping[str, str],
    short: Mapping[str, str],
    rows: list[ProposedField],
) -> Iterator[AvroType]:
    """A part's fields; the rows that fill them are added to `rows`."""
    refers = {columns[0]: parent for parent, columns in resource.parents if len(columns) == 1}
    for column in resource.fields:
        if column.name in skip:
            continue
        field = _free_name("_".join(words(_ascii(column.name))), taken)
        taken.add(field)
        avro, note = _avro(column)
        parent = refers.get(column.name, "")
        doc = f"The {holds[parent].replace('_', ' ')}'s id." if parent in holds else f"{column.name}: {column.native}."
        rows.append(ProposedField(f"{short[resource.name]}.{column.name}", f"{data_type}.{prefix}{field}", "", note))
        if column.required or column.name in resource.key:
            yield {"name": field, "type": avro, "doc": doc}
        else:
            yield {"name": field, "type": ["null", avro], "default": None, "doc": doc}  # type: ignore[dict-item]


def _avro(column: CatalogField) -> tuple[AvroType, str]:
    """The type that holds every value of a column, and a note for people."""
    if column.kind == "array":
        item = column.item or "string"
        if item in ("map", "record", "array", "decimal", "timestamp"):
            return "string", "a list, as its text"
        return {"type": "array", "items": ["null", _LOGICAL.get(item, item)]}, ""
    if column.kind == "decimal":
        found = _PLACES.search(column.native)
        if found:
            return _decimal(int(found[1]), int(found[2] or 0)), ""
        if column.native == "money":
            return _decimal(19, 2), ""
        return "string", "a number of any length, as its text: a decimal once you know how many places it needs"
    if column.kind == "timestamp" and "without time zone" in column.native:
        note = (
            'no time zone, so its text: for a point in time write a rule such as value | datetime(tz="Europe/London")'
        )
        return "string", note
    return _LOGICAL.get(column.kind, column.kind if column.kind not in ("enum", "map", "record") else "string"), ""


def _decimal(precision: int, scale: int) -> AvroType:
    return {  # the type of Avro's JSON has no numbers
        "type": "bytes", "logicalType": "decimal", "precision": max(precision, scale), "scale": scale,  # type: ignore[dict-item]
    }  # fmt: skip


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def _free_name(wanted: str, taken: set[str] | frozenset[str]) -> str:
    """An unused name of lower-case letters, digits and underscores."""
    plain = _ascii(wanted).lower()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:_LONGEST] or "field"
    name = name if name[0].isalpha() else f"n_{name}"
    number, made = 1, name
    while made in taken:
        number += 1
        made = f"{name}_{number}"
    return made


def _short_names(resources: Sequence[Resource]) -> dict[str, str]:
    """Resource -> its name without its schema, if unique."""
    lasts = [each.name.rpartition(".")[2] for each in resources]
    return {
        each.name: last if lasts.count(last) == 1 else each.name for each, last in zip(resources, lasts, strict=True)
    }
