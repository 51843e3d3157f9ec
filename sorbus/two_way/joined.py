"""Which systems of a two-way data type a person has accepted to be joined: others aren't read, nor written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

from sorbus.connector import BoundFlow
from sorbus.state.database import State


class Joined(NamedTuple):
    """`generation`: how often all systems were joined; 0: not yet. `systems` None: an earlier release didn't say."""

    generation: int
    systems: frozenset[str] | None


def joined(state: State, data_type: str) -> Joined:
    """What was accepted of a data type. TransientError."""
    rows = state.run(b"select generation, systems from joined_type where data_type = %s", (data_type,))
    return joined_of(rows[0]) if rows else Joined(0, frozenset())


def joined_of(row: Sequence[object]) -> Joined:
    """The same, of a row of generation and systems."""
    generation, systems = row
    return Joined(cast("int", generation), None if systems is None else frozenset(cast("list[str]", systems)))


def joined_before(state: State, data_type: str, systems: Iterable[str]) -> None:
    """Fills in what an earlier release didn't say. TransientError."""
    state.run(
        b"update joined_type set systems = %s where data_type = %s and systems is null", (sorted(systems), data_type)
    )


def why_not_joined(flow: BoundFlow) -> str | None:
    """Why nothing may be delivered yet; None where it may. TransientError."""
    if flow.flow.direction != "two-way":
        return None
    data_type, system = flow.flow.data_type, flow.flow.to
    accepted = joined(State.of(flow.system.topic_prefix), data_type)
    if accepted.generation and (accepted.systems is None or system in accepted.systems):
        return None
    return f"{system} isn't joined yet: see how its records would be, and accept it: sorbus two-way join {data_type}"
