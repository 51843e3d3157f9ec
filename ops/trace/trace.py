"""Putting one record's trace together: its events, what happened to it on the way, what each target has now."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sorbus.bus.deserialize import decode_batch
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.bus.status import StatusReader
from sorbus.connector import Delivery
from sorbus.errors import SorbusError, UsageError
from sorbus.map.loaded import LoadedMap
from sorbus.ops.decisions.kind import DecisionKind
from sorbus.ops.decisions.registry import DECISION_KINDS
from sorbus.ops.monitoring.problems import Problem, problems_of
from sorbus.ops.trace.events import EventHistory, EventReader, Fields
from sorbus.ops.trace.history import read_history
from sorbus.ops.trace.key_index import KeyIndex, Progress
from sorbus.ops.trace.moment import Moment
from sorbus.ops.trace.owner import OwnerState, owner_state
from sorbus.ops.trace.record import TracedRecord
from sorbus.ops.trace.summary import TraceFacts, summarise
from sorbus.ops.trace.targets import TargetState, target_states
from sorbus.settings import Settings
from sorbus.spelling import closest
from sorbus.state.database import State


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything that is known of a record. `problems`: what could not be asked, and why; the rest holds."""

    data_type: str
    id: str
    owner: str
    version: int | None
    record: Fields | None
    moments: Sequence[Moment]
    targets: Sequence[TargetState]
    problems: Sequence[str]
    is_known: bool
    """Whether anything at all is known of it."""
    owner_now: OwnerState | None = None
    """What its owner has now; None where it wasn't asked."""
    summary: Sequence[str] = ()
    """What each system shows, since when, why it differs and who can fix it: a sentence or two each."""
    is_unread: bool = False
    """Whether nothing is known of what was published, since the topic can't be read."""

    @property
    def needs_someone(self) -> bool:
        """Whether something of it waits for a person."""
        asks = ("ask", "hold", "older", "refuse")
        return any(one.is_open for one in self.moments) or any(
            one.preview is not None and one.preview.action in asks for one in self.targets
        )


def trace_record(
    loaded: LoadedMap,
    settings: Settings,
    state: State | None,
    data_type: str,
    id: str,
    *,
    asks_targets: bool = True,
    show_personal: bool = False,
    kinds: Sequence[DecisionKind] = DECISION_KINDS,
    patience: float | None = None,
    progress: Progress | None = None,
) -> Trace:
    """Asks everybody; `state` None: there is none. SorbusError only for a data type that the map doesn't have.

    `asks_targets`: its owner, too. `patience`: seconds for searching its topic; what is left is one of `problems`.
    """
    if data_type not in loaded.map.data_types:
        raise UsageError(f"the map has no data type {data_type!r}; {closest(data_type, loaded.map.data_types)}")
    record = TracedRecord(loaded, settings, data_type, id, show_personal)
    with ThreadPoolExecutor(2, "trace") as others:  # these wait for answers while the topic is read
        asked_past = others.submit(read_history, record, state, kinds)
        asked_processes = others.submit(_process_problems, loaded, settings) if asks_targets else None
        told, delivery, problems = _events(record, state, patience, progress)
        is_unread = bool(problems) and told.version is None
        targets, owner, summary = [], None, []
        if asks_targets:
            targets = target_states(loaded, data_type, delivery, show_personal=show_personal)
            owner = owner_state(loaded, data_type, id, told, unread="; ".join(problems))
        past = asked_past.result()
    moments = sorted([*told.moments, *past.moments], key=lambda one: one.at)
    if owner is not None and asked_processes is not None:
        running, unheard = asked_processes.result()
        problems += unheard
        is_deleted = told.version is not None and told.values is None
        facts = TraceFacts(loaded.map, data_type, owner, targets, moments, told.since, is_deleted, running)
        summary = summarise(facts)
    return Trace(
        data_type,
        id,
        loaded.map.owner_of(data_type),
        told.version,
        told.record,
        moments,
        targets,
        [*problems, *past.problems],
        bool(told.moments) or past.is_known,
        owner,
        summary,
        is_unread,
    )


def _events(
    record: TracedRecord, state: State | None, patience: float | None, progress: Progress | None
) -> tuple[EventHistory, Delivery | None, list[str]]:
    """What its topic says, its newest event as it would be delivered, and what could not be read."""
    names = Names(record.loaded.map.topic_prefix)
    schema = record.loaded.schema(record.data_type)
    told, delivery, problems = EventHistory([], None, None), None, []
    try:
        book = SchemaResolver(record.settings, names, [schema])
        messages, unread = KeyIndex(record.settings, state, names.topic(record.data_type)).find(
            record.id.encode(errors="replace"), patience=patience, progress=progress
        )
        problems += [unread] if unread else []
        told = EventReader(record.data_type, schema, book, show_personal=record.show_personal).read(messages)
        taken = decode_batch(messages, book)
        delivery = taken.deliveries[-1] if taken.deliveries else None
    except SorbusError as error:
        problems.append(f"its topic: {error}")
    return told, delivery, problems


def _process_problems(loaded: LoadedMap, settings: Settings) -> tuple[list[Problem], list[str]]:
    """What doesn't work, by the processes' own reports, and why these can't be read."""
    reader = StatusReader(settings, Names(loaded.map.topic_prefix))
    try:
        return problems_of(loaded.map, reader.read(), {}), []
    except SorbusError as error:
        return [], [f"the processes' status: {error}"]
    finally:
        reader.close()
