"""A rolling sample: a part of the records at a time, until all have had their turn, resumed over runs and restarts.

Records come in the order of their ids' hashes: each part is a random sample of all, and a new record has its place.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import NamedTuple, cast

from sorbus.ops.reconcile.finding import Coverage
from sorbus.state.database import State

_BYTES = 7
_LAST = 1 << (8 * _BYTES)
"""The largest hash; 0 is below the smallest."""


def place_of(id: bytes) -> int:
    """A record's place, from 1."""
    return 1 + int.from_bytes(blake2b(id, digest_size=_BYTES).digest(), "big")


class Look(NamedTuple):
    """Records that were looked at together: those with a place above `after`, up to `until`."""

    number: int
    after: int
    until: int
    looked_at: datetime
    places: array[int]


class RollingSample:
    """One flow's. TransientError, AuthError as `State`."""

    def __init__(self, state: State, flow: str) -> None:
        self._state, self._flow = state, flow
        self._looks = self._stored()

    @property
    def cursor(self) -> int:
        """The place of the last record that was looked at."""
        return self._looks[-1].until if self._looks else 0

    def order(self, ids: Collection[bytes]) -> list[bytes]:
        """All of them, beginning with the one after the last that was looked at."""
        places = sorted((place_of(id), id) for id in ids)
        begin = bisect_right(places, (self.cursor, b"\xff" * 1001))
        return [id for _, id in (*places[begin:], *places[:begin])]

    def looked_at(self, ids: Sequence[bytes], at: datetime, *, are_all: bool = False) -> None:
        """Moves on behind these, the first of `order`; `are_all`: there are no others."""
        if not ids:
            return
        places = sorted(map(place_of, ids))
        begin, end = self.cursor, place_of(ids[-1])
        if are_all:
            parts = [(begin, _LAST), (0, begin)] if begin else [(0, _LAST)]
        else:
            parts = [(begin, end)] if end > begin else [(begin, _LAST), (0, end)]
        with self._state.connection() as connection:
            for after, until in parts:
                if until > after:
                    among = places[bisect_right(places, after) : bisect_right(places, until)]
                    values = {"flow": self._flow, "after": after, "until": until, "at": at, "places": _packed(among)}
                    connection.execute(_statement("put_look"), values)
        self._looks = self._stored()
        # Looks follow each other around the circle: those from before the last whole round say nothing any more.
        length = 0
        for look in reversed(self._looks):
            if length >= _LAST:
                self._state.run(_statement("forget_looks"), {"flow": self._flow, "before": look.number + 1})
                break
            length += look.until - look.after

    def coverage(self, ids: Collection[bytes], *, a_day: int | None, cost: float) -> Coverage:
        """How much of these records has been looked at. `cost`: requests that a record takes."""
        when: dict[int, datetime] = {}
        for look in self._looks:
            when.update(dict.fromkeys(look.places, look.looked_at))
        times = [at for id in ids if (at := when.get(place_of(id))) is not None]
        days = None if a_day is None else max(1, -(-int(len(ids) * max(cost, 1.0)) // a_day))
        return Coverage(len(ids), len(times), min(times, default=None), a_day, days)

    def _stored(self) -> list[Look]:
        rows = self._state.run(_statement("looks"), {"flow": self._flow})
        return [Look(*cast("tuple[int, int, int, datetime]", row[:4]), _unpacked(row[4])) for row in rows]


def _packed(places: list[int]) -> bytes:
    found = array("Q", places)
    if sys.byteorder == "big":
        found.byteswap()
    return found.tobytes()


def _unpacked(stored: object) -> array[int]:
    found = array("Q")
    found.frombytes(cast("bytes", stored))
    if sys.byteorder == "big":
        found.byteswap()
    return found


@cache
def _statement(name: str) -> bytes:
    return (files("sorbus.ops.reconcile") / "sql" / f"{name}.sql").read_bytes()
