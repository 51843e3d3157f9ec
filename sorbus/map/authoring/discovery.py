"""Discovery of a system of the map: its resources, their likely meaning, and their owners according to the map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import JsonValue

from sorbus.abilities import Resource
from sorbus.connector import consumer_connector, known_kinds, producer_connector
from sorbus.discovery import NullCount, SupportsDiscovery, SupportsNullCounts
from sorbus.errors import SorbusError
from sorbus.map.authoring.draft_map import ProposedOwner, propose_owners, source_options
from sorbus.map.authoring.draft_schema import Draft, draft_types
from sorbus.map.authoring.matching import Proposal, propose
from sorbus.map.catalog import read_catalog
from sorbus.map.loaded import PACKAGED_SCHEMAS, LoadedMap
from sorbus.schema import RecordSchema, read_schema


@dataclass(frozen=True, slots=True)
class Look:
    """A discovered system. `owners` are the map's own where it names one, else proposed."""

    system: str
    resources: Sequence[Resource]
    proposals: Sequence[Proposal]
    owners: Mapping[str, ProposedOwner]
    sources: Mapping[str, dict[str, JsonValue]]
    drafts: Sequence[Draft] = ()
    """New data types, for resources that hold none of the canonical ones."""

    @property
    def owned_elsewhere(self) -> list[str]:
        """Data types found here that another system owns, or should."""
        return [name for name, owner in self.owners.items() if owner.system != self.system]


def look_into(loaded: LoadedMap, system: str) -> Look:
    """Lists a system's resources; MapError, TransientError, AuthError."""
    resources = sorted(discover(loaded, system), key=lambda each: each.name)
    schemas = all_schemas(loaded)
    found = {system: with_null_counts(loaded, system, propose(resources, schemas), schemas)}
    drafts = draft_types(resources, found[system], [*schemas])
    for other in loaded.map.systems:
        if other != system and (catalog := read_catalog(loaded.folder, other)):
            found[other] = propose(list(catalog.resources.values()), schemas)
    owners = {each.data_type: _owner(loaded, each.data_type, propose_owners(found)) for each in found[system]}
    options = sources(loaded, system, [*found[system], *(draft.proposal for draft in drafts)])
    return Look(system, resources, found[system], owners, options, drafts)


def with_null_counts(
    loaded: LoadedMap, system: str, proposals: Sequence[Proposal], schemas: Mapping[str, RecordSchema]
) -> list[Proposal]:
    """The proposals, with a note at each required field whose column is empty in some rows."""
    asked = {each.data_type: _may_lack(each, schemas[each.data_type]) for each in proposals}
    wanted: dict[str, list[str]] = {}
    for resource, column in (pair for pairs in asked.values() for pair in pairs.values()):
        wanted.setdefault(resource, []).append(column)
    connector = _connector(loaded, system)
    if not wanted or not isinstance(connector, SupportsNullCounts):
        return list(proposals)
    counts = connector.count_nulls(loaded.system(system), wanted)
    return [_noted(each, asked[each.data_type], counts) for each in proposals]


def _may_lack(proposal: Proposal, schema: RecordSchema) -> dict[str, tuple[str, str]]:
    """Canonical path -> (resource, column), for required fields filled from a nullable column."""
    required = {f"{proposal.data_type}.{path}" for path, field in schema.leaves() if field.required}
    tables = {"": proposal.resource.name, **{each.field: each.resource for each in proposal.lists}}
    found = {}
    for field in proposal.fields:
        if field.canonical in required and field.source:
            part = field.canonical.partition(".")[2].rpartition("[].")[0]
            found[field.canonical] = tables[part], field.source.rpartition(".")[2]
    return found


def _noted(
    proposal: Proposal, asked: Mapping[str, tuple[str, str]], counts: Mapping[tuple[str, str], NullCount]
) -> Proposal:
    fields = []
    for field in proposal.fields:
        count = counts.get(asked[field.canonical]) if field.canonical in asked else None
        if count is not None and count.nulls:
            of = f"the first {count.rows:,}" if count.is_sample else f"{count.rows:,}"
            note = (
                f"required, and empty in {count.nulls:,} of {of} rows, which would become dead letters: take another"
                " column, or write a rule such as value | default(record.OTHER)"
            )
            field = field._replace(notes="; ".join(filter(None, (field.notes, note))))
        fields.append(field)
    return replace(proposal, fields=tuple(fields))


def discover(loaded: LoadedMap, system: str) -> list[Resource]:
    """The system's resources, through its kind's connector; SorbusError if that can't list them."""
    bound, connector = loaded.system(system), _connector(loaded, system)
    if not isinstance(connector, SupportsDiscovery):
        raise SorbusError(f"systems of kind {bound.system.kind} can't be discovered; write the sheet by hand")
    return connector.discover(bound)


def _connector(loaded: LoadedMap, system: str) -> object:
    kind = loaded.system(system).system.kind
    is_source = kind in known_kinds("sorbus.producers")
    return (producer_connector if is_source else consumer_connector)(kind)


def sources(loaded: LoadedMap, system: str, proposals: Sequence[Proposal]) -> dict[str, dict[str, JsonValue]]:
    """Data type -> its `source:` if this system owned it; empty for a kind that can't be a system of record."""
    kind = loaded.map.systems[system].kind
    if kind not in known_kinds("sorbus.producers"):
        return {}
    model = producer_connector(kind).Source
    options = {each.data_type: source_options(each, model) for each in proposals}
    return {name: found for name, found in options.items() if found is not None}


def all_schemas(loaded: LoadedMap) -> dict[str, RecordSchema]:
    """Every canonical schema: Sorbus's own, replaced by those beside the map where names are equal."""
    files = {
        file.stem: file for folder in (PACKAGED_SCHEMAS, loaded.folder / "schemas") for file in folder.glob("*.avsc")
    }
    return {name: read_schema(file) for name, file in sorted(files.items())}


def _owner(loaded: LoadedMap, data_type: str, proposed: Mapping[str, ProposedOwner]) -> ProposedOwner:
    written = loaded.map.data_types.get(data_type)
    if written is not None and isinstance(written.system_of_record, str):
        return ProposedOwner(written.system_of_record, "as the map says")
    return proposed[data_type]
