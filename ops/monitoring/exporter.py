"""The last measurement as Prometheus metrics. What waits for people names its own metrics (`OpenDecisions.metrics`).

Figures that are too old are left out: an alert on the watch itself says more than a frozen lag.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import Counter, Gauge, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from sorbus.map.contact import Contact, called_for, owner_of
from sorbus.mapfile.model import Map
from sorbus.ops.monitoring.flow_state import FLOW_LABELS, FlowState
from sorbus.ops.monitoring.measure import GRAVE, Measurement
from sorbus.ops.monitoring.problems import Problem

FRESH = 60.0
"""Seconds after which a measurement no longer says how things are, unless they come more seldom than that."""

_LONGEST_LABEL = 400
FAILURES = Counter("sorbus_watch_failures", "Measurements that failed.")
_UNSENT = Gauge("sorbus_digest_unsent", "1 while the digest that was due last hasn't reached somebody.", ["why"])

_OF_FLOWS: tuple[tuple[str, str, Callable[[FlowState], float]], ...] = (
    ("sorbus_flow_lag_records", "Events that wait for the flow's target.", lambda flow: flow.lag_records),
    ("sorbus_flow_lag_seconds", "Age of the first event that waits.", lambda flow: flow.lag_seconds),
    ("sorbus_flow_members", "Consumers that belong to the flow's group.", lambda flow: flow.members),
    ("sorbus_flow_position", "Offsets delivered; grows while the flow moves.", lambda flow: flow.position),
    (
        "sorbus_flow_period_seconds",
        "How old its oldest change may become by its timing; 0: real-time, +Inf: paused by a person.",
        lambda flow: flow.patience,
    ),
)


def show_unsent(why: str) -> None:
    """Why the digest hasn't reached somebody; nothing if it has."""
    _UNSENT.clear()
    if why:
        _UNSENT.labels(why[:_LONGEST_LABEL]).set(1)


class WatchCollector(Collector):
    """Shows the newest measurement to Prometheus, while it is fresh."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._last: Measurement | None = None
        self._fresh = FRESH
        self._unmeasured: Problem | None = None

    def show(self, measurement: Measurement) -> None:
        """From now on this one is exported, for twice as long as it took to come, so that no rule sees a gap."""
        if self._last is not None:
            self._fresh = min(max(FRESH, 2 * (measurement.at - self._last.at)), 5 * FRESH)
        self._last, self._unmeasured = measurement, None

    def collect(self) -> Iterator[Metric]:
        last = self._last
        success = GaugeMetricFamily(
            "sorbus_watch_last_success_timestamp_seconds", "When the flows were last measured.", labels=()
        )
        if last is not None:
            success.add_metric((), last.at)
        yield success
        yield from _problem_metrics(self._problems(), self._clock())
        if last is not None and self._is_fresh(last):
            yield from _metrics(last)

    def fail(self, problem: Problem) -> None:
        """The flows can't be measured, by this."""
        if self._unmeasured is None or self._unmeasured.subject != problem.subject:
            self._unmeasured = problem

    def _problems(self) -> tuple[Problem, ...]:
        if self._unmeasured is not None:
            return (self._unmeasured,)
        last = self._last
        return last.problems if last is not None and self._is_fresh(last) else ()

    def _is_fresh(self, measurement: Measurement) -> bool:
        return self._clock() - measurement.at <= self._fresh


class MapCollector(Collector):
    """Shows to Prometheus whom to ask about what, as the map says, and where the console is (its address, if any)."""

    def __init__(self, company: Map, console_url: str) -> None:
        self._company, self._console_url = company, console_url.rstrip("/")

    def collect(self) -> Iterator[Metric]:
        company = self._company
        systems = GaugeMetricFamily("sorbus_system_info", "Owner of a system.", labels=("system", "owner"))
        for name in company.systems:
            systems.add_metric((name, _name(owner_of(company, name))), 1)
        yield systems
        flows = GaugeMetricFamily(
            "sorbus_flow_info",
            "Owner of a flow's target, and the escalation contact.",
            labels=(*FLOW_LABELS, "owner", "person"),
        )
        for flow in company.flows:
            people = _name(owner_of(company, flow.to)), _name(called_for(company, flow))
            flows.add_metric((flow.id, flow.data_type, flow.to, *people), 1)
        yield flows
        types = GaugeMetricFamily(
            "sorbus_data_type_info", "Which system owns a data type.", labels=("data_type", "system", "owner")
        )
        for name, data_type in company.data_types.items():
            if isinstance(system := data_type.system_of_record, str):
                types.add_metric((name, system, _name(owner_of(company, system))), 1)
        yield types
        if self._console_url:
            console = GaugeMetricFamily("sorbus_console_info", "Where the console is.", labels=("url",))
            console.add_metric((self._console_url,), 1)
            yield console


def _name(contact: Contact | None) -> str:
    return contact.name if contact else "none in the map"


def _metrics(last: Measurement) -> Iterator[Metric]:
    for name, doc, value in _OF_FLOWS:
        family = GaugeMetricFamily(name, doc, labels=FLOW_LABELS)
        for flow in last.flows:
            family.add_metric(flow.labels, value(flow))
        yield family
    for decisions in last.decisions:
        for gauge in decisions.metrics(last.flows, last.at):
            family = GaugeMetricFamily(gauge.name, gauge.documentation, labels=gauge.labels)
            for values, figure in gauge.samples:
                family.add_metric(values, figure)
            yield family
    yield from _people_metrics(last)
    yield from _finding_metrics(last)
    slots = GaugeMetricFamily("sorbus_slot_lag_bytes", "Replication slot lag.", labels=("system",))
    for system, size in last.slots.items():
        if size is not None:
            slots.add_metric((system,), size)
    yield slots
    standbys = GaugeMetricFamily(
        "sorbus_standby_faults", "Why the source's standbys couldn't take over, counted.", labels=("system",)
    )
    for system, faults in last.standbys.items():
        standbys.add_metric((system,), len(faults))
    yield standbys
    written = GaugeMetricFamily(
        "sorbus_topic_last_event_timestamp_seconds", "When the newest event was written.", labels=("data_type",)
    )
    size_family = GaugeMetricFamily("sorbus_topic_end_offset", "How long the topic's log is.", labels=("data_type",))
    for topic in last.topics:
        if topic.last_event is not None:
            written.add_metric((topic.data_type,), topic.last_event)
        size_family.add_metric((topic.data_type,), topic.end)
    yield written
    yield size_family
    read = GaugeMetricFamily(
        "sorbus_source_last_read_timestamp_seconds",
        "When a data type's source was last read to its end.",
        labels=("data_type",),
    )
    for data_type, at in last.last_reads.items():
        read.add_metric((data_type,), at)
    yield read
    yield from _system_metrics(last)
    of = ("activity", "subject", "data_type")
    events = GaugeMetricFamily("sorbus_volume_unusual_events", "Events of the last whole hour, if unusual.", labels=of)
    usual = GaugeMetricFamily("sorbus_volume_usual_events", "What is usual at that hour of the week.", labels=of)
    for one in last.volumes:
        events.add_metric(one[:3], one.events)
        usual.add_metric(one[:3], one.usual)
    yield from (events, usual)


def _problem_metrics(problems: Sequence[Problem], now: float) -> Iterator[Metric]:
    """A consumer's trouble is left out where its target's says it already."""
    labels = ("kind", "subject", "state")
    seconds = GaugeMetricFamily("sorbus_problem_seconds", "How long something has not worked.", labels=labels)
    why = GaugeMetricFamily("sorbus_problem_info", "Why it doesn't work.", labels=(*labels, "name", "words"))
    for one in problems:
        of = one.kind, one.subject, one.what.replace(" ", "_")
        if one.kind == "consumer" and one.what == "unreachable":
            continue
        seconds.add_metric(of, max(0.0, now - one.since) if one.since else 0.0)
        why.add_metric((*of, one.name, one.words[:_LONGEST_LABEL]), 1)
    yield from (seconds, why)


def _finding_metrics(last: Measurement) -> Iterator[Metric]:
    """What no figure shows: the lag of a topic that isn't there is 0, and so is that of events that change nothing."""
    labels = ("kind", "flow", "data_type", "name")
    found = GaugeMetricFamily("sorbus_finding", "1 while it is so; kind: lost, stale or unmapped.", labels=labels)
    why = GaugeMetricFamily("sorbus_finding_info", "The same in words.", labels=(*labels, "words"))
    said = [("lost", *words.partition(": ")[::2]) for words in last.lost]
    said += [(kind, name, words) for (name, kind), words in sorted(last.notes.items()) if kind in GRAVE]
    flows = {flow.flow: flow.data_type for flow in last.flows}
    for kind, subject, words in said:
        is_flow = subject in flows
        data_type = flows[subject] if is_flow else subject if kind == "lost" else ""
        of = (kind, subject if is_flow else "", data_type, subject)
        found.add_metric(of, 1)
        why.add_metric((*of, words[:_LONGEST_LABEL]), 1)
    yield from (found, why)


def _people_metrics(last: Measurement) -> Iterator[Metric]:
    of = (*FLOW_LABELS, "why", "person")
    seconds = GaugeMetricFamily(
        "sorbus_escalated_seconds", "How long the oldest has waited, over its limit.", labels=of
    )
    records = GaugeMetricFamily("sorbus_escalated_records", "How many wait with it.", labels=of)
    for one in last.escalations:
        labels = one.flow, one.data_type, one.target, one.why, _name(one.person)
        seconds.add_metric(labels, one.seconds)
        records.add_metric(labels, one.records)
    yield from (seconds, records)


def _system_metrics(last: Measurement) -> Iterator[Metric]:
    left = GaugeMetricFamily(
        "sorbus_system_requests_left", "Requests left of a rate limit.", labels=("system", "window")
    )
    allowed = GaugeMetricFamily("sorbus_system_requests_allowed", "The rate limit.", labels=("system", "window"))
    is_open = GaugeMetricFamily("sorbus_system_breaker_open", "1 while the system counts as down.", labels=("system",))
    blocked = GaugeMetricFamily(
        "sorbus_system_blocked_seconds", "How long the system asked Sorbus to wait.", labels=("system",)
    )
    for budget in last.budgets:
        for window in budget.windows:
            left.add_metric((budget.system, window.name), window.left)
            allowed.add_metric((budget.system, window.name), window.requests)
        is_open.add_metric((budget.system,), budget.down > 0)
        blocked.add_metric((budget.system,), budget.blocked)
    yield from (left, allowed, is_open, blocked)
