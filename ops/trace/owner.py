"""What a record's owner has of it now, and whether that is what Sorbus has published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from sorbus.avro.decode import read_record
from sorbus.discovery import SupportsOwnerLookup
from sorbus.errors import PermanentError, SorbusError
from sorbus.map.loaded import LoadedMap
from sorbus.ops.trace.events import EventHistory


class OwnerState(NamedTuple):
    """`differs`: fields that are not as published; `why`: why it can't be told, or can't be made canonical."""

    system: str
    said: Literal[
        "as published", "changed", "not published", "gone", "deleted", "never there", "not canonical", "unknown"
    ]
    differs: tuple[str, ...] = ()
    why: str = ""


def owner_state(loaded: LoadedMap, data_type: str, id: str, published: EventHistory, *, unread: str = "") -> OwnerState:
    """Asks the owner; changes nothing. Raises nothing: what fails is `unknown`, with the error.

    `unread`: why not all that was published could be read.
    """
    system = loaded.map.owner_of(data_type)
    try:
        source = next((one for one in loaded.sources(system) if one.name == data_type), None)
        connector = loaded.producer(system)
        if source is None or not isinstance(connector, SupportsOwnerLookup):
            return OwnerState(system, "unknown", why="its connector can't read single records")
        data = connector.read_record(loaded.system(system, "producer"), source, id)
        now = None if data is None else read_record(source.schema, data, 0)[0]
    except PermanentError as error:
        field = f"{error.field}: " if error.field else ""
        return OwnerState(system, "not canonical", why=f"{field}{error.reason}")  # values may be personal
    except SorbusError as error:
        return OwnerState(system, "unknown", why=str(error))
    if unread and published.version is None:
        has = "no such record" if now is None else "such a record"
        return OwnerState(
            system, "unknown", why=f"it has {has}, and what Sorbus published of it isn't known ({unread})"
        )
    return _compared(system, now, published)


def _compared(system: str, now: Mapping[str, object] | None, published: EventHistory) -> OwnerState:
    before = published.values
    if now is None:
        if before is not None:
            return OwnerState(system, "gone")
        return OwnerState(system, "deleted" if published.version is not None else "never there")
    if before is None:
        return OwnerState(system, "not published")
    differs = tuple(name for name in now if now[name] != before.get(name))
    return OwnerState(system, "changed" if differs else "as published", differs)
