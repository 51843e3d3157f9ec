"""Merged records in the state database: read and written a batch at a time."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import cast

from sorbus.errors import TransientError
from sorbus.postgres.connection import Connection
from sorbus.state.database import State
from sorbus.two_way.joined import Joined, joined, joined_of
from sorbus.two_way.merged_record import UNREADABLE, Held, MergedRecord, Origin, Values, View

Encode = Callable[[Values], tuple[bytes, bytes]]
"""A record -> its frame's head and its Avro."""
Decode = Callable[[bytes, bytes], Values]
"""The inverse, whichever schema wrote it."""
DecodeFrame = Callable[[bytes], Values]

_RECORDS = b"""
select id, version, prefix, data, about, owed from merged_record where data_type = %s and id = any (%s)
"""
_VIEWS = b"select id, system, version, knows, frame from system_view where data_type = %s and id = any (%s)"
_SAVE_RECORDS = b"""
insert into merged_record as old (data_type, id, version, prefix, data, about, owed, unlinked_since)
select %s, id, version, prefix, data, about::json, owed, case when unlinked then now() end
from unnest(%s::text[], %s::bigint[], %s::bytea[], %s::bytea[], %s::text[], %s::boolean[], %s::boolean[])
    as given (id, version, prefix, data, about, owed, unlinked)
on conflict (data_type, id) do update set
    version = excluded.version, prefix = excluded.prefix, data = excluded.data, about = excluded.about,
    owed = excluded.owed,
    unlinked_since = case when excluded.unlinked_since is not null then coalesce(old.unlinked_since, now()) end
"""
_SAVE_VIEWS = b"""
insert into system_view (data_type, id, system, version, knows, frame)
select %s, * from unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bytea[])
on conflict (data_type, id, system) do update set
    version = excluded.version, knows = excluded.knows, frame = excluded.frame
"""
_SHOWN = b"""
(select distinct id from system_view where data_type = %(data_type)s and id > %(after)s order by id limit %(most)s)
union
(
    select id from merged_record where data_type = %(data_type)s and id > %(after)s and data is not null
    order by id limit %(most)s
)
order by id limit %(most)s
"""
_SHOWN_BY = b"""
select distinct id from system_view where data_type = %(data_type)s and id > %(after)s and system = any (%(systems)s)
order by id limit %(most)s
"""
_JOINED = b"select generation, systems from joined_type where data_type = %s for share"

SHOWN = object()
"""In place of a held value: what the system shows."""


@dataclass(slots=True)
class StoredRecord:
    """A record with the frames of what its systems show: those go back as they came."""

    record: MergedRecord
    frames: dict[str, bytes | None]


class MergeStore:
    """One data type's merged records. TransientError without the database."""

    def __init__(self, state: State, data_type: str, encode: Encode, decode: Decode, decode_frame: DecodeFrame) -> None:
        self._state, self._data_type = state, data_type
        self.encode, self._decode, self._decode_frame = encode, decode, decode_frame
        self.accepted: Joined | None = None
        """What must still be accepted when something is saved; None: nothing is saved."""

    def load(self, ids: Iterable[bytes]) -> dict[bytes, StoredRecord]:
        """These records, new ones where there are none yet."""
        wanted = list(dict.fromkeys(ids))
        given = self._data_type, [id.decode() for id in wanted]
        found = {id: StoredRecord(MergedRecord(id), {}) for id in wanted}
        for id, version, prefix, data, about, owed in self._state.run(_RECORDS, given):
            one = found[str(id).encode()].record
            one.version, one.is_owed = cast("int", version), bool(owed)
            one.values = None if data is None else self._decode(cast("bytes", prefix), cast("bytes", data))
            told = cast("Mapping[str, object]", about)
            origins = cast("Mapping[str, tuple[str, int, int]]", told["origins"])
            one.origins = {name: Origin(*each) for name, each in origins.items()}
            for name, system, at, *kept in cast("Sequence[Sequence[object]]", told["held"]):
                one.held[str(name), str(system)] = Held(self._kept(str(name), kept), None, cast("int", at))
        for id, system, version, knows, frame in self._state.run(_VIEWS, given):
            stored = found[str(id).encode()]
            raw = None if frame is None else bytes(cast("bytes", frame))
            values = None if raw is None else self._decode_frame(raw)
            stored.frames[str(system)] = raw
            stored.record.views[str(system)] = View(cast("int", version), values, cast("int", knows))
        for stored in found.values():
            one = stored.record
            for (name, system), held_one in one.held.items():
                if held_one.theirs is not SHOWN:
                    continue
                view = one.views.get(system)
                theirs = (view.values or {}).get(name) if view is not None else UNREADABLE
                one.held[name, system] = held_one._replace(theirs=theirs)
        return found

    def _kept(self, name: str, kept: Sequence[object]) -> object:
        """A held value as it was saved; SHOWN: as the system shows it, where an earlier release saved it."""
        if not kept:
            return SHOWN
        prefix, data = (b64decode(str(one)) for one in kept)
        return self._decode(prefix, data).get(name, UNREADABLE) if prefix else UNREADABLE

    def _held(self, record: MergedRecord) -> list[list[object]]:
        """With their values: what the system shows may be another by the time they are decided."""
        found: list[list[object]] = []
        for (name, system), one in record.held.items():
            saved: tuple[bytes, ...] = (b"", b"") if name else ()
            if name and one.theirs is not UNREADABLE:
                with suppress(ValueError, TypeError):  # a system may show what the field can't have
                    saved = self.encode({**cast("Values", record.values), name: one.theirs})
            found.append([name, system, one.at, *(b64encode(part).decode() for part in saved)])
        return found

    def save(self, stored: Sequence[StoredRecord]) -> None:
        """Writes them in one transaction."""
        rows: list[tuple[object, ...]] = []
        for each in stored:
            one = each.record
            prefix = data = None
            if one.values is not None:
                prefix, data = self.encode(one.values)
            about = {"origins": one.origins, "held": self._held(one)}
            rows.append((one.id.decode(), one.version, prefix, data, json.dumps(about), one.is_owed, one.is_unlinked))
        with self._saving() as connection:
            if rows:
                connection.execute(_SAVE_RECORDS, (self._data_type, *map(list, zip(*rows, strict=True))))
            _save_views(connection, self._data_type, stored)

    def save_views(self, stored: Sequence[StoredRecord]) -> None:
        """Writes what their systems show, and nothing else."""
        with self._saving() as connection:
            _save_views(connection, self._data_type, stored)

    @contextmanager
    def _saving(self) -> Iterator[Connection]:
        """A transaction in which nobody joins again: what was loaded before that must not be written after it."""
        with self._state.connection() as connection:
            found = connection.execute(_JOINED, (self._data_type,)).fetchone()
            if found is None or joined_of(found) != self.accepted:
                raise TransientError(f"the systems of {self._data_type} were joined again", retry_after=0.0)
            yield connection

    def shown(self, after: str, most: int, systems: Collection[str] | None = None) -> list[bytes]:
        """The ids of records that these systems show or have shown, those after `after` in their order.

        None: any system, or that there are though none shows them.
        """
        given = {"data_type": self._data_type, "after": after, "most": most, "systems": list(systems or ())}
        rows = self._state.run(_SHOWN_BY if systems is not None else _SHOWN, given)
        return [str(id).encode() for (id,) in rows]

    def owed(self, after: int, most: int) -> dict[bytes, int]:
        """Records whose newest version may not be on the topic: id -> version, those after `after` in their order."""
        statement = (
            b"select id, version from merged_record where data_type = %s and owed and version > %s"
            b" order by version limit %s"
        )
        rows = self._state.run(statement, (self._data_type, after, most))
        return {str(id).encode(): cast("int", version) for id, version in rows}

    def published(self, versions: Mapping[bytes, int]) -> None:
        """These versions are on the topic."""
        self._state.run(
            b"update merged_record m set owed = false from unnest(%s::text[], %s::bigint[]) as g (id, version)"
            b" where m.data_type = %s and m.id = g.id and m.version = g.version",
            ([id.decode() for id in versions], list(versions.values()), self._data_type),
        )

    def has_published(self) -> bool:
        """Whether records are on the topic that were made of what systems showed since they were joined last."""
        rows = self._state.run(
            b"select exists (select from merged_record where data_type = %(data_type)s and not owed and version > 0)"
            b" and exists (select from system_view where data_type = %(data_type)s)",
            {"data_type": self._data_type},
        )
        return rows == [(True,)]

    def newest_version(self) -> int:
        """The highest version of any record; 0 if there is none."""
        statement = b"select coalesce(max(version), 0) from merged_record where data_type = %s"
        return cast("int", self._state.run(statement, (self._data_type,))[0][0])

    def owe_all(self, above: int) -> int:
        """Gives every record a new version above this one, to be published; returns the highest."""
        self._state.run(
            b"update merged_record m set owed = true, version = %s + n.number from (select id, row_number() over"
            b" (order by id) as number from merged_record where data_type = %s and data is not null) n"
            b" where m.data_type = %s and m.id = n.id",
            (above, self._data_type, self._data_type),
        )
        return max(above, self.newest_version())

    def unlinked(self, seconds: float, most: int) -> list[bytes]:
        """Records that the system of record hasn't shown for so long, and that weren't told of."""
        self._state.run(  # the database's clock was ahead
            b"update merged_record set unlinked_since = now() where data_type = %s"
            b" and unlinked_since > now() + interval '10 seconds' and unlinked_since <> 'infinity'",
            (self._data_type,),
        )
        rows = self._state.run(
            b"select id from merged_record where data_type = %s and unlinked_since < now() - make_interval(secs => %s)"
            b" order by unlinked_since limit %s",
            (self._data_type, seconds, most),
        )
        return [str(id).encode() for (id,) in rows]

    def told(self, ids: Iterable[bytes]) -> None:
        """These have dead letters."""
        self._state.run(
            b"update merged_record set unlinked_since = 'infinity' where data_type = %s and id = any (%s)"
            b" and unlinked_since is not null",
            (self._data_type, [id.decode() for id in ids]),
        )

    def joined(self) -> Joined:
        """What a person has accepted of how its systems' records are joined."""
        return joined(self._state, self._data_type)

    def keep_only(self, systems: Collection[str], accepted: Joined) -> Joined:
        """Forgets what other systems showed, which have left the map: one that comes back is joined like a new one."""
        left = sorted(systems)
        with self._state.connection() as connection:
            connection.execute(
                b"update joined_type set systems = %s where data_type = %s and generation = %s and systems <> %s",
                (left, self._data_type, accepted.generation, left),
            )
            connection.execute(
                b"delete from system_view v using joined_type j where j.data_type = v.data_type and v.data_type = %s"
                b" and not v.system = any (j.systems)",
                (self._data_type,),
            )
        return self.joined()


def _save_views(connection: Connection, data_type: str, stored: Sequence[StoredRecord]) -> None:
    views = [
        (each.record.id.decode(), system, view.version, view.knows, each.frames.get(system))
        for each in stored
        for system, view in each.record.views.items()
    ]
    if views:
        connection.execute(_SAVE_VIEWS, (data_type, *map(list, zip(*views, strict=True))))
