"""Systems of a map that are the same place: what a flow writes there, its owner may take for a change.

It may be intended (two schemas of one database), so it is a note, not a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations
from typing import TYPE_CHECKING

from sorbus.discovery import SupportsLocation
from sorbus.errors import SorbusError

if TYPE_CHECKING:
    from sorbus.map.loaded import LoadedMap


def same_places(loaded: LoadedMap) -> list[str]:
    """From the map's connections, with the secrets that are set; nothing is contacted."""
    checked = loaded.for_check()
    return list(_notes(checked, lambda name: _written(checked, name)))


def same_servers(loaded: LoadedMap) -> list[str]:
    """From what the systems report themselves; unreachable ones are left out."""
    return list(_notes(loaded, lambda name: _asked(loaded, name)))


def _notes(loaded: LoadedMap, locate: Callable[[str], str | None]) -> Iterable[str]:
    places = {name: found for name in loaded.map.systems if (found := locate(name)) is not None}
    for one, other in combinations(places, 2):
        if places[one] != places[other]:
            continue
        flows = [
            flow.id
            for flow in loaded.map.flows
            if flow.runs and {flow.to, _owner(loaded, flow.data_type)} == {one, other}
        ]
        between = f" ({', '.join(flows)} leads from one into the other)" if flows else ""
        yield (
            f"{one} and {other} are one and the same {loaded.map.systems[one].kind} system{between}: what is written"
            " there may come back as a change, again and again, by a trigger or a table that both use."
            " If that isn't intended, correct a connection"
        )


def _owner(loaded: LoadedMap, data_type: str) -> object:
    found = loaded.map.data_types.get(data_type)
    return found and found.system_of_record


def _written(loaded: LoadedMap, name: str) -> str | None:
    kind = loaded.map.systems[name].kind
    try:
        system = loaded.system(name)
        found = _connector(loaded, name)
        place = found.location(system) if isinstance(found, SupportsLocation) else None
    except SorbusError:
        place = None  # a secret that isn't set, or a connection for which the check has a finding
    if place is None:
        written = loaded.map.systems[name].connection
        try:
            place = str(loaded.secrets.fill_all(dict(written))) if written else None
        except ValueError:
            return None
    return None if place is None else f"{kind} {place}"


def _asked(loaded: LoadedMap, name: str) -> str | None:
    try:
        found = _connector(loaded, name)
        return found.location(loaded.system(name), ask=True) if isinstance(found, SupportsLocation) else None
    except SorbusError:
        return None


def _connector(loaded: LoadedMap, name: str) -> object:
    try:
        return loaded.producer(name)
    except SorbusError:
        return loaded.consumer(name)
