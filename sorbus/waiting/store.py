"""The deferred records' table: one row per flow and record, with the newest state that can't be delivered yet.

A row is written before the event's offset is committed, and deleted after the record was delivered, became a dead
letter, or is obsolete. A crash in between repeats a step: the same version put twice is one row, and a version that was
delivered before is not newer than the target's, so that retrying it changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, cast

from psycopg.types.json import Jsonb

from sorbus.audit import AuditTrail
from sorbus.state.database import State
from sorbus.state.storable import storable

Why = Literal["reference", "incomplete"]
LEASE = 30.0
"""Seconds for which a taken record belongs to its process. Not a lock: trying it twice is safe, only useless."""
PAUSE, MOST_PAUSE = 0.5, 30.0
"""Seconds between two tries if the need can't be observed: half of the time waited so far, within these limits."""
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
    """An event to defer: what it needs, and why in plain words. `needs` as in `sorbus.errors.MustWait`.

    `least`: seconds from now on that it waits at least, though its time be up. `was_taken`: it waited before, and is
    put back, unless it was settled meanwhile.
    """

    event: WaitingEvent
    why: Why
    needs: Sequence[tuple[str, ...]]
    message: str
    limit: float | None = None
    least: float = 0.0
    was_taken: bool = False


class Due(NamedTuple):
    """An event to be tried now. `is_over`: its time is up."""

    event: WaitingEvent
    since: datetime
    is_over: bool


class Waiting(NamedTuple):
    """A deferred record, as shown to people. `until` None: without a limit."""

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
    """A record's position in the list of deferred ones."""

    since: datetime
    flow: str
    id: str


class Missing(NamedTuple):
    """Records that a flow defers because a field is empty; `since`: the first of them."""

    flow: str
    field: str
    records: int
    since: datetime


class WaitingStore:
    """One flow's deferred records. TransientError if the state's database is unreachable."""

    def __init__(self, state: State, flow: str, data_type: str, system: str) -> None:
        self._state, self._of = state, {"flow": flow, "data_type": data_type, "system": system}

    def put(self, held: Sequence[HeldBack], *, limit: float, of: Collection[int] = ()) -> dict[int, int]:
        """Stores them, all or none. Those with why "reference" wait at most `limit` seconds, or less if they say so.

        `of`: partitions of which that is counted: how often it was.
        """
        if not held:
            return {}
        rows = [self._row(one, limit) for one in held]
        with self._state.connection() as connection, connection.cursor() as cursor:
            cursor.executemany(_statement("put"), rows)
            if not of:
                return {}
            counted = connection.execute(_statement("count"), self._counting(dict.fromkeys(of, 1))).fetchall()
            return {cast("int", number): cast("int", count) for number, count in counted}

    def counted(self) -> dict[int, int]:
        """How often records were deferred, by partition."""
        rows = self._state.run(_statement("counted"), self._of)
        return {cast("int", number): cast("int", count) for number, count in rows}

    def count(self, least: Mapping[int, int]) -> dict[int, int]:
        """Counts once more, to these at least."""
        rows = self._state.run(_statement("count"), self._counting(least))
        return {cast("int", number): cast("int", count) for number, count in rows}

    def _counting(self, least: Mapping[int, int]) -> Mapping[str, object]:
        return {**self._of, "partitions": list(least), "counts": list(least.values())}

    def take(self, most: int) -> list[Due]:
        """Those that are due, those not tried for the longest time before others; in the order in which they came.

        They are reserved for this process for LEASE seconds.
        """
        rows = self._state.run(_statement("take"), {**self._of, "most": most, "lease": LEASE})
        return sorted((_due(row) for row in rows), key=lambda due: due.since)

    def known(self, done: Sequence[tuple[bytes, int]]) -> set[tuple[bytes, int]]:
        """What waits of these versions, by key, and of older ones."""
        if not done:
            return set()
        keys, versions = [key for key, _ in done], [version for _, version in done]
        rows = self._state.run(_statement("known"), {**self._of, "keys": keys, "versions": versions})
        return {(bytes(cast("bytes", key)), cast("int", version)) for key, version in rows}

    def settle(self, done: Sequence[tuple[bytes, int]]) -> None:
        """Removes these versions, by key, and older ones: they were delivered or are dead letters."""
        if done:
            keys, versions = [key for key, _ in done], [version for _, version in done]
            self._state.run(_statement("settle"), {**self._of, "keys": keys, "versions": versions})

    def wake(self, id: str | None = None) -> int:
        """Makes all records, or one, due at once; returns how many there are."""
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
            "needs": Jsonb([list(map(storable, need)) for need in held.needs]),
            "message": storable(held.message),
            "frame": event.frame,
            "header_names": [name for name, _ in event.headers],
            "header_values": [value for _, value in event.headers],
            "topic": event.topic,
            "partition": event.partition,
            "offset": event.offset,
            "limit": min(limit, held.limit or limit) if held.why == "reference" else None,
            "least": held.least if held.why == "reference" and held.least > 0 else None,
            "was_taken": held.was_taken,
            "pause": 0.0 if held.needs else PAUSE,
            "most_pause": 0.0 if held.needs else MOST_PAUSE,
        }


class Deferred(NamedTuple):
    """How many a flow defers for one reason; `since`: the first of them."""

    records: int
    since: datetime


def counts(state: State) -> dict[tuple[str, str], Deferred]:
    """Those that are deferred, by flow and why. TransientError."""
    rows = cast("list[tuple[str, str, int, datetime]]", state.run(_statement("counts")))
    return {(flow, why): Deferred(count, since) for flow, why, count, since in rows}


def missing(state: State) -> list[Missing]:
    """Which fields are empty in how many records, most frequent first. TransientError."""
    return [Missing(*row) for row in state.run(_statement("missing"))]  # type: ignore[arg-type]


def waiting(
    state: State,
    *,
    flow: str | None = None,
    why: Why | None = None,
    after: WaitingCursor | None = None,
    most: int = 1000,
) -> list[Waiting]:
    """Deferred records, longest waiting first; `after`: only those behind this position. TransientError."""
    since, after_flow, id = after or (None, None, None)
    behind = {"after": since, "after_flow": after_flow, "after_key": id.encode() if id is not None else None}
    rows = state.run(_statement("list"), {"flow": flow, "why": why, "most": most, **behind})
    return [_waiting(row) for row in rows]


def waiting_of(state: State, data_type: str, id: str) -> list[Waiting]:
    """Where one record is deferred, in any flow. TransientError."""
    return [_waiting(row) for row in state.run(_statement("of_record"), {"data_type": data_type, "key": id.encode()})]


def retry(state: State, flow: str, data_type: str, system: str, id: str | None, who: str) -> int:
    """Makes a flow's deferred records, or one of them, due at once, on a person's request; returns how many."""
    count = WaitingStore(state, flow, data_type, system).wake(id)
    about = {"data_type": data_type, "record": id} if id else {}
    AuditTrail(state).note(who, "retry", "flow", flow, details={"count": count}, **about)
    return count


def forget(state: State, data_type: str, id: str) -> list[str]:
    """Erases a record from the deferred records of all flows; returns the flows that had it. TransientError."""
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
