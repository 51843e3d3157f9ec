"""What each target has of a record now: asked of the target itself, and nothing is written."""

from __future__ import annotations

from typing import NamedTuple

from sorbus.abilities import Preview, SupportsPreview
from sorbus.connector import BoundFlow, Delivery
from sorbus.errors import SorbusError
from sorbus.map.loaded import LoadedMap
from sorbus.privacy.preview import masked_fault, masked_preview
from sorbus.waiting.complete import consumer_of

_SAID = {
    "nothing": "up to date",
    "older": "has a newer version than its topic",
    "create": "not there yet",
    "update": "differs",
    "delete": "still there, and deleted at its owner",
    "link": "there, and not linked yet",
    "ask": "waits for a person",
    "wait": "waits for another record",
    "hold": "held back",
    "refuse": "refused",
    "filter": "outside of the flow's `where`",
}


class TargetState(NamedTuple):
    """One flow's target: `said` in short, `preview` is what its consumer would do; `problem`: it can't be told."""

    flow: str
    system: str
    said: str
    preview: Preview | None
    problem: str = ""


def target_states(
    loaded: LoadedMap, data_type: str, delivery: Delivery | None, *, show_personal: bool
) -> list[TargetState]:
    """What a delivery of the newest event would do, for every flow of the data type that runs."""
    flows = [flow for flow in loaded.map.flows if flow.data_type == data_type and flow.runs]
    return [_state(loaded, flow.id, flow.to, delivery, show_personal=show_personal) for flow in flows]


def _state(loaded: LoadedMap, flow: str, system: str, delivery: Delivery | None, *, show_personal: bool) -> TargetState:
    if delivery is None:
        return TargetState(flow, system, "unknown", None, "its topic has no event that could be delivered")
    bound: BoundFlow | None = None
    try:
        bound = loaded.flow(flow)
        target = consumer_of(loaded.consumer(system), bound)
        if not isinstance(target, SupportsPreview):
            kind = bound.system.system.kind
            return TargetState(flow, system, "unknown", None, f"systems of kind {kind} can't say what they have")
        try:
            target.open()
            shown = target.preview(delivery)
        finally:
            target.close()
        if not show_personal:
            shown = masked_preview(shown, bound, delivery)
    except SorbusError as error:
        shown_error = error if show_personal or bound is None else masked_fault(error, bound, delivery)
        return TargetState(flow, system, "unknown", None, str(shown_error))
    return TargetState(flow, system, _SAID[shown.action], shown)
