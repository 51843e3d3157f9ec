"""Drift findings and accepted shapes in the state database."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast

from sorbus.audit import AuditTrail
from sorbus.drift.compare import Drift, Severity, Shape, What
from sorbus.drift.statements import statement
from sorbus.errors import SorbusError
from sorbus.state.database import State


@dataclass(frozen=True, slots=True)
class DriftFinding:
    """One stored finding. `number` identifies it; `count` is how often it occurred."""

    number: int
    system: str
    data_type: str
    resource: str
    field: str
    what: What
    was: str
    now: str
    severity: Severity
    renamed: str
    example: str
    mapping: str
    count: int
    first_seen: datetime
    last_seen: datetime
    state: Literal["open", "settled"]
    settled_at: datetime | None
    settled_by: str | None
    reason: str | None

    @property
    def words(self) -> str:
        """What happened, for people."""
        return Drift(self.field, self.what, self.was, self.now, self.severity, self.renamed).words


class DriftStore:
    """Every call may raise TransientError or AuthError, as `State` does."""

    def __init__(self, state: State) -> None:
        self._state = state

    def shapes(self, system: str) -> dict[str, Shape]:
        """The last accepted shape of each of a system's resources."""
        return {str(name): _shape(fields) for name, fields in self._state.run(statement("shapes"), [system])}

    def accept(self, system: str, resource: str, shape: Shape) -> None:
        """Accepts this as the resource's shape from now on."""
        values = {"system": system, "resource": resource, "fields": json.dumps(list(shape.items()))}
        self._state.run(statement("accept"), values)

    def findings(self, system: str | None = None, *, settled: bool = False) -> list[DriftFinding]:
        """The open findings, those that hold records first; with `settled` also the settled ones."""
        rows = self._state.run(statement("list"), {"system": system, "all": settled})
        return [DriftFinding(*row) for row in rows]  # type: ignore[arg-type]

    def put(self, values: dict[str, object]) -> int:
        """Opens a finding or updates an open one; returns its number."""
        [[number]] = self._state.run(statement("put"), values)
        return int(str(number))

    def confirmed(self, system: str) -> dict[tuple[str, str], frozenset[str]]:
        """(data type, resource) -> the records that people have confirmed as deleted, until `applied`."""
        found: dict[tuple[str, str], frozenset[str]] = {}
        for data_type, resource, ids in self._state.run(statement("confirmed"), {"system": system}):
            key = str(data_type), str(resource)
            found[key] = found.get(key, frozenset()) | frozenset(cast("list[str]", ids))
        return found

    def applied(self, system: str, data_type: str, resource: str) -> None:
        """Clears the confirmed deletes, which have been processed."""
        values = {"system": system, "data_type": data_type, "resource": resource}
        self._state.run(statement("applied"), values)

    def settle(self, number: int, who: str, reason: str, *, accept: bool = True) -> None:
        """Closes a finding; with `accept`, the current shape becomes the accepted one. SorbusError if unknown."""
        with self._state.connection() as connection:
            values = {"number": number, "who": who, "reason": reason}
            row = connection.execute(statement("settle"), values).fetchone()
            if row is None:
                raise SorbusError(f"there is no open drift finding {number}; see `sorbus drift list`")
            if not accept:
                return
            AuditTrail(self._state).note_in(connection, who, "settle", "drift", str(number), reason=reason)
            system, resource, field, what, now = (str(each) for each in row)
            if what == "deleted":
                return
            rows = connection.execute(statement("shapes"), [system]).fetchall()
            shape = next((_shape(fields) for name, fields in rows if name == resource), None)
            if shape is None:
                return
            accepted = accepted_with(shape, field, cast("What", what), now)
            connection.execute(
                statement("accept"),
                {"system": system, "resource": resource, "fields": json.dumps(list(accepted.items()))},
            )


def accepted_with(shape: Shape, field: str, what: What, now: str) -> Shape:
    """`shape` with one difference applied."""
    if what == "missing":
        return {name: kind for name, kind in shape.items() if name != field}
    return {**shape, field: now}


def _shape(fields: object) -> Shape:
    return {str(name): str(kind) for name, kind in cast("list[list[str]]", fields)}
