"""Flows whose data type says how records are matched, into a target that finds them by its key alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sorbus.map.loaded import LoadedMap


def unmatched(loaded: LoadedMap) -> list[str]:
    """A note for each; nothing is contacted."""
    return [
        f"{flow.id}: `match:` of {flow.data_type} isn't used there: {flow.to} finds a row by its `key:` alone"
        " (docs/postgres.md, An existing table with rows)"
        for flow in loaded.map.flows
        if flow.runs
        and flow.direction == "one-way"
        and (flow.target or {}).get("existing") is True
        and (known := loaded.map.data_types.get(flow.data_type)) is not None
        and known.match
    ]
