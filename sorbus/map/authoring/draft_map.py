"""Drafts a map from guesses: the owner of each data type, its `source:`, and a first mapping sheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel, JsonValue, ValidationError

from sorbus.map.authoring.matching import Proposal
from sorbus.mapping.field_refs import CANONICAL
from sorbus.schema import RecordSchema

HEADER = ("Source System", "Source Field", "Target System", "Target Field", "Rule", "Notes")
_RESOURCE_KEYS = ("table", "resource", "file")

Row = tuple[str, str, str, str, str, str]


class ProposedOwner(NamedTuple):
    """The system that should own a data type, and why."""

    system: str
    why: str


def propose_owners(found: Mapping[str, Sequence[Proposal]]) -> dict[str, ProposedOwner]:
    """Data type -> owner, by system: the one with most fields, then the one with most records."""
    held: dict[str, dict[str, Proposal]] = {}
    for system, proposals in found.items():
        for proposal in proposals:
            held.setdefault(proposal.data_type, {})[system] = proposal
    owners = {}
    for data_type, systems in held.items():
        best = max(systems, key=lambda system: _weight(systems[system]))
        filled = [f"{system} fills {len(each.fields)} fields" for system, each in systems.items()]
        owners[data_type] = ProposedOwner(
            best, "; ".join(filled) if len(systems) > 1 else "the only system that has it"
        )
    return owners


def _weight(proposal: Proposal) -> tuple[int, int]:
    return len(proposal.fields) - 3 * len(proposal.missing), proposal.resource.records or 0


def source_options(proposal: Proposal, model: type[BaseModel]) -> dict[str, JsonValue] | None:
    """The data type's `source:` as a connector's own settings; None if they have another structure."""
    known = model.model_fields.keys()
    name = next((key for key in _RESOURCE_KEYS if key in known), None)
    if name is None:
        return None
    options: dict[str, JsonValue] = {name: proposal.resource.name}
    if "key" in known and model.model_fields["key"].is_required():
        options["key"] = list(proposal.resource.key)
    if proposal.lists and "children" in known:
        options["children"] = {
            each.field: {name: each.resource, "parent": list(each.parent)} for each in proposal.lists
        }
    try:
        model.model_validate(options)
    except ValidationError:
        return None
    return options


def guessed_source(data_type: str, model: type[BaseModel]) -> dict[str, JsonValue]:
    """A `source:` for an unreachable system: a table named after its data type, to be fixed."""
    name = next((key for key in _RESOURCE_KEYS if key in model.model_fields), None)
    if name is None:
        return {}
    has_key = "key" in model.model_fields and model.model_fields["key"].is_required()
    return {name: plural(data_type), **({"key": ["id"]} if has_key else {})}


def target_options(schema: RecordSchema, model: type[BaseModel], held: Proposal | None) -> dict[str, JsonValue]:
    """A flow's `target:`: the target's existing table for it, else one that Sorbus is to create."""
    known = model.model_fields.keys()
    name = next((key for key in _RESOURCE_KEYS if key in known), None)
    if name is None:
        return {}
    if held is not None and {"existing", "key"} <= known and len(held.resource.key) == 1:
        return {name: held.resource.name, "existing": True, "key": held.resource.key[0]}
    options: dict[str, JsonValue] = {name: plural(schema.name)}
    lists = [each.name for each in schema.fields if each.type.item and each.type.item.kind == "record"]
    if lists and "children" in known:
        parent = f"{schema.name}_id"
        options["children"] = {each: {name: f"{schema.name}_{each}", "parent": parent} for each in lists}
    return options


def plural(data_type: str) -> str:
    """The usual name of its table."""
    if data_type.endswith("y") and data_type[-2:-1] not in "aeiou":
        return f"{data_type[:-1]}ies"
    return f"{data_type}s"


def rows(system: str, proposals: Sequence[Proposal], owned_elsewhere: Sequence[str] = ()) -> list[Row]:
    """A first mapping sheet: into the canonical fields, or out of them for data types that another system owns.

    A required field without a source gets an empty row, so that `sorbus map check` names its line.
    """
    return [row for each in proposals for row in _rows(system, each, each.data_type in owned_elsewhere)]


def _rows(system: str, proposal: Proposal, is_target: bool) -> Iterator[Row]:
    for field in proposal.fields:
        if not is_target:
            yield system, field.source, CANONICAL, field.canonical, field.rule, field.notes
        elif field.source and field.source.rpartition(".")[2] not in proposal.resource.key:
            yield CANONICAL, field.canonical, system, field.source, "", field.notes
    if not is_target:
        for path in proposal.missing:
            note = "required, but nothing here seems to hold it: name a field, or write a rule"
            yield system, "", CANONICAL, f"{proposal.data_type}.{path}", "", note


def sheet(lines: Sequence[Row]) -> str:
    """Rows as the CSV of a mapping sheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([HEADER, *lines])
    return text.getvalue()
