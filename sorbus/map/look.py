"""Looking into a system of the map: what is there, what it seems to mean, and whom the map says owns that already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from sorbus.connector import Discovers, Resource, consumer_connector, known_kinds, producer_connector
from sorbus.errors import SorbusError
from sorbus.map.catalog import read_catalog
from sorbus.map.draft import ProposedOwner, propose_owners, source_options
from sorbus.map.load import PACKAGED_SCHEMAS, LoadedMap
from sorbus.map.propose import Proposal, propose
from sorbus.schema import RecordSchema, read_schema


@dataclass(frozen=True, slots=True)
class Look:
    """A system as it was found. `owners` are the map's own where it names one, else proposed."""

    system: str
    resources: Sequence[Resource]
    proposals: Sequence[Proposal]
    owners: Mapping[str, ProposedOwner]
    sources: Mapping[str, dict[str, JsonValue]]

    @property
    def owned_elsewhere(self) -> list[str]:
        """Data types found here that another system owns, or should."""
        return [name for name, owner in self.owners.items() if owner.system != self.system]


def look_into(loaded: LoadedMap, system: str) -> Look:
    """Asks a system what it holds; MapError, TransientError, AuthError."""
    resources = sorted(discover(loaded, system), key=lambda each: each.name)
    schemas = all_schemas(loaded)
    found = {system: propose(resources, schemas)}
    for other in loaded.map.systems:
        if other != system and (catalog := read_catalog(loaded.folder, other)):
            found[other] = propose(list(catalog.resources.values()), schemas)
    owners = {each.data_type: _owner(loaded, each.data_type, propose_owners(found)) for each in found[system]}
    return Look(system, resources, found[system], owners, sources(loaded, system, found[system]))


def discover(loaded: LoadedMap, system: str) -> list[Resource]:
    """The system's resources, through whichever connector its kind has; SorbusError where that can't tell."""
    bound = loaded.system(system)
    is_source = bound.system.kind in known_kinds("sorbus.producers")
    connector = (producer_connector if is_source else consumer_connector)(bound.system.kind)
    if not isinstance(connector, Discovers):
        raise SorbusError(f"systems of kind {bound.system.kind} can't be asked what they hold; write the sheet by hand")
    return connector.discover(bound)


def sources(loaded: LoadedMap, system: str, proposals: Sequence[Proposal]) -> dict[str, dict[str, JsonValue]]:
    """Data type -> its `source:` if this system owned it; empty for a kind that can't be a system of record."""
    kind = loaded.map.systems[system].kind
    if kind not in known_kinds("sorbus.producers"):
        return {}
    model = producer_connector(kind).Source
    options = {each.data_type: source_options(each, model) for each in proposals}
    return {name: found for name, found in options.items() if found is not None}


def all_schemas(loaded: LoadedMap) -> dict[str, RecordSchema]:
    """Every canonical schema there is: Sorbus's own, and those beside the map in their stead."""
    files = {
        file.stem: file for folder in (PACKAGED_SCHEMAS, loaded.folder / "schemas") for file in folder.glob("*.avsc")
    }
    return {name: read_schema(file) for name, file in sorted(files.items())}


def _owner(loaded: LoadedMap, data_type: str, proposed: Mapping[str, ProposedOwner]) -> ProposedOwner:
    written = loaded.map.data_types.get(data_type)
    if written is not None and isinstance(written.system_of_record, str):
        return ProposedOwner(written.system_of_record, "as the map says")
    return proposed[data_type]
