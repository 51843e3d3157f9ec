"""The record that a trace is about."""

from __future__ import annotations

from dataclasses import dataclass

from sorbus.map.loaded import LoadedMap
from sorbus.settings import Settings


@dataclass(frozen=True, slots=True)
class TracedRecord:
    """One record of a map's data type; its personal values are masked unless `show_personal`."""

    loaded: LoadedMap
    settings: Settings
    data_type: str
    id: str
    show_personal: bool
