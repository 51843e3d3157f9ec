"""Things that wait for people, for the console's tests."""

from __future__ import annotations

from sorbus.drift.store import DriftStore
from sorbus.state import State
from sorbus.waiting.room import Event, Held, Room

FLOW, BY_HAND = "customer-to-accounting", "customer-to-plan"


def hold(state: State, ids: list[str], message: str = "customer {} lacks tax_number") -> None:
    """Records that wait in a flow's room, one after the other."""
    room = Room(state, FLOW, "customer", "accounting")
    for number, id in enumerate(ids):
        event = Event(id.encode(), 1, b"frame", [], "customer", 0, number)
        room.put([Held(event, "incomplete", [("tax_number", "")], message.format(id))], limit=0)


def find(state: State, system: str = "crm", severity: str = "held", now: str = "text") -> int:
    """A drift finding; its number."""
    return DriftStore(state).put(
        {
            "system": system,
            "data_type": "customer",
            "resource": "public.customers",
            "field": "name",
            "what": "retyped",
            "was": "text",
            "now": now,
            "severity": severity,
            "renamed": "",
            "example": "***",
            "mapping": "",
            "count": 3,
            "first_seen": 1_000_000,
            "last_seen": 1_000_100,
        }
    )
