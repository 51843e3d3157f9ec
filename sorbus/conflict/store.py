"""Conflicts in the state database: found by consumers, decided by people, carried out with the next delivery.

A conflict is one field of one record whose value in the target is neither what we sent last nor what the owner has.
`open` waits for a person (a flow with on_conflict: ask). `overwrite` and `keep` are decisions: the first lasts until
the owner's value is written (`overwritten`), the second until the owner changes the field. `rewritten`: no person did
it, the application writes the field in a way of its own, so that it can't be compared. `over`: it ended by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
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


class Contest(NamedTuple):
    """A field, by its path in the target, with what we sent last, what the target has now and what the owner has."""

    field: str
    sent: Json
    theirs: Json
    ours: Json


class ConflictVerdict(NamedTuple):
    """What was said of a field of a record: `theirs` and `ours` are the values that it was said of."""

    number: int
    state: ConflictState
    theirs: Json
    ours: Json


class Standing(NamedTuple):
    """What stands of one record, by field, and which fields the application writes in its own way, of any record."""

    verdicts: Mapping[str, ConflictVerdict]
    rewritten: frozenset[str]


@dataclass(frozen=True, slots=True)
class Conflict:
    """One conflict as people see it. `number` is what they call it by; its values are None once forgotten."""

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


class FieldPlace(NamedTuple):
    """Where people work in the wrong place: how often their values were overwritten."""

    system: str
    data_type: str
    field: str
    times: int


class Conflicts:
    """The conflicts of a map, or of one system, data type and resource. TransientError while the database is out
    of reach.
    """

    def __init__(
        self, state: State, system: str | None = None, data_type: str | None = None, resource: str | None = None
    ) -> None:
        self._state, self.system, self.data_type, self.resource = state, system, data_type, resource

    def standing(self, id: str) -> Standing:
        """What stands of a record. One query."""
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
        """Notes conflicts, before anything is written: open ones, or such as are about to be overwritten; numbers."""
        if not found:
            return []
        columns = {
            "fields": [one.field for one in found],
            **{name: [to_text(getattr(one, name)) for one in found] for name in ("sent", "theirs", "ours")},
        }
        values = {"id": id, "version": version, "flow": flow, "external_id": external_id, **columns}
        rows = self._run("put", **values, state="open" if asks else "overwrite")
        return [cast("int", number) for (number,) in rows]

    def overwritten(self, numbers: Sequence[int]) -> None:
        """The owner's value has been written."""
        self._run("turn", numbers=list(numbers), state="overwritten")

    def rewritten(self, numbers: Sequence[int]) -> None:
        """It has been written, and the application made something else of it: it wasn't people."""
        self._run("turn", numbers=list(numbers), state="rewritten")

    def settle(self, id: str, *, but: Collection[str] = ()) -> None:
        """What stood of a record is over, but for these fields: its owner and the target agree, or it is gone."""
        self._run("settle", id=id, but=list(but))

    def page(
        self,
        states: Sequence[ConflictState] = ("open",),
        *,
        id: str | None = None,
        before: int | None = None,
        most: int = 100,
    ) -> list[Conflict]:
        """The newest first; `before`: only those with smaller numbers, the next page."""
        values = {"states": list(states), "id": id, "before": before or _NEWEST, "most": most}
        return [_read(row) for row in self._run("page", **values)]

    def get(self, number: int) -> Conflict:
        """The conflict of this number; SorbusError if there is none."""
        rows = self._run("get", number=number)
        if not rows:
            raise SorbusError(f"there is no conflict {number}; see `sorbus conflicts list`")
        return _read(rows[0])

    def decide(self, number: int, choice: Choice, *, who: str, reason: str) -> Conflict:
        """Writes down what a person decided; it may be changed until it is carried out. SorbusError if it is over."""
        if not self._told("decide", number, choice, who, reason):
            known = self.get(number)
            raise SorbusError(f"conflict {number} is {known.state}: there is nothing left to decide")
        return self.get(number)

    def compare(self, number: int, *, who: str, reason: str) -> Conflict:
        """From now on the field of a `rewritten` conflict is compared again. SorbusError if it isn't one."""
        if not self._told("compare", number, "compare", who, reason):
            raise SorbusError(f"conflict {number} is not one of a field that the application writes in its own way")
        return self.get(number)

    def _told(self, name: str, number: int, action: str, who: str, reason: str) -> bool:
        """Writes down what a person said, in the audit trail too; False if there was nothing to say."""
        known = self.get(number)
        with self._state.connection() as connection:
            values = {"number": number, "choice": action, "who": who, "reason": reason}
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

    def places(self, days: int = 7) -> list[FieldPlace]:
        """Whose values were overwritten in the last days, the most frequent first."""
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
