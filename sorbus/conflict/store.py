"""Conflicts in the state database: detected by consumers, decided by people, carried out with the next delivery.

A conflict is one field of one record whose value in the target is neither what we sent last nor what the owner has.
`open` waits for a person (a flow with on_conflict: ask). `overwrite` and `keep` are decisions: the first lasts until
the owner's value is written (`overwritten`), the second until the owner changes the field. `rewritten`: not an edit;
the application normalizes the field, so it can't be compared. `over`: resolved without a decision.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple, cast

from sorbus.audit import AuditTrail
from sorbus.errors import SorbusError
from sorbus.http_api.interface import Json
from sorbus.identity.last_sent import from_text, to_text
from sorbus.state.database import State

ConflictState = Literal["open", "overwrite", "keep", "overwritten", "rewritten", "over"]
Choice = Literal["overwrite", "keep"]
ALL: tuple[ConflictState, ...] = ("open", "overwrite", "keep", "overwritten", "rewritten", "over")
_FOLDER = Path(__file__).parent / "sql"
_NEWEST = 2**62
KEPT = "a person keeps what the application has in"
"""How the reason of a delivery begins that changes nothing since a person has decided so."""


class Contest(NamedTuple):
    """A field, by its path in the target: what we sent last, what the target has now, and what the owner has."""

    field: str
    sent: Json
    theirs: Json
    ours: Json
    in_turn_with: str | None = None
    """The system that changed it in turn with this one, until it was held."""


class ConflictVerdict(NamedTuple):
    """The decision about a field of a record; `theirs` and `ours` are the values it was made about."""

    number: int
    state: ConflictState
    theirs: Json
    ours: Json


class Standing(NamedTuple):
    """A record's conflicts by field, and the fields that the application normalizes for all records."""

    verdicts: Mapping[str, ConflictVerdict]
    rewritten: frozenset[str]


@dataclass(frozen=True, slots=True)
class Conflict:
    """One conflict, as shown to people. `number` identifies it; its values are None once forgotten."""

    number: int
    system: str
    data_type: str
    resource: str
    id: str
    flow: str
    external_id: str
    field: str
    version: int
    sent: Json
    theirs: Json
    ours: Json
    state: ConflictState
    found_at: datetime
    changed_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    reason: str
    in_turn_with: str | None = None
    """Of a field that two systems changed in turn until it was held: the other system."""

    @property
    def shown(self) -> str:
        """What tells whether a person who decides has seen these values, and not earlier ones."""
        return sha256(to_text([self.theirs, self.ours]).encode()).hexdigest()[:16]


class OpenField(NamedTuple):
    """A field of records that wait for a person. `since`: the oldest, in seconds since 1970; `id`: one of them."""

    system: str
    data_type: str
    field: str
    in_turn_with: str | None
    records: int
    since: float
    id: str


class FieldPlace(NamedTuple):
    """Where a field is edited in the wrong system: how often its values were overwritten."""

    system: str
    data_type: str
    field: str
    times: int


class Conflicts:
    """The conflicts of a map, or of one system, data type and resource. TransientError without the database."""

    def __init__(
        self, state: State, system: str | None = None, data_type: str | None = None, resource: str | None = None
    ) -> None:
        self._state, self.system, self.data_type, self.resource = state, system, data_type, resource

    def standing(self, id: str) -> Standing:
        """The conflicts of a record. One query."""
        verdicts, rewritten = {}, set()
        for number, field, state, theirs, ours in self._run("standing", id=id):
            if state == "rewritten":
                rewritten.add(cast("str", field))
            else:
                known = cast("ConflictState", state)
                verdicts[cast("str", field)] = ConflictVerdict(cast("int", number), known, _value(theirs), _value(ours))
        return Standing(verdicts, frozenset(rewritten))

    def put(
        self, id: str, version: int, flow: str, external_id: str, found: Sequence[Contest], *, asks: bool
    ) -> list[int]:
        """Records conflicts before anything is written, open or about to be overwritten; returns their numbers."""
        if not found:
            return []
        columns = {
            "fields": [one.field for one in found],
            **{name: [to_text(getattr(one, name)) for one in found] for name in ("sent", "theirs", "ours")},
            "in_turn_with": [one.in_turn_with for one in found],
        }
        values = {"id": id, "version": version, "flow": flow, "external_id": external_id, **columns}
        rows = self._run("put", **values, state="open" if asks else "overwrite")
        return [cast("int", number) for (number,) in rows]

    def overwritten(self, numbers: Sequence[int]) -> None:
        """Records that the owner's value was written."""
        self._run("turn", numbers=list(numbers), state="overwritten")

    def rewritten(self, numbers: Sequence[int]) -> None:
        """Records that it was written and the application normalized it: it was not an edit."""
        self._run("turn", numbers=list(numbers), state="rewritten")

    def kept(self, numbers: Sequence[int]) -> None:
        """Records that the target's value has become the record's."""
        self._run("turn", numbers=list(numbers), state="over")

    def settle(self, id: str, *, but: Collection[str] = ()) -> None:
        """Ends a record's conflicts, except for these fields: owner and target agree, or the record is deleted."""
        self._run("settle", id=id, but=list(but))

    def page(
        self,
        states: Sequence[ConflictState] = ("open",),
        *,
        id: str | None = None,
        before: int | None = None,
        most: int = 100,
    ) -> list[Conflict]:
        """Newest first; `before`: only those with smaller numbers, for the next page."""
        values = {"states": list(states), "id": id, "before": before or _NEWEST, "most": most}
        return [_read(row) for row in self._run("page", **values)]

    def asked(self, ids: Collection[str]) -> list[str]:
        """Those of these records of which something is open, or decided and not carried out."""
        return [str(id) for (id,) in self._run("asked", ids=list(ids))]

    def get(self, number: int) -> Conflict:
        """The conflict of this number; SorbusError if there is none."""
        rows = self._run("get", number=number)
        if not rows:
            raise SorbusError(f"there is no conflict {number}; see `sorbus conflicts list`")
        return _read(rows[0])

    def decide(self, number: int, choice: Choice, *, who: str, reason: str, shown: str = "") -> Conflict:
        """Records a person's decision; it may change until it is carried out. `shown`: the `Conflict.shown` that the
        person saw.

        SorbusError if the conflict is over, or about other values by now.
        """
        seen = self.get(number)
        if shown and shown != seen.shown:
            raise SorbusError(f"conflict {number} is about other values by now: look at them, and decide again")
        if not self._told("decide", number, choice, who, reason, seen.changed_at if shown else None):
            known = self.get(number)
            if known.changed_at != seen.changed_at and known.state in ("open", "overwrite", "keep"):
                return self.decide(number, choice, who=who, reason=reason, shown=shown)
            raise SorbusError(f"conflict {number} is {known.state}: there is nothing left to decide")
        return self.get(number)

    def compare(self, number: int, *, who: str, reason: str) -> Conflict:
        """Resumes comparing the field of a `rewritten` conflict. SorbusError if it isn't one."""
        if not self._told("compare", number, "compare", who, reason):
            raise SorbusError(f"conflict {number} is not about a field that the application normalizes")
        return self.get(number)

    def _told(
        self, name: str, number: int, action: str, who: str, reason: str, changed_at: datetime | None = None
    ) -> bool:
        """Records a person's decision, in the audit trail too; False if nothing was open, or it has changed since."""
        known = self.get(number)
        with self._state.connection() as connection:
            values = {"number": number, "choice": action, "who": who, "reason": reason, "changed_at": changed_at}
            if connection.execute(_statement(name), values).fetchone() is None:
                return False
            AuditTrail(self._state).note_in(
                connection,
                who,
                action,
                "conflict",
                str(number),
                data_type=known.data_type,
                record=known.id,
                reason=reason,
                details={"system": known.system, "field": known.field},
            )
        return True

    def counts(self) -> dict[tuple[str, str, str], int]:
        """By system, data type and state: how many are open, and how many were overwritten within a day."""
        rows = cast("list[tuple[str, str, str, int]]", self._run("counts"))
        return {(system, data_type, state): count for system, data_type, state, count in rows}

    def open_fields(self) -> list[OpenField]:
        """What waits for a person, by system, data type, field and loop."""
        return [OpenField(*cast("tuple[str, str, str, str | None, int, float, str]", row)) for row in self._run("open")]

    def places(self, days: int = 7) -> list[FieldPlace]:
        """Fields whose values were overwritten in the last days, most frequent first."""
        return [FieldPlace(*cast("tuple[str, str, str, int]", row)) for row in self._run("places", days=days)]

    def _run(self, name: str, **values: object) -> list[tuple[object, ...]]:
        of = {"system": self.system, "data_type": self.data_type, "resource": self.resource}
        return self._state.run(_statement(name), {**of, **values})


def _value(text: object) -> Json:
    return None if text is None else from_text(cast("str", text))


def _read(row: tuple[object, ...]) -> Conflict:
    head, values, tail = row[:9], row[9:12], row[12:]
    return Conflict(*head, *map(_value, values), *tail)  # type: ignore[arg-type]


@cache
def _statement(name: str) -> bytes:
    return (_FOLDER / f"{name}.sql").read_bytes()
