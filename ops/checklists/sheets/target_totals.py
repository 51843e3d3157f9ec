"""The target's own figures, where its connector can count its records."""

from __future__ import annotations

from collections.abc import Sequence

from sorbus.abilities import SupportsTotals
from sorbus.errors import AuthError, MapError, TransientError, UsageError
from sorbus.map.loaded import LoadedMap
from sorbus.mapfile.model import Flow
from sorbus.ops.checklists.sheets.figures import Totals


def read_target_totals(loaded: LoadedMap, flow: Flow, sums: Sequence[str]) -> Totals | str:
    """The figures, or why Sorbus can't read them, so that a person is asked."""
    kind = loaded.map.systems[flow.to].kind
    if not flow.target:
        return f"the map does not say where in {flow.to} they are (`target:` of {flow.id})"
    try:
        connector: object = loaded.consumer(flow.to)
        if not isinstance(connector, SupportsTotals):
            return f"systems of kind {kind} can't be counted"
        found = connector.totals(loaded.flow(flow.id), sums)
    except MapError as error:
        return "; ".join(finding.message for finding in error.findings) or str(error)
    except (TransientError, AuthError, UsageError) as error:
        return str(error)
    return Totals(found.records, found.sums)
