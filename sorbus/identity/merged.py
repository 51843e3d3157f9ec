"""Duplicate records of a target: remembered with their survivor, and removed as a person chose.

The ways: `merge` with the application's own merge, `delete`, or `person`, which is a task until a person confirms it.
In each case the duplicate is never a candidate again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, cast

from sorbus.audit import AuditTrail
from sorbus.errors import SorbusError
from sorbus.identity.statements import statement
from sorbus.state.database import State

Way = Literal["merge", "delete", "person"]
SORBUS = "sorbus"
"""The actor of automatic actions."""


@dataclass(frozen=True, slots=True)
class Merged:
    """One record to be removed. `candidate`: the number of the decided question; `problem`: why it is still due."""

    system: str
    data_type: str
    resource: str
    external_id: str
    survivor: str
    id: str
    candidate: int
    way: Way
    state: Literal["due", "done"]
    who: str
    at: datetime
    done_at: datetime | None
    done_by: str | None
    problem: str

    @property
    def task(self) -> str:
        """The task for a person, in plain words; "" if there is none."""
        if self.state == "done":
            return ""
        if self.way == "person" and self.problem:
            return (
                f"{self.external_id} was to be merged into {self.survivor} in {self.system} by hand: {self.problem};"
                f" decide {self.candidate} again, or say done"
            )
        if self.way == "person":
            return f"merge {self.external_id} into {self.survivor} in {self.system}, or archive it there; then say done"
        verb = "merged into" if self.way == "merge" else "deleted, since it is"
        why = f": {self.problem}" if self.problem else ""
        return f"{self.external_id} is still to be {verb} {self.survivor} in {self.system}{why}"


class Claim(NamedTuple):
    """A target record that belongs to a canonical record, by link or by decision."""

    external_id: str
    data_type: str
    id: str


class MergedRecords:
    """The merged records of a map, or of one system, data type and resource."""

    def __init__(
        self, state: State, system: str | None = None, data_type: str | None = None, resource: str | None = None
    ) -> None:
        self._state, self._of = state, {"system": system, "data_type": data_type, "resource": resource}

    def of_candidate(self, number: int) -> list[Merged]:
        """Those of one decision, due ones first."""
        return self._list({**self._of, "all": True, "candidate": number})

    def due(self) -> list[Merged]:
        """Those not yet removed, longest due first."""
        return self._list({**self._of, "all": False, "candidate": None})

    def all(self) -> list[Merged]:
        """All, due ones first."""
        return self._list({**self._of, "all": True, "candidate": None})

    def is_due(self, one: Merged) -> bool:
        """Whether it is still due, with the same survivor and way: a person may have changed the decision."""
        return any(
            (each.state, each.external_id, each.survivor, each.way) == ("due", one.external_id, one.survivor, one.way)
            for each in self.of_candidate(one.candidate)
        )

    def claims(self, system: str, resource: str, external_ids: Collection[str], candidate: int) -> list[Claim]:
        """Which records of a resource are taken by now; `candidate`: the question whose own answer doesn't count.

        Each is linked, or chosen for another record that is not delivered yet.
        """
        values = {
            "system": system,
            "resource": resource,
            "external_ids": list(external_ids),
            "candidate": candidate,
        }
        return [
            Claim(*cast("tuple[str, str, str]", row)) for row in self._state.run(statement("merged_claimed"), values)
        ]

    def done(self, one: Merged, who: str) -> None:
        """It was removed there. SorbusError if it wasn't due."""
        with self._state.connection() as connection:
            row = connection.execute(statement("merged_done"), {**_key(one), "who": who}).fetchone()
            if row is None:
                raise SorbusError(f"{one.external_id} in {one.system} isn't due; see `sorbus duplicates merges --all`")
            if who == SORBUS:
                return
            AuditTrail(self._state).note_in(
                connection,
                who,
                "merged by hand",
                "duplicate",
                str(one.candidate),
                data_type=one.data_type,
                record=one.id,
                details={"system": one.system, "external_id": one.external_id, "survivor": one.survivor},
            )

    def failed(self, one: Merged, problem: str) -> None:
        """It could not be removed now, and stays due."""
        self._state.run(statement("merged_problem"), {**_key(one), "problem": problem.replace("\0", "")})

    def moved(self, one: Merged, now: str) -> None:
        """The application has merged both into a new record: the survivor's id has changed."""
        values = {"number": one.candidate, "was": one.survivor, "now": now, "who": one.who}
        self._state.run(statement("merged_moved"), values)

    def _list(self, values: dict[str, object]) -> list[Merged]:
        return [Merged(*row) for row in self._state.run(statement("merged_list"), values)]  # type: ignore[arg-type]


def _key(one: Merged) -> dict[str, object]:
    return {"system": one.system, "data_type": one.data_type, "resource": one.resource, "external_id": one.external_id}
