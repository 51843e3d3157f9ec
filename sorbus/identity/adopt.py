"""Links created before links had a resource: assigned to the resource that the map names, or left to a person."""

from __future__ import annotations

from typing import NamedTuple, cast

from sorbus.identity.statements import statement
from sorbus.state.database import State


class Adopted(NamedTuple):
    """How many links got their resource, and how many of them are of records also linked under another data type."""

    links: int
    shared: int


def unassigned(state: State, system: str, data_type: str) -> int:
    """How many links and open questions of a data type in a system have no resource yet. TransientError."""
    rows = state.run(statement("unassigned"), {"system": system, "data_type": data_type})
    return cast("int", rows[0][0])


def adopt(state: State, system: str, data_type: str, resource: str) -> Adopted:
    """Assigns all of those to `resource`. Idempotent. TransientError."""
    of = {"system": system, "data_type": data_type, "resource": resource}
    return Adopted(*cast("tuple[int, int]", state.run(statement("adopt"), of)[0]))
