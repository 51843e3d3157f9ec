"""What a measurement means for people: each flow and system as OK, a warning or broken, in a word or two.

Kinds, as the console's chips have them: ok, warn, bad (needs action), idle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sorbus.mapfile.model import Flow, Map
from sorbus.ops.console.template_filters import number, span
from sorbus.ops.decisions.open_decisions import HealthBadge, Severity
from sorbus.ops.monitoring.flow_state import GRACE, FlowState
from sorbus.ops.monitoring.measure import Measurement
from sorbus.ops.monitoring.problems import Problem

_START = "no consumer runs: start it with `sorbus up` or `sorbus consume`"
_ORDER: Mapping[Severity, int] = {"bad": 0, "warn": 1, "ok": 2, "idle": 3}


@dataclass(frozen=True, slots=True)
class HealthBadges:
    """Everything's signs, flows by id and systems by name."""

    flows: Mapping[str, HealthBadge]
    systems: Mapping[str, HealthBadge]
    counts: Mapping[Severity, int]
    """Flows that run, by kind."""


def badges_of(company: Map, measured: Measurement | None, trouble: str = "", unknown: str = "") -> HealthBadges:
    """The signs of a whole map; "not measured yet" where nothing is known.

    `trouble`: why measuring fails at this moment; how things are is unknown then, whatever was measured before, and
    `unknown` says that in few words.
    """
    states = {state.flow: state for state in measured.flows} if measured else {}
    flows = {flow.id: flow_badge(flow, states.get(flow.id), measured) for flow in company.flows}
    systems = {name: system_badge(company, name, measured) for name in company.systems}
    if trouble:
        dark = HealthBadge("bad", unknown or "unknown: measuring fails", trouble)
        flows |= {flow.id: dark for flow in company.flows if flow.runs}
        systems = {name: dark if sign.kind != "idle" else sign for name, sign in systems.items()}
    running = [flows[flow.id].kind for flow in company.flows if flow.runs]
    return HealthBadges(flows, systems, {kind: running.count(kind) for kind in _ORDER})


def flow_badge(flow: Flow, state: FlowState | None, measured: Measurement | None) -> HealthBadge:
    """How a flow is; the worst of what can be said."""
    if flow.none is not None:
        return HealthBadge("idle", "not integrated")
    if flow.manual is not None:
        return _by_hand(flow, measured)
    if state is None or measured is None:
        return HealthBadge("idle", "not measured yet")
    found = [
        _of_problem(state.problem),
        HealthBadge("bad" if state.pause.is_own else "idle", "paused", state.pause.words) if state.pause else None,
        _of_source(state.source_problem),
        *_of_findings(measured, (flow.id, flow.data_type)),
        HealthBadge("bad", "not running", _START) if not state.members and not state.patience else None,
        HealthBadge("bad", "not running, changes wait") if _is_missed(state) else None,
        HealthBadge("bad", f"{span(state.lag_seconds)} behind") if state.lag_seconds > state.patience + GRACE else None,
        *_worst_first(badge for each in measured.decisions for badge in each.flow_badges(flow.id)),
        HealthBadge("warn", "joining") if state.state == "joining" else None,
        HealthBadge("idle", state.times) if state.quiet_until is not None else None,
        HealthBadge("ok", f"{number(state.lag_records)} to deliver") if state.lag_records and state.members else None,
    ]
    well = (
        HealthBadge("ok", "up to date", state.times) if state.members else HealthBadge("idle", "scheduled", state.times)
    )
    return next((sign for sign in found if sign), well)


def _by_hand(flow: Flow, measured: Measurement | None) -> HealthBadge:
    badges = (badge for each in measured.decisions for badge in each.flow_badges(flow.id)) if measured else iter(())
    return next(badges, HealthBadge("idle", "by hand"))


def system_badge(company: Map, name: str, measured: Measurement | None) -> HealthBadge:
    """How a system is, as source and as target."""
    if measured is None:
        return HealthBadge("idle", "not measured yet")
    budget = next((budget for budget in measured.budgets if budget.system == name), None)
    own = company.owned_by(name)
    spent = budget is not None and any(window.is_nearly_spent for window in budget.windows)
    found = [
        _of_problem(measured.problem(name, "system", "producer")),
        HealthBadge("bad", f"down for {span(budget.down)}") if budget and budget.down else None,
        HealthBadge("bad", "lag unavailable") if measured.slots.get(name, 0) is None else None,
        *_worst_first(badge for each in measured.decisions for badge in each.system_badges(name)),
        HealthBadge("warn", f"rate limited for {span(budget.blocked)}") if budget and budget.blocked else None,
        HealthBadge("warn", "rate limit nearly used up") if spent else None,
        HealthBadge("warn", "standby not ready", "; ".join(faults))
        if (faults := measured.standbys.get(name))
        else None,
    ]
    is_used = own or any(flow.runs and flow.to == name for flow in company.flows)
    quiet = HealthBadge("ok", "OK") if is_used else HealthBadge("idle", "not connected")
    return next((sign for sign in found if sign), quiet)


def worst(badges: Iterable[HealthBadge]) -> HealthBadge:
    """The one that needs a person most; there is at least one."""
    return _worst_first(badges)[0]


def _worst_first(badges: Iterable[HealthBadge]) -> list[HealthBadge]:
    return sorted(badges, key=lambda badge: _ORDER[badge.kind])


def _of_problem(problem: Problem | None) -> HealthBadge | None:
    return None if problem is None else HealthBadge("bad", problem.short, problem.words)


def _of_source(problem: Problem | None) -> HealthBadge | None:
    """Why nothing new comes to a flow: its system of record, or the producer of it."""
    if problem is None:
        return None
    what = "source" if problem.kind == "system" else "producer"
    return HealthBadge("bad", f"{what} {problem.what}", f"{problem.subject} is its system of record: {problem.words}")


def _of_findings(measured: Measurement, subjects: tuple[str, ...]) -> Iterator[HealthBadge]:
    """What no figure shows, and `sorbus status` says in words: the lag of what is gone, or changes nothing, is 0."""
    for found in measured.lost:
        subject, _, words = found.partition(": ")
        if subject in subjects:
            yield HealthBadge("bad", "needs action", words)
    for subject in subjects:
        if said := measured.notes.get((subject, "stale")):
            yield HealthBadge("warn", "target is newer", said)


def _is_missed(state: FlowState) -> bool:
    return not state.members and bool(state.lag_records) and state.lag_seconds > state.patience + 60
