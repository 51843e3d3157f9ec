"""What Sorbus's own tables and the dead letter topic know of one record, as moments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

from sorbus.audit import AuditFilter, AuditTrail
from sorbus.errors import SorbusError
from sorbus.identity.crosswalk import links_of, place
from sorbus.ops.decisions.kind import DecisionKind
from sorbus.ops.trace.moment import Moment
from sorbus.ops.trace.record import TracedRecord
from sorbus.state.database import State

_MOST = 1000
_ERASURES = (Path(__file__).parent / "sql" / "erasures.sql").read_bytes()


class RecordPast(NamedTuple):
    """Moments in no order; whether any is about the record itself; what could not be asked, and why."""

    moments: list[Moment]
    is_known: bool
    problems: list[str]


def read_history(record: TracedRecord, state: State | None, kinds: Sequence[DecisionKind]) -> RecordPast:
    """One record's past, but for its events; personal values are masked as the record says."""
    past = RecordPast([], False, [])
    for kind in kinds:
        read: Callable[[], Iterable[Moment]] = partial(kind.trace_without_state, record)
        if state is not None:
            read = partial(kind.trace, record, state)
        found = _asked(kind.name.replace("_", " "), read, past.problems)
        past.moments.extend(found)
        past = past._replace(is_known=past.is_known or (bool(found) and kind.is_about_records))
    if state is None:
        past.problems.append("SORBUS_DATABASE isn't set, so crosswalk, waiting records and audit trail are unavailable")
        return past
    told = {kind.item for kind in kinds if kind.has_own_audit}
    sources: dict[str, Callable[[], Iterable[Moment]]] = {
        "the crosswalk": partial(_links, record, state),
        "erasures": partial(_erasures, record, state),
        "the audit trail": partial(_audit, record, state, told),
    }
    for name, read in sources.items():
        found = _asked(name, read, past.problems)
        past.moments.extend(found)
        past = past._replace(is_known=past.is_known or bool(found))
    return past


def _asked(name: str, read: Callable[[], Iterable[Moment]], problems: list[str]) -> list[Moment]:
    """What could be read, also before a failure, which becomes one of `problems`."""
    found: list[Moment] = []
    try:
        found.extend(read())
    except SorbusError as error:
        problems.append(f"{name}: {error}")
    return found


def _links(record: TracedRecord, state: State) -> Iterator[Moment]:
    for link in links_of(state, record.data_type, record.id):
        where = place(link.system, link.resource)
        if link.linked_at is not None:
            what = f"linked: it is {link.external_id} there" if link.state == "linked" else "linked"
            yield Moment(link.linked_at, "crosswalk", where, what)
        if link.state == "linked":
            yield Moment(link.changed_at, "crosswalk", where, f"version {link.version} is delivered")
        elif link.state == "gone":
            yield Moment(link.changed_at, "crosswalk", where, f"gone, as of version {link.version}")
        elif link.intended_at is not None:
            what = f"version {link.version} is being made; whether it was isn't known yet"
            yield Moment(link.intended_at, "crosswalk", where, what)


def _audit(record: TracedRecord, state: State, told: set[str]) -> Iterator[Moment]:
    wanted = AuditFilter(data_type=record.data_type, record=record.id)
    for one in AuditTrail(state).page(most=_MOST, filter=wanted):
        if one.subject_kind in told and one.action != "show personal values":
            continue  # the kind's own moments tell it
        reason = f" ({one.reason})" if one.reason else ""
        yield Moment(one.at, "audit", f"{one.subject_kind} {one.subject}", f"{one.who}: {one.action}{reason}")


def _erasures(record: TracedRecord, state: State) -> Iterator[Moment]:
    rows = state.run(_ERASURES, {"data_type": record.data_type, "id": record.id})
    for at, who, reason, complete in cast("list[tuple[datetime, str, str, bool]]", rows):
        left = "" if complete else "; something is left to do"
        why = f" ({reason})" if reason else ""
        yield Moment(at, "erasure", "everywhere", f"{who} had it erased{why}{left}")
