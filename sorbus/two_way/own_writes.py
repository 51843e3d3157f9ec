"""What Sorbus writes into a system that keeps no log: noted around each write, so that the system's producer knows it.

A write is opened before its request and closed with the state that followed it. The producer publishes those states
in their order, as a log would show them; what it reads itself counts only where no write of ours was under way or came
between (`touched`). So neither a late page nor a webhook of our own write is taken for a person's change.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, cast

from sorbus.http_api.interface import Json, Record
from sorbus.identity.last_sent import from_text, to_text
from sorbus.state.database import State

Kept = Mapping[str, tuple[Json, Json]]
"""Field -> what was sent, and what the system made of it."""

_NEXT = b"""
with n as (
    insert into own_write_count as c (system, data_type, number) values (%(system)s, %(data_type)s, %(by)s)
    on conflict (system, data_type) do update set number = c.number + %(by)s
    returning number
)
"""
_OPEN = (
    _NEXT
    + b"""
insert into own_write as w (system, data_type, id, number, external_id, opened_at, version, before, sent, suspects)
select %(system)s, %(data_type)s, %(id)s, n.number, %(external_id)s, now(), %(version)s, %(before)s, %(sent)s, '[]'
from n
on conflict (system, data_type, id) do update set
    number = excluded.number, external_id = coalesce(excluded.external_id, w.external_id), opened_at = now(),
    version = excluded.version, before = excluded.before, sent = excluded.sent, suspects = '[]'
"""
)
_CANCEL = (
    _NEXT
    + b"""
update own_write w set number = n.number, opened_at = null, before = null, sent = null, suspects = null
from n
where w.system = %(system)s and w.data_type = %(data_type)s and w.id = %(id)s
"""
)
_SUSPECT = b"""
update own_write set suspects = %(suspects)s, opened_at = now()
where system = %(system)s and data_type = %(data_type)s and id = %(id)s and opened_at is not null
"""
_CLOSE = (
    _NEXT
    + b""", s as (
    insert into own_state (system, data_type, number, id, external_id, version, record)
    select %(system)s, %(data_type)s, n.number - %(by)s + g.place, %(id)s, %(external_id)s, g.version, g.record::json
    from n, unnest(%(versions)s::bigint[], %(records)s::text[]) with ordinality as g (version, record, place)
)
insert into own_write as w (system, data_type, id, number, external_id, noted, kept)
select %(system)s, %(data_type)s, %(id)s, n.number, %(external_id)s, %(noted)s, %(kept)s
from n
on conflict (system, data_type, id) do update set
    number = excluded.number, external_id = excluded.external_id, noted = greatest(w.noted, excluded.noted),
    kept = excluded.kept, opened_at = null, before = null, sent = null, suspects = null
"""
)
_LOOK = (
    _NEXT
    + b"""
insert into own_state (system, data_type, number, id, external_id)
select %(system)s, %(data_type)s, n.number, %(id)s, %(external_id)s
from n
"""
)
_FIND = b"""
select external_id, noted, opened_at, extract(epoch from now() - opened_at)::float8, version, before::text, sent::text,
    suspects::text, kept::text
from own_write
where system = %(system)s and data_type = %(data_type)s and id = %(id)s
"""
_PUT_RIGHT = b"""
update own_write set opened_at = now()
where system = %(system)s and data_type = %(data_type)s and id = %(id)s and opened_at > now()
"""
_AHEAD = 10.0
"""Seconds; what is further in the future was opened while the database's clock was ahead."""
_STATES = b"""
select number, id, external_id, version, record::text
from own_state
where system = %(system)s and data_type = %(data_type)s and number > %(after)s and number <= %(until)s
order by number limit %(most)s
"""
_NUMBER_AGAIN = b"""
with n as (
    insert into own_write_count as c (system, data_type, number) values (%(system)s, %(data_type)s, %(after)s)
    on conflict (system, data_type) do update set number = c.number + %(after)s where c.number < %(after)s
    returning number
), s as (
    update own_state o set number = o.number + %(after)s, version = null, record = null from n
    where o.system = %(system)s and o.data_type = %(data_type)s
)
update own_write w set number = w.number + %(after)s from n
where w.system = %(system)s and w.data_type = %(data_type)s
"""
"""What is numbered lower than what is on the topic gets numbers above it; states are looked at, and not published."""
_TOUCHED = b"""
select external_id
from own_write
where system = %(system)s and data_type = %(data_type)s and external_id = any (%(ids)s)
    and (number > %(after)s or opened_at is not null)
"""


class OpenWrite(NamedTuple):
    """A write of which nobody knows yet what became of it. `before` None: it makes the record. `age` in seconds."""

    age: float
    version: int
    before: Record | None
    sent: Record
    suspects: list[Record]
    """What was found in the fields since then and was neither: people's, or the system's own form of it."""


class OwnWrite(NamedTuple):
    """What is known of our writes of one record. `noted`: the last version whose state was noted."""

    external_id: str | None
    noted: int
    open: OpenWrite | None
    kept: Kept


class OwnState(NamedTuple):
    """A state that followed our writes. `version` None: people's change, found under one; `record` None: look at it."""

    number: int
    id: str
    external_id: str
    version: int | None
    record: Record | None


_NEVER = OwnWrite(None, 0, None, {})


class OwnWrites:
    """Our writes of one data type's records into one system. TransientError if the database can't be reached."""

    def __init__(self, state: State, system: str, data_type: str) -> None:
        self._state, self._of = state, {"system": system, "data_type": data_type}

    def find(self, id: str) -> OwnWrite:
        """What is known of a record."""
        rows = self._run(_FIND, id=id)
        if rows and isinstance(rows[0][3], float) and rows[0][3] < -_AHEAD:
            self._run(_PUT_RIGHT, id=id)
            rows = self._run(_FIND, id=id)
        if not rows:
            return _NEVER
        external_id, noted, opened_at, age, version, before, sent, suspects, kept = rows[0]
        under_way = None
        if opened_at is not None:
            assert isinstance(opened_at, datetime)
            under_way = OpenWrite(
                cast("float", age),
                cast("int", version),
                None if before is None else from_text(cast("str", before)),
                from_text(cast("str", sent)),
                from_text(cast("str", suspects)),
            )
        pairs = {path: (one[0], one[1]) for path, one in from_text(cast("str", kept)).items()}
        return OwnWrite(cast("str | None", external_id), cast("int", noted), under_way, pairs)

    def kept(self, id: str, external_id: str) -> Kept:
        """What the system made of what was sent last, where that differs."""
        found = self.find(id)
        return found.kept if found.external_id == external_id else {}

    def open(
        self, id: str, external_id: str | None, version: int, before: Record | None, sent: Mapping[str, Json]
    ) -> None:
        """Before a request; `before` None where it makes the record. Replaces a write that was open."""
        self._run(
            _OPEN,
            by=1,
            id=id,
            external_id=external_id,
            version=version,
            before=None if before is None else to_text(before),
            sent=to_text(dict(sent)),
        )

    def suspect(self, id: str, suspects: Sequence[Record]) -> None:
        """Before an open write is repeated: these states were found since, and are overwritten by it."""
        self._run(_SUSPECT, id=id, suspects=to_text(list(suspects)))

    def cancel(self, id: str) -> None:
        """The open write has certainly changed nothing."""
        self._run(_CANCEL, by=1, id=id)

    def close(
        self, id: str, external_id: str, noted: int, states: Sequence[tuple[int | None, Record | None]], kept: Kept
    ) -> None:
        """After a write: the states that followed it, each with the version that it brought; see `OwnState`."""
        self._run(
            _CLOSE,
            by=len(states),
            id=id,
            external_id=external_id,
            noted=noted,
            versions=[version for version, _ in states],
            records=[None if record is None else to_text(record) for _, record in states],
            kept=to_text({path: list(pair) for path, pair in kept.items()}),
        )

    def look(self, id: str, external_id: str) -> None:
        """The producer is to look at the record: it isn't as it was last."""
        self._run(_LOOK, by=1, id=id, external_id=external_id)

    def forget(self, id: str) -> None:
        """The record is gone there."""
        self._run(
            b"delete from own_write where system = %(system)s and data_type = %(data_type)s and id = %(id)s", id=id
        )

    def fresh(self, after: int, most: int) -> tuple[list[OwnState], int]:
        """The states behind `after` in their order, and up to which number these are all.

        Where no number is as high, the database was restored to before: what is noted in it gets new numbers.
        """
        rows = self._run(b"select number from own_write_count where system = %(system)s and data_type = %(data_type)s")
        until = cast("int", rows[0][0]) if rows else 0
        if until < after:
            self._run(_NUMBER_AGAIN, after=after)
        if until <= after:
            return [], after
        found = [
            OwnState(
                cast("int", number),
                str(id),
                str(external_id),
                cast("int | None", version),
                None if record is None else from_text(cast("str", record)),
            )
            for number, id, external_id, version, record in self._run(_STATES, after=after, until=until, most=most)
        ]
        return found, found[-1].number if len(found) == most else until

    def touched(self, external_ids: Collection[str], after: int) -> set[str]:
        """Which of these records have a write under way, or had one numbered above `after`."""
        rows = self._run(_TOUCHED, ids=list(external_ids), after=after) if external_ids else []
        return {str(external_id) for (external_id,) in rows}

    def published(self, until: int) -> None:
        """States up to this number are on the topic."""
        self._run(
            b"delete from own_state where system = %(system)s and data_type = %(data_type)s and number <= %(until)s",
            until=until,
        )

    def begin_anew(self) -> None:
        """All states are read again from the system: what was noted of earlier ones isn't waited for."""
        self._run(b"update own_write set noted = 0 where system = %(system)s and data_type = %(data_type)s")

    def _run(self, statement: bytes, **values: object) -> list[tuple[object, ...]]:
        return self._state.run(statement, {**self._of, **values})
