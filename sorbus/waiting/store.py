"""The waiting room's rows: one per flow and record, the newest state that can't be delivered yet.

A row is written before the event's offset moves, and taken out after the record has landed, has become a dead letter,
or is obsolete. A crash in between repeats a step: the same version put twice is one row, and a version that landed
before is older than or equal to what the target has, so that trying it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, cast

from psycopg.types.json import Jsonb

from sorbus.audit import AuditTrail
from sorbus.state.database import State

Why = Literal["reference", "incomplete"]
LEASE = 30.0
"""Seconds that a taken record is left to whoever took it. Not a lock: trying it twice at once is safe, only useless."""
PAUSE, MOST_PAUSE = 0.5, 30.0
"""Seconds between two tries of a record whose need can't be seen: half of the time that it has waited, within these."""
_FOLDER = Path(__file__).parent / "sql"


class WaitingEvent(NamedTuple):
    """An event as it came from Kafka; `frame` None: a tombstone."""

    key: bytes
    version: int
    frame: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    topic: str
    partition: int
    offset: int


class HeldBack(NamedTuple):
    """An event that is to wait: what for, and in plain words. `needs` as in `sorbus.errors.MustWait`."""

    event: WaitingEvent
    why: Why
    needs: Sequence[tuple[str, ...]]
    message: str
    limit: float | None = None


class Due(NamedTuple):
    """An event to be tried now. `is_over`: its time is up, so that this try is the last."""

    event: WaitingEvent
    since: datetime
    is_over: bool


class Waiting(NamedTuple):
    """A record that waits, as people are shown it. `until` None: as long as it takes."""

    flow: str
    id: str
    version: int
    data_type: str
    system: str
    why: Why
    needs: tuple[tuple[str, ...], ...]
    message: str
    since: datetime
    until: datetime | None


class WaitingCursor(NamedTuple):
    """Where a record is in the list of those that wait."""

    since: datetime
    flow: str
    id: str


class Missing(NamedTuple):
    """Records that a flow holds back since a field is empty; `since`: the first of them."""

    flow: str
    field: str
    records: int
    since: datetime


class WaitingStore:
    """One flow's waiting room. TransientError while the state's database is out of reach."""

    def __init__(self, state: State, flow: str, data_type: str, system: str) -> None:
        self._state, self._of = state, {"flow": flow, "data_type": data_type, "system": system}

    def put(self, held: Sequence[HeldBack], *, limit: float) -> None:
        """Notes them, all or none. Those with why "reference" wait `limit` seconds at most, or less if they say so."""
        if not held:
            return
        rows = [self._row(one, limit) for one in held]
        with self._state.connection() as connection, connection.cursor() as cursor:
            cursor.executemany(_statement("put"), rows)

    def take(self, most: int) -> list[Due]:
        """Those that may go on now, the longest waiting first; for LEASE seconds nobody else gets them."""
        rows = self._state.run(_statement("take"), {**self._of, "most": most, "lease": LEASE})
        return sorted((_due(row) for row in rows), key=lambda due: due.since)

    def settle(self, done: Sequence[tuple[bytes, int]]) -> None:
        """These versions, by key, have landed or are dead letters: they need not wait, nor older ones."""
        if done:
            keys, versions = [key for key, _ in done], [version for _, version in done]
            self._state.run(_statement("settle"), {**self._of, "keys": keys, "versions": versions})

    def wake(self, id: str | None = None) -> int:
        """Has all be tried at once, whatever they wait for, or just one record; how many there are."""
        return len(self._state.run(_statement("wake"), {**self._of, "key": None if id is None else id.encode()}))

    def is_empty(self) -> bool:
        return self._state.run(_statement("any"), self._of) == [(False,)]

    def _row(self, held: HeldBack, limit: float) -> Mapping[str, object]:
        event = held.event
        return {
            **self._of,
            "key": event.key,
            "version": event.version,
            "why": held.why,
            "needs": Jsonb([list(need) for need in held.needs]),
            "message": held.message.replace("\0", ""),
            "frame": event.frame,
            "header_names": [name for name, _ in event.headers],
            "header_values": [value for _, value in event.headers],
            "topic": event.topic,
            "partition": event.partition,
            "offset": event.offset,
            "limit": min(limit, held.limit or limit) if held.why == "reference" else None,
            "pause": 0.0 if held.needs else PAUSE,
            "most_pause": 0.0 if held.needs else MOST_PAUSE,
        }


def counts(state: State) -> dict[tuple[str, str], int]:
    """How many wait, by flow and why. TransientError."""
    rows = cast("list[tuple[str, str, int]]", state.run(_statement("counts")))
    return {(flow, why): count for flow, why, count in rows}


def missing(state: State) -> list[Missing]:
    """Which fields are empty in how many records, the most first. TransientError."""
    return [Missing(*row) for row in state.run(_statement("missing"))]  # type: ignore[arg-type]


def waiting(
    state: State,
    *,
    flow: str | None = None,
    why: Why | None = None,
    after: WaitingCursor | None = None,
    most: int = 1000,
) -> list[Waiting]:
    """Who waits, the longest first; `after`: only those behind this place. TransientError."""
    since, after_flow, id = after or (None, None, None)
    behind = {"after": since, "after_flow": after_flow, "after_key": id.encode() if id is not None else None}
    rows = state.run(_statement("list"), {"flow": flow, "why": why, "most": most, **behind})
    return [_waiting(row) for row in rows]


def waiting_of(state: State, data_type: str, id: str) -> list[Waiting]:
    """Where one record waits, in any flow. TransientError."""
    return [_waiting(row) for row in state.run(_statement("of_record"), {"data_type": data_type, "key": id.encode()})]


def retry(state: State, flow: str, data_type: str, system: str, id: str | None, who: str) -> int:
    """Has a flow's records that wait, or one of them, be tried at once, since a person wants it; how many those are."""
    count = WaitingStore(state, flow, data_type, system).wake(id)
    about = {"data_type": data_type, "record": id} if id else {}
    AuditTrail(state).note(who, "retry", "flow", flow, details={"count": count}, **about)
    return count


def forget(state: State, data_type: str, id: str) -> list[str]:
    """Erases a record from the waiting rooms of all flows; the flows that had it. TransientError."""
    rows = state.run(_statement("forget"), {"data_type": data_type, "key": id.encode()})
    return sorted(str(flow) for (flow,) in rows)


def _waiting(row: tuple[object, ...]) -> Waiting:
    return Waiting(
        cast("str", row[0]),
        bytes(cast("bytes", row[1])).decode(errors="replace"),
        cast("int", row[2]),
        cast("str", row[3]),
        cast("str", row[4]),
        cast("Why", row[5]),
        tuple(tuple(map(str, need)) for need in cast("list[list[str]]", row[6])),
        cast("str", row[7]),
        cast("datetime", row[8]),
        cast("datetime | None", row[9]),
    )


def _due(row: tuple[object, ...]) -> Due:
    key, version, frame, names, values, topic, partition, offset, since, is_over = row
    headers = zip(cast("list[str]", names), cast("list[bytes | None]", values), strict=True)
    event = WaitingEvent(
        bytes(cast("bytes", key)),
        cast("int", version),
        None if frame is None else bytes(cast("bytes", frame)),
        [(name, value) for name, value in headers],
        cast("str", topic),
        cast("int", partition),
        cast("int", offset),
    )
    return Due(event, cast("datetime", since), cast("bool", is_over))


@cache
def _statement(name: str) -> bytes:
    return (_FOLDER / f"{name}.sql").read_bytes()
