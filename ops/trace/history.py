"""What Sorbus's own tables and the dead letter topic know of one record, as moments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import cast

from pydantic import JsonValue
from pydantic_core import to_jsonable_python

from sorbus.audit import AuditFilter, AuditTrail
from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.calendar_limits import moment_of
from sorbus.conflict.store import ALL, Conflict, Conflicts
from sorbus.deadletter import DeadLetter
from sorbus.dlq.index import LetterIndex
from sorbus.dlq.masking import LetterMask
from sorbus.dlq.reader import open_letters
from sorbus.dlq.store import LetterStore
from sorbus.drift.store import DriftStore
from sorbus.errors import SorbusError
from sorbus.identity.candidates import Candidates, DuplicateCandidate
from sorbus.identity.crosswalk import links_of, place
from sorbus.map.loaded import LoadedMap
from sorbus.ops.conflicts.private import ConflictMask
from sorbus.ops.duplicates.private import masked_candidate
from sorbus.ops.trace.moment import Moment
from sorbus.settings import Settings
from sorbus.state.database import State
from sorbus.waiting.store import waiting_of

_MOST = 1000
_ERASURES = (Path(__file__).parent / "sql" / "erasures.sql").read_bytes()


class History:
    """One record's past, but for its events; personal values are masked unless `show_personal`."""

    def __init__(
        self,
        loaded: LoadedMap,
        settings: Settings,
        state: State | None,
        data_type: str,
        id: str,
        *,
        show_personal: bool,
    ) -> None:
        self._loaded, self._settings, self._state = loaded, settings, state
        self._data_type, self._id, self._show_personal = data_type, id, show_personal

    def read(self) -> tuple[list[Moment], list[str]]:
        """All moments, in no order, and what could not be asked."""
        sources: list[tuple[str, Callable[[], Iterator[Moment]]]] = [("dead letters", self._letters)]
        if self._state is not None:
            sources += [
                ("the crosswalk", self._links),
                ("waiting records", self._waiting),
                ("duplicate candidates", self._duplicates),
                ("conflicts", self._conflicts),
                ("drift findings", self._drift),
                ("erasures", self._erasures),
                ("the audit trail", self._audit),
            ]
        moments: list[Moment] = []
        problems = []
        for name, read in sources:
            try:
                moments += read()
            except SorbusError as error:
                problems.append(f"{name}: {error}")
        if self._state is None:
            problems.append("SORBUS_DATABASE isn't set, so crosswalk, waiting records and audit trail are unavailable")
        return moments, problems

    def _letters(self) -> Iterator[Moment]:
        """From the index, with their whole life; without a state only the open ones, from their topic."""
        names = Names(self._loaded.map.topic_prefix)
        mask = LetterMask(self._loaded, SchemaResolver(self._settings, names, [self._loaded.schema(self._data_type)]))
        if self._state is None:
            for letter in open_letters(self._settings, names, [self._data_type]):
                if letter.record_id.decode(errors="replace") == self._id:
                    yield self._written(letter, mask, is_open=True)
            return
        index = LetterIndex(self._state, self._settings, names, [self._data_type])
        try:
            index.catch_up()
        finally:
            index.close()
        for known in LetterStore(self._state).of_record(self._data_type, self._id):
            yield self._written(known.dead, mask, is_open=known.state == "open")
            if known.state != "open":
                newer = f" by version {known.superseded_by}" if known.superseded_by is not None else ""
                where = known.dead.flow or f"from {known.dead.system}"
                yield Moment(known.state_at, "letter", where, f"the dead letter: {known.state}{newer}", {}, known.id)

    def _written(self, letter: DeadLetter, mask: LetterMask, *, is_open: bool) -> Moment:
        shown = letter if self._show_personal else mask.letter(letter)
        times = f", tried {shown.attempts} times" if shown.attempts > 1 else ""
        what = f"became a dead letter{times}: {shown.words or shown.message}"
        at = moment_of(shown.first_at)
        return Moment(at, "letter", shown.flow or f"from {shown.system}", what, {}, shown.id, is_open)

    def _links(self) -> Iterator[Moment]:
        assert self._state is not None
        for link in links_of(self._state, self._data_type, self._id):
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

    def _waiting(self) -> Iterator[Moment]:
        assert self._state is not None
        for one in waiting_of(self._state, self._data_type, self._id):
            until = f" (until {one.until.astimezone():%Y-%m-%d %H:%M})" if one.until else ""
            yield Moment(one.since, "waiting", one.flow, f"waits with version {one.version}: {one.message}{until}")

    def _duplicates(self) -> Iterator[Moment]:
        assert self._state is not None
        candidates = Candidates(self._state, None, self._data_type)
        for found in candidates.of_record(self._id):
            one: DuplicateCandidate = found if self._show_personal else masked_candidate(self._loaded, found)
            subject = str(one.number)
            maybe = ", ".join(doubt.external_id for doubt in one.doubts)
            what = f"may be there already{f' as {maybe}' if maybe else ''}: {one.why}"
            yield Moment(one.found_at, "duplicate", one.place, what, {}, subject, one.state == "open")
            for entry in candidates.audit(one.number):
                reason = f" ({entry.reason})" if entry.reason else ""
                decided = f"{entry.who}: {entry.what} {entry.external_id or ''}".rstrip()
                yield Moment(entry.at, "duplicate", one.place, f"{decided}{reason}", subject=subject)

    def _conflicts(self) -> Iterator[Moment]:
        assert self._state is not None
        mask = ConflictMask(self._loaded)
        for found in Conflicts(self._state, None, self._data_type).page(ALL, id=self._id, most=_MOST):
            one: Conflict = found if self._show_personal else mask(found)
            subject, changes = str(one.number), {one.field: _plain([one.theirs, one.ours])}
            what = f"{one.field} was changed by hand in {one.external_id}; its owner has another value ({one.state})"
            yield Moment(
                one.found_at, "conflict", place(one.system, one.resource), what, changes, subject, one.state == "open"
            )
            if one.decided_at is not None and one.decided_by not in (None, "sorbus"):
                reason = f" ({one.reason})" if one.reason else ""
                yield Moment(
                    one.decided_at,
                    "conflict",
                    place(one.system, one.resource),
                    f"{one.decided_by} decided{reason}",
                    {},
                    subject,
                )

    def _drift(self) -> Iterator[Moment]:
        assert self._state is not None
        owner = self._loaded.map.owner_of(self._data_type)
        for one in DriftStore(self._state).findings(owner):
            if one.data_type == self._data_type and one.severity == "held":
                what = f"the source has changed: {one.words}; records that it touches are held"
                yield Moment(one.first_seen, "drift", one.system, what, subject=str(one.number))

    def _audit(self) -> Iterator[Moment]:
        assert self._state is not None
        wanted = AuditFilter(data_type=self._data_type, record=self._id)
        for one in AuditTrail(self._state).page(most=_MOST, filter=wanted):
            if one.subject_kind in ("duplicate", "conflict") and one.action != "show personal values":
                continue  # told with the question itself
            reason = f" ({one.reason})" if one.reason else ""
            yield Moment(one.at, "audit", f"{one.subject_kind} {one.subject}", f"{one.who}: {one.action}{reason}")

    def _erasures(self) -> Iterator[Moment]:
        assert self._state is not None
        rows = self._state.run(_ERASURES, {"data_type": self._data_type, "id": self._id})
        for at, who, reason, complete in cast("list[tuple[datetime, str, str, bool]]", rows):
            left = "" if complete else "; something is left to do"
            why = f" ({reason})" if reason else ""
            yield Moment(at, "erasure", "everywhere", f"{who} had it erased{why}{left}")


def _plain(value: object) -> JsonValue:
    made: JsonValue = to_jsonable_python(value, fallback=str)
    return made
