"""Healing: the owner's state of records that differ is sent through the bus again, never written around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sorbus.bus.kafka import idempotent_producer
from sorbus.bus.names import Names
from sorbus.bus.requests import reread_message
from sorbus.bus.sending import send
from sorbus.bus.status import require_running
from sorbus.connector import BoundFlow
from sorbus.ops.reconcile.finding import ReconcileReport
from sorbus.ops.reconcile.store import ReconcileStore, StoredDifference
from sorbus.settings import Settings
from sorbus.state.database import State


class HealPlan(NamedTuple):
    """What healing a flow would do. `records` are sent again; `left` are not, with why; so many are `unkept`.

    `share` is that of all records which differ and may be sent, kept or not.
    """

    flow: str
    records: list[StoredDifference]
    left: list[tuple[StoredDifference, str]]
    unkept: int
    share: float
    limit: float

    @property
    def needs_consent(self) -> bool:
        """Whether a person has to agree first."""
        return bool(self.records) and self.share > self.limit


def plan_heal(flow: BoundFlow, differences: Sequence[StoredDifference], records: int, found: int) -> HealPlan:
    """What healing would send again; `records`: how many the flow has; `found`: how many differ, kept or not."""
    chosen: list[StoredDifference] = []
    left: list[tuple[StoredDifference, str]] = []
    for one in differences:
        if why := _why_left(flow, one):
            left.append((one, why))
        else:
            chosen.append(one)
    unkept = max(0, found - len(differences))
    share = (len(chosen) + unkept) / max(records, 1)
    return HealPlan(flow.flow.id, chosen, left, unkept, share, flow.flow.reconcile.heal_share)


def _why_left(flow: BoundFlow, one: StoredDifference) -> str:
    """Why sending a record again would do nothing, or too much; "" where it heals."""
    if one.kind == "extra" and one.cause == "foreign" and flow.flow.reconcile.foreign_records == "keep":
        return "the target's own record: delete it there, or add it at the owner"
    if one.kind == "extra" and flow.flow.deletes == "ignore":
        return "the flow ignores deletes"
    match one.cause:
        case "producer_behind" | "flow_behind" | "flow_paused":
            return f"{one.why}: it is delivered when they catch up"
        case "waiting":
            return f"{one.why}: it is delivered when what it waits for is there"
        case "dead_letter":
            return f"{one.why}: fix that, then `sorbus dlq requeue`"
        case "unreadable":
            return f"it can't be read there, so nothing is known of it: {one.why}"
        case "same_key":
            return f"{one.why}: sending it again changes nothing"
    return ""


def heal(plan: HealPlan, flow: BoundFlow, owner: str, settings: Settings, state: State, who: str) -> None:
    """Asks the owner's producer to publish these records again. TransientError."""
    names = Names(flow.system.topic_prefix)
    require_running(settings, names, f"produce {owner}")
    producer = idempotent_producer(settings, f"heal-{flow.flow.id}")
    messages = [
        reread_message(names, owner, flow.flow.data_type, one.id.encode("utf-8", "surrogateescape"))
        for one in plan.records
    ]
    send(producer, messages, f"asking {owner} for {len(messages)} records")
    ReconcileStore(state).healed(flow.flow.id, [one.id for one in plan.records], who)


def records_of(report: ReconcileReport) -> int:
    """How many records a flow has, from what a reconciliation counted."""
    return max(report.owner_records or 0, report.target_records or 0, report.compared)


def in_words(one: StoredDifference, owner: str, target: str, action: str = "") -> str:
    """What healing would do with a record. `action`: a dry run's word for it, if there was one."""
    does = {
        "link": f"link it to the record that {target} has, and write it as {owner} has it",
        "create": f"create it in {target} as {owner} has it",
        "refuse": f"be refused: {one.why}",
        "ask": f"ask a person: {one.why}",
        "wait": f"wait: {one.why}",
        "hold": f"be held: {one.why}",
        "missing": f"create it in {target} as {owner} has it",
        "extra": f"delete it in {target}, since {owner} doesn't have it",
        "different": f"write {', '.join(field.field for field in one.fields) or 'it'} as {owner} has it",
        "stale": f"deliver it as {owner} has it",
    }
    return does.get(action) or does.get(one.kind, one.why)
