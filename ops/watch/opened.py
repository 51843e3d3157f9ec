"""A map's `Watch` with everything that it can ask: Kafka, the sources and the state."""

from __future__ import annotations

from sorbus.map.load import LoadedMap
from sorbus.ops.watch.budgets import Budgets
from sorbus.ops.watch.conflicts import ConflictCounts
from sorbus.ops.watch.drift import DriftCounts
from sorbus.ops.watch.duplicates import Duplicates
from sorbus.ops.watch.measure import Watch
from sorbus.ops.watch.sources import SourceLags
from sorbus.ops.watch.waiting import WaitingCounts
from sorbus.settings import Settings


def open_watch(loaded: LoadedMap, settings: Settings) -> Watch:
    """Opened; close it when done."""
    return Watch(
        loaded.map,
        settings,
        slots=SourceLags(loaded),
        budgets=Budgets(loaded.map),
        duplicates=Duplicates(loaded.map),
        drifts=DriftCounts(loaded.map.topic_prefix),
        waiting=WaitingCounts(loaded.map),
        conflicts=ConflictCounts(loaded.map),
    )
