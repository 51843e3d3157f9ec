"""A map's `Watch` with everything that it can ask: Kafka, the sources and the state."""

from __future__ import annotations

from collections.abc import Sequence

from sorbus.drift.watch import has_state as is_state_named
from sorbus.map.loaded import LoadedMap
from sorbus.ops.decisions.kind import DecisionKind
from sorbus.ops.monitoring.budgets import budgets
from sorbus.ops.monitoring.dependencies import Dependencies
from sorbus.ops.monitoring.measure import Watch
from sorbus.ops.monitoring.sources import SourceLags
from sorbus.ops.monitoring.volumes import volumes
from sorbus.settings import Settings


def open_watch(loaded: LoadedMap, settings: Settings, kinds: Sequence[DecisionKind]) -> Watch:
    """Opened; close it when done."""
    company, has_state = loaded.map, is_state_named(settings)
    return Watch(
        company,
        settings,
        slots=SourceLags(loaded),
        budgets=budgets(company),
        volumes=volumes(company, has_state=has_state),
        decisions=[kind.measure(company, has_state=has_state) for kind in kinds],
        dependencies=Dependencies(settings, company.topic_prefix),
    )
