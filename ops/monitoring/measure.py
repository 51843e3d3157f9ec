"""One look at everything a map runs, from outside its processes: at Kafka, and in the sources.

`Watch.measure` asks for topics, groups and offsets in a handful of requests, and reads only what has changed since the
last look, so that it may be called every few seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from sorbus.bus.committed import CommittedPosition
from sorbus.bus.controls import UNTOLD, ControlReader, FlowPause
from sorbus.bus.kafka import admin
from sorbus.bus.names import Names
from sorbus.bus.positions import read_positions
from sorbus.bus.status import ProcessReport, StatusReader
from sorbus.bus.topic_facts import listed_topics, topic_facts
from sorbus.bus.topic_ownership import Owned, owned
from sorbus.bus.topic_settings import deletes_kept
from sorbus.calendar_limits import moment_of
from sorbus.history.volume import UnusualVolume
from sorbus.http_api.limits.budgets import Budget
from sorbus.mapfile.model import Flow, Map
from sorbus.ops.decisions.open_decisions import OpenDecisions
from sorbus.ops.monitoring import offsets
from sorbus.ops.monitoring.committed import Committed
from sorbus.ops.monitoring.consumer_lag import Span, UnreadReader
from sorbus.ops.monitoring.escalation import Escalation, Escalations
from sorbus.ops.monitoring.flow_state import FlowState
from sorbus.ops.monitoring.letters import Open, OpenLetters
from sorbus.ops.monitoring.lost_events import left_words, lost_words, soon_lost_words, without_offsets
from sorbus.ops.monitoring.offsets import ConsumerGroup, Part
from sorbus.ops.monitoring.open_transactions import hidden_words
from sorbus.ops.monitoring.problems import Kind, Problem, dated, ended_consumers, notes_of, problems_of, unmapped
from sorbus.ops.monitoring.slot_lags import SlotLags
from sorbus.ops.monitoring.state_answers import StateAnswers
from sorbus.settings import Settings

_NONE = Open(0, 0.0)
GRAVE = ("stale", "unmapped")
"""Kinds of notes that somebody has to look at."""
_LONG = 3600.0
"""Seconds after which an offset is old enough to ask how long its topic keeps deletes."""
D = TypeVar("D", bound=OpenDecisions)
_STATES = {"stable": "running", "preparing_rebalancing": "joining", "completing_rebalancing": "joining"}


@dataclass(frozen=True, slots=True)
class TopicState:
    """A data type's topic: when its newest event was written (seconds since 1970), and how long its log is."""

    data_type: str
    last_event: float | None
    end: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one look saw. Dead letters are counted by (data type, flow), flow "" for rows the producer rejected."""

    at: float
    flows: tuple[FlowState, ...]
    topics: tuple[TopicState, ...]
    dead_letters: Mapping[tuple[str, str], int]
    slots: Mapping[str, int | None]
    budgets: tuple[Budget, ...] = ()
    volumes: tuple[UnusualVolume, ...] = ()
    """Flows and systems that handle far more or less than they usually do."""
    escalations: tuple[Escalation, ...] = ()
    problems: tuple[Problem, ...] = ()
    """What doesn't work: systems, producers, consumers, and what Sorbus itself needs."""
    last_reads: Mapping[str, float] = field(default_factory=dict)
    """Data type -> when its source was last read to the end, in seconds since 1970."""
    notes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(System or flow, kind: stale, unmapped, hot ...) -> what its process says, or is said of it."""

    decisions: tuple[OpenDecisions, ...] = ()
    """What waits for people, by kind."""

    @property
    def has_state(self) -> bool:
        """Whether the state database could be reached, or none is needed."""
        return not any((one.subject, one.what) == ("state", "unreachable") for one in self.problems)

    def of(self, kind: type[D]) -> D:
        """What was found of one kind of decision; nothing where that was not measured."""
        return next((one for one in self.decisions if isinstance(one, kind)), kind())

    def problem(self, subject: str, *kinds: Kind) -> Problem | None:
        """What is wrong with a subject, if anything."""
        return next((one for one in self.problems if one.subject == subject and one.kind in kinds), None)

    standbys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """System with known standbys -> why they could not take over."""

    lost: tuple[str, ...] = ()
    """Topics that aren't there, and flows whose unread events are gone, in words."""
    without_offsets: tuple[str, ...] = ()
    """Flows that ran and of which Kafka knows nothing, in words: they read their topic from its beginning."""

    def complaints(self) -> list[str]:
        """Everything somebody should look at."""
        found = [f"{one.name}: {one.words}" for one in self.problems if one.kind != "consumer"]
        found += (*self.lost, *self.without_offsets)
        found += [f"{name}: {fault}" for name, faults in sorted(self.standbys.items()) for fault in faults]
        found += [f"{name}: {words}" for (name, kind), words in sorted(self.notes.items()) if kind in GRAVE]
        found += [f"{one.flow}: {one.words}" for one in self.escalations]
        found += [
            f"{flow.flow}: {flow.complaint}"
            for flow in self.flows
            if flow.complaint and not (flow.problem and flow.problem.kind == "system")  # said of the system already
        ]
        found += [words for one in self.decisions for words in one.complaints()]
        found += [f"{one.subject}: {one.words}" for one in self.volumes]
        return found + [words for budget in self.budgets for words in budget.complaints()]


class Watch:
    """Measures a map's flows again and again; keeps its connections and what it has already counted."""

    def __init__(
        self,
        company: Map,
        settings: Settings,
        *,
        slots: SlotLags | None = None,
        budgets: Callable[[], tuple[Budget, ...]] = tuple,
        volumes: Callable[[], tuple[UnusualVolume, ...]] = tuple,
        decisions: Sequence[Callable[[Measurement], OpenDecisions]] = (),
        dependencies: Callable[[], list[Problem]] = list,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._company, self._dependencies, self._settings = company, dependencies, settings
        self._names = Names(company.topic_prefix)
        self._reports = StatusReader(settings, self._names)
        self._controls = ControlReader(settings, self._names)
        self._flows = [flow for flow in company.flows if flow.runs]
        self._data_types = tuple(company.data_types)
        self._times = {flow.id: company.times(flow) for flow in self._flows}
        now = moment_of(1e6 * clock())
        self._periods = {flow: times.timing.longest_pause(now) for flow, times in self._times.items()}
        self._admin = admin(settings)
        self._committed = Committed(settings)
        self._unread = UnreadReader(settings, clock=clock)
        self._letters = OpenLetters(settings)
        self._slots, self._budgets, self._decisions, self._clock = slots, budgets, decisions, clock
        self._escalations, self._volumes = Escalations(company), volumes
        self._before: dict[str, tuple[float, int]] = {}
        self._left: dict[str, Owned] | None = None
        self._state = StateAnswers()

    def measure(self) -> Measurement:
        """Looks once. AuthError, TransientError when Kafka can't be asked."""
        names = self._names
        listed = listed_topics(
            self._admin,
            [
                *(names.topic(data_type) for data_type in self._data_types),
                *(names.dead_letters(data_type) for data_type in self._data_types),
                *(names.requeue(flow.id) for flow in self._flows),
            ],
        )
        ids = {topic: id for topic, (id, _) in listed.items()}
        topics = {topic: [(topic, number) for number in range(count)] for topic, (_, count) in listed.items()}
        ends = offsets.ends(self._admin, [part for parts in topics.values() for part in parts])
        groups = offsets.groups(self._admin, [names.group(flow.id) for flow in self._flows])
        parts = {names.group(flow.id): self._read_by(flow, topics) for flow in self._flows}
        committed = self._committed.ask(parts)
        letters = self._count_letters(topics, ends, ids)
        written = self._topic_states(topics, ends)
        last = {topic.data_type: topic.last_event for topic in written}
        held_back = self._slots() if self._slots else {}
        reports = self._reports.read()
        controls = self._controls.read()
        away = self._slots.away if self._slots else {}
        self._note_accepted(reports)
        problems = dated(self._dependencies(), reports, self._clock())
        problems += problems_of(self._company, reports, away, missing={one.subject for one in problems})
        now = self._clock()
        flows = tuple(
            self._with_problems(
                flow,
                self._flow_state(
                    flow,
                    controls.get(flow.id, UNTOLD).pause,
                    groups[names.group(flow.id)],
                    self._spans(flow, topics, ends, committed),
                    letters,
                    last,
                    now,
                ),
                problems,
            )
            for flow in self._flows
        )
        lost, begin_again = self._lost(committed, reports)
        measured = Measurement(
            now,
            flows,
            written,
            {of: found.letters for of, found in letters.items()},
            held_back,
            escalations=tuple(self._escalations.of(flows, now)),
            problems=tuple(problems),
            last_reads=self._last_reads(reports),
            notes=notes_of(reports, now) | unmapped(self._company, reports, now),
            lost=(*lost, *hidden_words(self._admin, ends, now)),
            without_offsets=tuple(begin_again),
            standbys=dict(self._slots.standbys) if self._slots else {},
        )
        told = self._state.told
        if measured.has_state:
            measured = replace(measured, budgets=told(self._budgets), volumes=told(self._volumes))
        decisions = tuple(told(partial(measure, measured)) for measure in self._decisions)
        return replace(measured, decisions=decisions, problems=(*problems, *self._state.problems(now)))

    @property
    def is_refused(self) -> bool:
        """Whether a source refused the login, which isn't tried again with the same."""
        return bool(self._slots and self._slots.refused)

    def close(self) -> None:
        self._committed.close()
        self._unread.close()
        self._letters.close()
        self._reports.close()
        self._controls.close()
        if self._slots:
            self._slots.close()

    def _note_accepted(self, reports: Sequence[ProcessReport]) -> None:
        """A producer that has begun to work since a login was refused says that it is accepted now."""
        for system, at in dict(self._slots.refused if self._slots else {}).items():
            mine = (one for one in reports if one.process == f"produce {system}" and one.exit_code is None)
            if self._slots and any(one.ready and one.since > at for one in mine):
                self._slots.try_again(system)

    def _with_problems(self, flow: Flow, state: FlowState, problems: Sequence[Problem]) -> FlowState:
        def of(subject: str, *kinds: Kind) -> Problem | None:
            return next((one for one in problems if one.subject == subject and one.kind in kinds), None)

        problem = of(flow.id, "consumer") or of(flow.to, "system")
        if problem and problem.what == "not running" and (state.members or state.patience):
            problem = None  # another one runs, or it is started when its time comes
        source = str(self._company.data_types[flow.data_type].system_of_record)
        return replace(state, problem=problem, source_problem=of(source, "system", "producer"))

    def _last_reads(self, reports: Sequence[ProcessReport]) -> dict[str, float]:
        """Of polls by data type; of streams for all data types of their system."""
        found: dict[str, float] = {}
        for report in reports:
            system = report.process.removeprefix("produce ")
            if system not in self._company.systems:
                continue
            for name, at in report.last_reads.items():
                for data_type in [name] if name else self._company.owned_by(system):
                    if name or data_type not in report.last_reads:
                        found[data_type] = max(at, found.get(data_type, 0.0))
        return found

    def _lost(
        self,
        committed: Mapping[str, Mapping[Part, CommittedPosition]],
        reports: Sequence[ProcessReport],
    ) -> tuple[list[str], list[str]]:
        """`Measurement.lost`, `without_offsets`: asked for after the offsets, which so can't be ahead of the topics."""
        facts = topic_facts(self._admin, map(self._names.topic, self._data_types))
        places = {
            flow.id: {
                part: place
                for part, place in committed[self._names.group(flow.id)].items()
                if part[0] == self._names.topic(flow.data_type)
            }
            for flow in self._flows
        }
        topics = {name: self._names.topic(name) for name in self._data_types}
        left = [] if self._left is None else left_words(topics, facts, self._left)
        if left or not self._left:  # what was read before may be old news
            self._left = self._read_left()
            left = left_words(topics, facts, self._left)
        read = {flow.id: self._names.topic(flow.data_type) for flow in self._flows}
        now = self._clock()
        ended = ended_consumers(reports, now)
        is_long = any(place.at and now - place.at > _LONG for found in places.values() for place in found.values())
        kept = deletes_kept(self._admin, facts) if is_long else {}
        soon = soon_lost_words(facts, places, kept, now)
        lost = [*left, *lost_words(topics, facts, places, kept), *soon]
        return lost, without_offsets(read, facts, places, ended)

    def _read_left(self) -> dict[str, Owned]:
        """Data type -> its topic as its owner's producer left it, where it ever ran."""
        if not offsets.partitions_of(self._admin, [self._names.positions]):
            return {}
        positions = read_positions(self._settings, self._names)
        found = {}
        for name in self._data_types:
            one = owned(positions.get(str(self._company.data_types[name].system_of_record))).get(name)
            if one is not None:
                found[name] = one
        return found

    def _read_by(self, flow: Flow, topics: Mapping[str, list[Part]]) -> list[Part]:
        names = (self._names.topic(flow.data_type), self._names.requeue(flow.id))
        return [part for topic in names for part in topics.get(topic, ())]

    def _spans(
        self,
        flow: Flow,
        topics: Mapping[str, list[Part]],
        ends: Mapping[Part, int],
        committed: Mapping[str, Mapping[Part, CommittedPosition]],
    ) -> dict[Part, Span]:
        parts, own = self._read_by(flow, topics), committed[self._names.group(flow.id)]
        first = offsets.begins(self._admin, [part for part in parts if part not in own])
        return {part: Span(own[part].offset if part in own else first.get(part, 0), ends[part]) for part in parts}

    def _flow_state(
        self,
        flow: Flow,
        pause: FlowPause | None,
        group: ConsumerGroup,
        spans: Mapping[Part, Span],
        letters: Mapping[tuple[str, str], Open],
        last: Mapping[str, float | None],
        now: float,
    ) -> FlowState:
        unread = self._unread.look(self._names.group(flow.id), spans).values()
        position = sum(span.committed for span in spans.values())
        oldest = min((item.since for item in unread if item.since is not None), default=now)
        open_letters = letters.get((flow.data_type, flow.id), _NONE)
        times, moment = self._times[flow.id], moment_of(1e6 * now)
        next_run, quiet = times.next_run(moment), times.quiet_until(moment)
        is_waiting = any(item.records for item in unread)
        allowed = times.due_of(moment_of(1e6 * oldest)).timestamp() - oldest if is_waiting else 0.0
        return FlowState(
            flow=flow.id,
            data_type=flow.data_type,
            target=flow.to,
            state=_state(flow, group),
            members=group.members,
            position=position,
            lag_records=sum(item.records for item in unread),
            lag_seconds=max(0.0, now - oldest),
            rate=self._rate(flow.id, position, now),
            dead_letters=open_letters.letters,
            last_change=last.get(flow.data_type),
            period=allowed if is_waiting else self._periods[flow.id],
            oldest_letter=open_letters.oldest if open_letters.letters else None,
            pause=pause,
            next_run=next_run.timestamp() if next_run else None,
            quiet_until=quiet.moment.timestamp() if quiet else None,
            times=times.words(moment),
        )

    def _rate(self, flow: str, position: int, now: float) -> float | None:
        before = self._before.get(flow)
        self._before[flow] = now, position
        if before is None or now <= before[0] or position < before[1]:
            return None
        return (position - before[1]) / (now - before[0])

    def _count_letters(
        self, topics: Mapping[str, list[Part]], ends: Mapping[Part, int], ids: Mapping[str, str]
    ) -> dict[tuple[str, str], Open]:
        by_topic = {self._names.dead_letters(data_type): data_type for data_type in self._data_types}
        found = self._letters.count(
            {part: ends[part] for topic in by_topic for part in topics.get(topic, ())},
            {topic: ids[topic] for topic in by_topic if topic in ids},
        )
        # Also where there was never any: to Prometheus a series that begins with 5,000 has not grown.
        none = {(flow.data_type, flow.id): _NONE for flow in self._flows}
        none |= {(data_type, ""): _NONE for data_type in self._data_types}
        return none | {(by_topic[topic], flow): letters for (topic, flow), letters in found.items()}

    def _topic_states(self, topics: Mapping[str, list[Part]], ends: Mapping[Part, int]) -> tuple[TopicState, ...]:
        parts = {data_type: topics.get(self._names.topic(data_type), []) for data_type in self._data_types}
        stamps = offsets.newest(self._admin, [part for found in parts.values() for part in found])
        return tuple(
            TopicState(
                data_type,
                max((stamps[part] for part in found if part in stamps), default=None),
                sum(ends[part] for part in found),
            )
            for data_type, found in parts.items()
        )


def _state(flow: Flow, group: ConsumerGroup) -> str:
    if group.members:
        return _STATES.get(group.state, group.state)
    return "down" if flow.is_real_time else "waiting"
