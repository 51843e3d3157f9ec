"""Whether the map's contacts are valid, and their schedules can be parsed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sorbus.errors import Finding
from sorbus.map.contact import FIX as CONTACT_FIX
from sorbus.map.contact import parse_contact
from sorbus.spelling import closest
from sorbus.timing.duration import parse_duration
from sorbus.timing.schedule import SCHEDULE_FIX

if TYPE_CHECKING:
    from sorbus.map.loaded import LoadedMap
    from sorbus.mapfile.model import Flow

_DURATION_FIX = "write 30s, 5m, 2h, 1d or off"


def check_people(loaded: LoadedMap) -> Iterator[Finding]:
    """Findings about owners, responsible people, `escalate_to` and manual schedules; they don't prevent running."""
    for name, system in loaded.map.systems.items():
        number = next((number for number, step in enumerate(loaded.map.steps) if step.id == name), None)
        path = ("systems", name, "owner") if number is None else ("steps", number, "owner")
        yield from _contact(loaded, path, system.owner)
    for place, flow in enumerate(loaded.map.flows):
        yield from _contact(loaded, ("flows", place, "escalate_to"), flow.escalate_to)
        if flow.manual is None:
            continue
        path = ("flows", place, "manual")
        yield from _contact(loaded, (*path, "responsible"), flow.manual.responsible)
        yield from _schedule(loaded, (*path, "schedule"), flow.id, flow.manual.schedule)
        yield from _totals(loaded, (*path, "totals"), flow, flow.manual.totals)


def check_limits(loaded: LoadedMap) -> Iterator[Finding]:
    """Findings about `escalate_after`, which consumers use, and when flows are reconciled."""
    for place, flow in enumerate(loaded.map.flows):
        if flow.reconcile.schedule is not None:
            yield from _schedule(loaded, ("flows", place, "reconcile"), flow.id, flow.reconcile.schedule)
        if flow.escalate_after == "off":
            continue
        try:
            parse_duration(flow.escalate_after)
        except ValueError as error:
            message = f"{flow.id}: escalate_after: {str(error).partition(';')[0]}"
            yield loaded.finding(("flows", place, "escalate_after"), "bad-duration", message, _DURATION_FIX)


def _schedule(loaded: LoadedMap, path: tuple[str | int, ...], flow: str, written: str) -> Iterator[Finding]:
    try:
        loaded.map.due(written)
    except ValueError as error:
        message = f"{flow}: {str(error).removesuffix(SCHEDULE_FIX).rstrip('; ')}"
        yield loaded.finding(path, "bad-schedule", message, SCHEDULE_FIX)


def _totals(loaded: LoadedMap, path: tuple[str | int, ...], flow: Flow, totals: Sequence[str]) -> Iterator[Finding]:
    """Fields that the flow's mapping doesn't fill; without a mapping any name may be right."""
    rows = loaded.target_rows(flow.to, flow.data_type)
    filled = {row.target_field.rpartition(".")[2] for row in rows}
    for name in totals:
        if filled and name not in filled:
            message = f"{flow.id}: totals: the mapping sheet fills no field {name!r} of {flow.to}"
            yield loaded.finding(path, "unknown-total", message, closest(name, filled))


def _contact(loaded: LoadedMap, path: tuple[str | int, ...], written: str | None) -> Iterator[Finding]:
    try:
        if written is not None:
            parse_contact(written)
    except ValueError as error:
        message = str(error).removesuffix(CONTACT_FIX).rstrip("; ")
        yield loaded.finding(path, "bad-contact", message, CONTACT_FIX)
