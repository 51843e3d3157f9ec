"""A map's `Watch` with everything that it can ask: Kafka, the sources and the state."""

from __future__ import annotations

from sorbus.drift.watch import has_state as is_state_named
from sorbus.map.loaded import LoadedMap
from sorbus.ops.monitoring.budgets import budgets
from sorbus.ops.monitoring.checklists import checklists
from sorbus.ops.monitoring.conflicts import conflicts
from sorbus.ops.monitoring.dependencies import Dependencies
from sorbus.ops.monitoring.drift import drifts
from sorbus.ops.monitoring.duplicates import duplicates
from sorbus.ops.monitoring.measure import Watch
from sorbus.ops.monitoring.sources import SourceLags
from sorbus.ops.monitoring.waiting import waiting
from sorbus.settings import Settings


def open_watch(loaded: LoadedMap, settings: Settings) -> Watch:
    """Opened; close it when done."""
    company, has_state = loaded.map, is_state_named(settings)
    return Watch(
        company,
        settings,
        slots=SourceLags(loaded),
        budgets=budgets(company),
        duplicates=duplicates(company),
        drifts=drifts(company, has_state=has_state),
        waiting=waiting(company, has_state=has_state),
        conflicts=conflicts(company),
        checklists=checklists(company, has_state=has_state),
        dependencies=Dependencies(settings, company.topic_prefix),
    )
