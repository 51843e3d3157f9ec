"""Duplicate candidates: records that may already be in a system, until a person has decided to link or create.

One row per record of a data type and resource of a system. A new verdict replaces an open one; a decision stands until
the crosswalk links the record (or knows that it is deleted), and every decision stays in the audit.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, cast

from pydantic import JsonValue

from sorbus.audit import AuditTrail
from sorbus.errors import SorbusError
from sorbus.http_api.interface import Json
from sorbus.identity.crosswalk import place
from sorbus.identity.match import Candidate, Fields, Matcher, Verdict
from sorbus.identity.merged import Way
from sorbus.identity.statements import statement
from sorbus.postgres.connection import Connection
from sorbus.state.database import State
from sorbus.state.storable import holdable

Choice = Literal["link", "create"]
Shown = Mapping[str, str]


class Decision(NamedTuple):
    """A person's decision, carried out before anything is matched again; `external_id` for link."""

    choice: Choice
    external_id: str | None


@dataclass(frozen=True, slots=True)
class MatchDoubt:
    """One external record that may be the same: score, reasons, and its fields as shown to people."""

    external_id: str
    score: int
    reasons: tuple[str, ...]
    fields: Shown


@dataclass(frozen=True, slots=True)
class DuplicateCandidate:
    """A possible duplicate. `number` identifies it for people."""

    number: int
    system: str
    data_type: str
    resource: str
    id: str
    version: int
    why: str
    fields: Shown
    doubts: tuple[MatchDoubt, ...]
    state: Literal["open", "decided", "done"]
    found_at: datetime
    decision: Decision | None
    decided_by: str | None
    decided_at: datetime | None
    reason: str | None

    @property
    def place(self) -> str:
        """The system and its resource, as shown to people."""
        return place(self.system, self.resource)


class Audit(NamedTuple):
    """One decision on a candidate, or its reopening."""

    at: datetime
    who: str
    what: str
    external_id: str | None
    reason: str


class Candidates:
    """The duplicate candidates of a map, or of one system, data type and resource."""

    def __init__(
        self, state: State, system: str | None = None, data_type: str | None = None, resource: str | None = None
    ) -> None:
        self._state, self.system, self.data_type, self.resource = state, system, data_type, resource

    def put(
        self, id: str, version: int, verdict: Verdict, matcher: Matcher, record: Fields, there: Sequence[Candidate]
    ) -> int:
        """Records that a person must decide on `id`, with the fields that distinguish records; returns its number.

        A decision that could not be carried out stays in the audit; the question is open again.
        """
        by_id = {each.external_id: each.fields for each in there}
        doubts = [
            {
                "external_id": alike.external_id,
                "score": alike.score,
                "reasons": alike.reasons,
                "fields": _shown(matcher, by_id.get(alike.external_id, {})),
            }
            for alike in verdict.candidates
        ]
        rows = self._run(
            "put",
            id=id,
            version=version,
            why=verdict.why,
            record=json.dumps(_shown(matcher, record)),
            candidates=json.dumps(doubts),
        )
        return cast("int", rows[0][0])

    def decision_for(self, ids: Collection[str]) -> dict[str, Decision]:
        """The decisions on these ids that are not carried out yet. One query."""
        if not ids:
            return {}
        return {
            cast("str", id): Decision(cast("Choice", choice), cast("str | None", external_id))
            for id, choice, external_id in self._run("decisions", ids=list(ids))
        }

    def open(self) -> list[DuplicateCandidate]:
        """The open ones, oldest first."""
        return [_read(row) for row in self._run("open")]

    def page(self, after: int = 0, most: int = 50) -> list[DuplicateCandidate]:
        """The open ones by number; `after`: only those with higher numbers."""
        return [_read(row) for row in self._run("page", after=after, most=most)]

    def of_record(self, id: str) -> list[DuplicateCandidate]:
        """Those about one record of this data type, in any state and system."""
        return [_read(row) for row in self._run("of_record", id=id)]

    def get(self, number: int) -> DuplicateCandidate | None:
        """The candidate with this number, in any state."""
        rows = self._run("get", number=number)
        return _read(rows[0]) if rows else None

    def audit(self, number: int) -> list[Audit]:
        """Every decision on it, oldest first."""
        return [
            Audit(*cast("tuple[datetime, str, str, str | None, str]", row)) for row in self._run("audit", number=number)
        ]

    def decide(self, number: int, decision: Decision, *, who: str, reason: str) -> DuplicateCandidate:
        """Records a person's decision. It may be changed until it has been carried out.

        SorbusError if there is no such candidate, or it is done.
        """
        values = {"choice": decision.choice, "external_id": decision.external_id, "who": who, "reason": reason}
        with self._state.connection() as connection:
            row = connection.execute(
                statement("duplicates_decide"), {"number": number, "noted": decision.choice, **values}
            ).fetchone()
            if row is not None:
                return self._noted(connection, _read(row), decision.choice, who, reason, [])
        raise self._undecidable(number)

    def merge(
        self, number: int, survivor: str, others: Collection[str], way: Way, *, who: str, reason: str
    ) -> DuplicateCandidate:
        """Records that it is `survivor`, and that `others` are duplicates to be removed. Errors as `decide`."""
        with self._state.connection() as connection:
            values = {"number": number, "choice": "link", "external_id": survivor, "who": who}
            said = f"with {', '.join(others)}{f': {reason}' if reason else ''}"
            decided = connection.execute(
                statement("duplicates_decide"), {**values, "noted": "merge", "reason": said}
            ).fetchone()
            if decided is not None:
                connection.execute(statement("merged_put"), {**values, "others": list(others), "way": way})
                return self._noted(connection, _read(decided), "merge", who, reason, others)
        raise self._undecidable(number)

    def _noted(
        self,
        connection: Connection,
        decided: DuplicateCandidate,
        action: str,
        who: str,
        reason: str,
        others: Collection[str],
    ) -> DuplicateCandidate:
        """Writes the decision into the audit trail too; returns the decided candidate."""
        external_id = decided.decision.external_id if decided.decision else None
        details: dict[str, JsonValue] = {"system": decided.place, "external_id": external_id, "merged": [*others]}
        AuditTrail(self._state).note_in(
            connection,
            who,
            action,
            "duplicate",
            str(decided.number),
            data_type=decided.data_type,
            record=decided.id,
            reason=reason,
            details={name: value for name, value in details.items() if value},
        )
        return decided

    def excluded(self, id: str, external_ids: Collection[str]) -> set[str]:
        """Those that a person has ruled out for `id`, or that are merged into another record. One query."""
        if not external_ids:
            return set()
        return {cast("str", found) for (found,) in self._run("excluded", id=id, ids=holdable(external_ids))}

    def _undecidable(self, number: int) -> SorbusError:
        known = self.get(number)
        if known is None:
            return SorbusError(f"there is no duplicate candidate {number}; see `sorbus duplicates list`")
        return SorbusError(
            f"duplicate candidate {number} is done: {known.data_type} {known.id} is linked in {known.place}, or"
            f" deleted; see `sorbus crosswalk show {known.system} {known.data_type} {known.id}`"
        )

    def counts(self) -> dict[tuple[str, str], int]:
        """How many are open, by system and data type."""
        return {
            (cast("str", system), cast("str", data_type)): cast("int", count)
            for system, data_type, count in self._run("count")
        }

    def _run(self, name: str, **values: object) -> list[tuple[object, ...]]:
        return self._state.run(
            statement(f"duplicates_{name}"),
            {"system": self.system, "data_type": self.data_type, "resource": self.resource, **values},
        )


def _shown(matcher: Matcher, fields: Fields) -> dict[str, str]:
    traits = matcher.traits(fields)
    return {field: text for field in matcher.shown if (text := traits.text(field))}


def _read(row: tuple[object, ...]) -> DuplicateCandidate:
    number, system, data_type, resource, id, version, why, record, doubts, state, found_at, *rest = row
    choice, external_id, who, at, reason = rest
    return DuplicateCandidate(
        number=cast("int", number),
        system=cast("str", system),
        data_type=cast("str", data_type),
        resource=cast("str", resource),
        id=cast("str", id),
        version=cast("int", version),
        why=cast("str", why),
        fields=cast("dict[str, str]", record),
        doubts=tuple(
            MatchDoubt(each["external_id"], each["score"], tuple(each["reasons"]), each["fields"])
            for each in cast("list[dict[str, Json]]", doubts)
        ),
        state=cast("Literal['open', 'decided', 'done']", state),
        found_at=cast("datetime", found_at),
        decision=Decision(cast("Choice", choice), cast("str | None", external_id)) if choice else None,
        decided_by=cast("str | None", who),
        decided_at=cast("datetime | None", at),
        reason=cast("str | None", reason),
    )
