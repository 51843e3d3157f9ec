"""What a person on the phone needs of a trace: what each system shows, since when, why it differs, who can fix it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sorbus.connector import consumer_connector
from sorbus.dry_run import WriteOnly
from sorbus.map.contact import Contact, called_for, owner_of
from sorbus.mapfile.model import Map
from sorbus.ops.monitoring.problems import Problem
from sorbus.ops.trace.moment import Moment
from sorbus.ops.trace.owner import OwnerState
from sorbus.ops.trace.targets import TargetState

_OPERATOR = "who runs Sorbus"
_COMMAND: Mapping[str, str] = {
    "letter": "`sorbus dlq show {}`",
    "duplicate": "`sorbus duplicates list`",
    "conflict": "`sorbus conflicts list`",
    "waiting": "`sorbus waiting`",
}


@dataclass(frozen=True, slots=True)
class TraceFacts:
    """What the sentences are made of. `since`: when the newest published state came to be at its owner."""

    company: Map
    data_type: str
    owner: OwnerState
    targets: Sequence[TargetState]
    moments: Sequence[Moment]
    since: datetime | None
    is_deleted: bool
    problems: Sequence[Problem]


def summarise(facts: TraceFacts) -> list[str]:
    """A sentence or two for the owner, then for each target. No values of the record are in them."""
    return [_of_owner(facts), *(_of_target(facts, one) for one in facts.targets)]


def _of_owner(facts: TraceFacts) -> str:
    owner, since = facts.owner, _when(facts.since)
    name, who = owner.system, _name(owner_of(facts.company, owner.system))
    match owner.said:
        case "as published":
            return f"{name} (the owner) has it as Sorbus published it, since {since}."
        case "deleted":
            return f"{name} (the owner) deleted it, {since}."
        case "never there":
            return f"{name} (the owner) has no such record, and Sorbus never published one: check the ID with {who}."
        case "not canonical":
            return (
                f"{name} (the owner) has it in a state that can't be published ({owner.why}): {who} can fix it there."
            )
        case "unknown":
            return f"What {name} (the owner) has now can't be told: {owner.why}."
    what = {
        "changed": f"has changed {_listed(owner.differs)}",
        "not published": "has it",
        "gone": "no longer has it",
    }[owner.said]
    letter = next((one for one in facts.moments if one.is_open and one.where == f"from {name}"), None)
    if letter is not None:
        command = _COMMAND.get(letter.kind, "").format(letter.subject)
        reason = f"that state became a dead letter: {who} can fix the record, see {command}"
    elif problem := _problem(facts, name, "system", "producer"):
        reason = f"{problem.words}: {_OPERATOR} can fix that"
    else:
        reason = "its producer runs, so it should follow within moments; trace it again"
    return f"{name} (the owner) {what}, and Sorbus has not published that yet: {reason}."


def _of_target(facts: TraceFacts, state: TargetState) -> str:
    name, since = state.system, _when(facts.since)
    flow = next(one for one in facts.company.flows if one.id == state.flow)
    action = state.preview.action if state.preview else ""
    shows = "has deleted it" if facts.is_deleted else "shows the same"
    if action == "nothing":
        is_behind = facts.owner.said in ("changed", "not published", "gone", "not canonical")
        behind = ", which is no longer the owner's" if is_behind else ""
        if isinstance(consumer_connector(facts.company.systems[name].kind), WriteOnly):
            return f"{name} has accepted what Sorbus published, the state of {since}{behind}; it can't be asked."
        return f"{name} {shows} as Sorbus published, the state of {since}{behind}."
    if not action:
        problem = _problem(facts, state.flow, "consumer") or _problem(facts, name, "system")
        words = problem.words if problem else state.problem
        return f"What {name} shows can't be told: {words}."
    differs = {
        "create": f"{name} does not have it",
        "delete": f"{name} still has it, though it was deleted, {since}",
        "older": f"{name} has a newer version than the topic",
        "link": f"{name} has a record that looks like it, not linked yet",
    }.get(action, f"{name} does not show the state of {since}")
    return f"{differs}: {'. '.join(_reasons(facts, state, flow.id, _name(called_for(facts.company, flow))))}."


def _reasons(facts: TraceFacts, state: TargetState, flow: str, who: str) -> Iterator[str]:
    """Why a target differs, and who can fix it: an open item of this record first, then what keeps the whole flow."""
    places = (flow, state.system)
    held = [one for one in facts.moments if one.is_open and (one.where in places or one.where.split(" ")[0] in places)]
    for one in held:
        command = _COMMAND.get(one.kind, "").format(one.subject)
        yield f"{one.what}; {who} can settle it{f', see {command}' if command else ''}"
    if problem := _problem(facts, flow, "consumer") or _problem(facts, state.system, "system"):
        yield f"{problem.words}; {_OPERATOR} can fix that"
    elif not held:
        why = state.preview.why if state.preview else state.problem
        if state.preview and state.preview.action in ("create", "update", "delete", "link"):
            yield (
                f"the flow {flow} should deliver it within moments; if it stays, the target was changed by hand or"
                f" restored, and {_OPERATOR} can send it again: `sorbus replay {flow}`"
            )
        else:
            yield f"{why}; {who} can settle it"


def _problem(facts: TraceFacts, subject: str, *kinds: str) -> Problem | None:
    return next((one for one in facts.problems if one.subject == subject and one.kind in kinds), None)


def _name(contact: Contact | None) -> str:
    return contact.name if contact else _OPERATOR


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more fields" if len(names) > 5 else "")


def _when(at: datetime | None) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M %Z") if at else "an unknown time"
