"""A two-way conflict, its values side by side: what each system shows, since when, and what is chosen between."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from sorbus.avro.decode import Undecodable
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.conflict.store import Conflict
from sorbus.errors import SorbusError
from sorbus.http_api.interface import Json
from sorbus.map.loaded import LoadedMap
from sorbus.settings import Settings
from sorbus.state.database import State
from sorbus.two_way.expand import TwoWay
from sorbus.two_way.merged_record import MergedRecord
from sorbus.two_way.record_codec import FrameDecoder, RecordCodec
from sorbus.two_way.store import MergeStore

_log = logging.getLogger(__name__)
RECORD = "(record)"
"""The field of a conflict about the whole record."""


@dataclass(frozen=True, slots=True)
class SystemValue:
    """What a system shows of the field. `is_known` False: Sorbus can't tell at the moment.

    `changed_at`: when it was changed there; None: it was brought there, or is not known.
    """

    system: str
    value: Json
    is_known: bool
    changed_at: datetime | None
    note: str


def two_way_of(loaded: LoadedMap, conflict: Conflict) -> TwoWay | None:
    """The two-way data type that a conflict is about; None for a conflict with a target that only receives."""
    found = loaded.two_way.get(conflict.data_type)
    return found if found is not None and conflict.system in found.systems else None


def values_by_system(
    loaded: LoadedMap, settings: Settings, state: State, two_way: TwoWay, conflict: Conflict
) -> list[SystemValue]:
    """Each system's value, the system of record first. `conflict`: with its values in the clear.

    What the merge has kept; where that can't be read (the registry is away), the conflict's own two values.
    """
    record = _merged(loaded, settings, state, conflict)
    return [_of(system, two_way, conflict, record) for system in two_way.systems]


def _of(system: str, two_way: TwoWay, conflict: Conflict, record: MergedRecord | None) -> SystemValue:
    name = "" if conflict.field == RECORD else conflict.field
    held = record.held.get((name, conflict.system)) if record is not None else None
    if system == conflict.system:
        at = _moment(held.at) if held is not None and held.at else None
        return SystemValue(system, conflict.theirs, True, at, "waits for a decision")
    if name and system != two_way.system_of_record and name not in two_way.proposed[system]:
        note = "only receives this field"
    else:
        note = ""
    view = record.views.get(system) if record is not None else None
    if view is None or (view.values is not None and name not in view.values):
        return SystemValue(system, None, False, None, note)
    if not name:
        return SystemValue(system, "deleted" if view.values is None else "there", True, None, note)
    assert record is not None
    origin = record.origins.get(name)
    is_origin = origin is not None and origin.system == system
    at = _moment(origin.at) if origin is not None and is_origin else None
    value: Json = None if view.values is None else _json(view.values[name])
    return SystemValue(system, value, True, at, "the record's value comes from here" if is_origin else note)


def _merged(loaded: LoadedMap, settings: Settings, state: State, conflict: Conflict) -> MergedRecord | None:
    name = conflict.data_type
    try:
        schema = loaded.schema(name)
        schemas = SchemaResolver(settings, Names(loaded.map.topic_prefix), [schema])
        codec = RecordCodec(name, schema, schemas)
        store = MergeStore(state, name, codec.encode, codec.decode, FrameDecoder(schemas))
        id = conflict.id.encode()
        return store.load([id])[id].record
    except (SorbusError, Undecodable, ValueError) as error:
        _log.warning("the merged record is unavailable", extra={"reason": str(error)})
        return None


def _moment(micros: int) -> datetime:
    return datetime.fromtimestamp(micros / 1e6, UTC)


def _json(value: object) -> Json:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple):
        return [_json(each) for each in value]
    return str(value)
