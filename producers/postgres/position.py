"""A PostgreSQL producer's position, as it is stored on the bus together with the events."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import NamedTuple, Self, cast

from pydantic import JsonValue

from sorbus.connector import Position
from sorbus.producers.postgres.tables import TableMemory
from sorbus.snapshot_control import SnapshotAction


@dataclass(frozen=True, slots=True)
class SnapshotProgress:
    """An initial snapshot under way: the last key that is on the bus, records so far, and the version they all get.

    `snapshot`: its (first) snapshot holds every transaction that committed before this LSN. `beside`: it is read in
    chunks beside the stream, each in a snapshot of its own, unless a person has paused it (`is_paused`). `is_stale`:
    the stream has named changes since that only another snapshot can show. `where`: only records that fit this
    condition are published: `left_out` don't, and of those `undecided` it gives an error (`example`: the first one).
    `expected`: about how many records there are, `rate`: how many a second. Version 0: it has not begun.
    """

    data_type: str
    version: int
    after: tuple[str | None, ...] | None = None
    records: int = 0
    sweep: bool = False
    snapshot: int = 0
    beside: bool = False
    is_paused: bool = False
    is_stale: bool = False
    where: str = ""
    left_out: int = 0
    undecided: int = 0
    example: str = ""
    expected: int = 0
    rate: float = 0.0

    def to_json(self) -> dict[str, JsonValue]:
        """As `from_json` reads it."""
        return {**asdict(self), "after": None if self.after is None else list(self.after)}

    @classmethod
    def from_json(cls, found: Mapping[str, object]) -> Self:
        """Of any release: fields that it lacks have their defaults."""
        known = {name: found[name] for name in cls.__dataclass_fields__ if name in found}
        after = cast("list[str | None] | None", known.pop("after", None))
        return cls(**known, after=None if after is None else tuple(after))  # type: ignore[arg-type]


class CommitSeen(NamedTuple):
    """A transaction that came by the stream: where it ends, its time (microseconds since 1970), its xid."""

    end: int
    committed_at: int
    xid: int


@dataclass(frozen=True, slots=True)
class PostgresPosition:
    """Where to go on. `lsn`: the end of the last whole transaction; `transaction` and `done`: how many of the next
    one's rows (it commits at that LSN) are on the bus already; `version`: the last one given; `copied`: data types
    whose snapshot is complete; `server`: the cluster's system identifier and the database; `named`: data type ->
    part -> columns that fill the fields which no row of the map is about; `published`: table -> its membership in the
    publication; `meaning`: data type -> a digest of what the map made of its rows, "" for one that has left the map;
    `tables`: data type -> table -> what the catalog said of it; `fresh`: data type -> the LSN of its last snapshot,
    which holds what committed before.

    To know the server again: `timeline` and `database` (its oid) that the position was read from, `commit`: the last
    one that came, `confirmed`: what the slot was told last. 0 and None in positions of before there was such a field.
    """

    server: str
    lsn: int
    version: int
    transaction: int = 0
    done: int = 0
    copied: tuple[str, ...] = ()
    resnapshot: tuple[str, ...] = ()
    copying: SnapshotProgress | None = None
    named: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    published: Mapping[str, str] = field(default_factory=dict)
    meaning: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, TableMemory]] = field(default_factory=dict)
    fresh: Mapping[str, int] = field(default_factory=dict)
    timeline: int = 0
    database: int = 0
    commit: CommitSeen | None = None
    confirmed: int = 0
    asked: tuple[str, ...] = ()
    """Data types that are snapshotted again for no other reason than that a person has asked for it."""
    waiting: tuple[SnapshotProgress, ...] = ()
    """Snapshots beside the stream whose turn comes later: paused or resumed, or asked for with a condition."""
    ended: Mapping[str, SnapshotProgress] = field(default_factory=dict)
    """Data type -> the last snapshot that a person asked for, as it was at its end."""

    def to_position(self) -> Position:
        """As plain JSON."""
        copying = self.copying
        return {
            "server": self.server,
            "lsn": self.lsn,
            "version": self.version,
            "transaction": self.transaction,
            "done": self.done,
            "copied": list(self.copied),
            "resnapshot": list(self.resnapshot),
            "copying": None if copying is None else copying.to_json(),
            "named": {name: {part: list(found) for part, found in parts.items()} for name, parts in self.named.items()},
            "published": dict(self.published),
            "meaning": dict(self.meaning),
            "tables": {
                name: {table: memory.to_json() for table, memory in tables.items()}
                for name, tables in self.tables.items()
            },
            "fresh": dict(self.fresh),
            "timeline": self.timeline,
            "database": self.database,
            "commit": None if self.commit is None else list(self.commit),
            "confirmed": self.confirmed,
            "asked": list(self.asked),
            "waiting": [each.to_json() for each in self.waiting],
            "ended": {name: each.to_json() for name, each in self.ended.items()},
        }

    def has_published(self, data_type: str, lsn: int) -> bool:
        """Whether all of a data type that was committed before `lsn` is on the bus."""
        copying = self.copying
        is_copying = copying is not None and copying.data_type == data_type and not copying.where
        is_copied = data_type in self.copied and data_type not in self.resnapshot and not is_copying
        return is_copied and self.lsn >= lsn

    def begun(self) -> set[str]:
        """Data types that are being read, or were before a person paused it."""
        under_way = (*self.waiting, *(() if self.copying is None else (self.copying,)))
        return {each.data_type for each in under_way if each.version and not each.where}

    def turn(self, data_types: Iterable[str]) -> list[SnapshotProgress]:
        """The snapshots that are under way, due or paused, in the order in which they are read; the paused come last.

        `data_types`: all that are captured.
        """
        whole = {each.data_type for each in self.waiting if not each.where}
        if self.copying is not None:
            whole.add(self.copying.data_type if not self.copying.where else "")
        known = dict.fromkeys((*data_types, *self.resnapshot))
        new = [
            SnapshotProgress(name, 0, sweep=name in self.resnapshot, beside=True)
            for name in known
            if (name not in self.copied or name in self.resnapshot) and name not in whole
        ]
        first = () if self.copying is None else (self.copying,)
        running = (each for each in self.waiting if not each.is_paused)
        return [*first, *running, *new, *(each for each in self.waiting if each.is_paused)]

    def begin(self, due: SnapshotProgress, begun: SnapshotProgress) -> Self:
        """The same with a snapshot under way that was `due`."""
        return replace(self, copying=begun, waiting=tuple(each for each in self.waiting if each != due))

    def copying_again(self, data_types: Iterable[str]) -> Self:
        """The same, but these data types are copied anew, from their first record on, and swept.

        Also where no snapshot has begun: the stream may have told of records that are gone by now.
        """
        again = dict.fromkeys(data_types)
        resnapshot = tuple(dict.fromkeys((*self.resnapshot, *again)))
        return replace(self._without(again), resnapshot=resnapshot, asked=self._asked_but(again))

    def untold(self, data_types: Collection[str]) -> Self:
        """The same after the stream has named changes of these that only a snapshot can show.

        One under way is finished first: what it has read already may be what has changed.
        """

        def stale(each: SnapshotProgress) -> SnapshotProgress:
            is_about = each.data_type in data_types and each.version and not each.where
            return replace(each, is_stale=True) if is_about else each

        return replace(
            self,
            resnapshot=tuple(dict.fromkeys((*self.resnapshot, *data_types))),
            copying=None if self.copying is None else stale(self.copying),
            waiting=tuple(stale(each) for each in self.waiting),
            asked=self._asked_but(data_types),
        )

    def new_among(self, data_types: Iterable[str]) -> set[str]:
        """Those of which no snapshot has begun yet, and whose topics hold nothing."""
        return set(data_types) - {*self.copied, *self.resnapshot} - self.begun()

    def told(self, new: Collection[str]) -> Self:
        """The same after the stream has named records of `new` data types: their snapshots have to delete those that
        are gone by then without a word.
        """
        return replace(self, resnapshot=(*self.resnapshot, *sorted(new))) if new else self

    def finished(self, progress: SnapshotProgress) -> Self:
        """The same after a snapshot beside the stream; one that is stale is due again."""
        name = progress.data_type
        is_told = progress.where or name in self.asked
        made = replace(self, copying=None, ended={**self.ended, name: progress} if is_told else self.ended)
        if progress.where:
            return made
        left = tuple(each for each in self.resnapshot if each != name)
        return replace(
            made,
            copied=tuple(dict.fromkeys((*self.copied, name))),
            resnapshot=(*left, name) if progress.is_stale else left,
            asked=self._asked_but((name,)),
        )

    def controlled(self, data_type: str, action: SnapshotAction, where: str = "") -> Self:
        """The same after a person's request about a data type's snapshots beside the stream."""
        if action == "start":
            return self._asked_for(data_type, where)
        if action == "cancel":
            return self._cancelled(data_type)
        is_paused, copying, waiting = action == "pause", self.copying, list(self.waiting)
        if is_paused:
            for each in self.turn((data_type,)):
                if each.data_type == data_type and each not in waiting and each.beside:
                    waiting.append(each)
            copying = None if copying in waiting else copying
        changed = (replace(one, is_paused=is_paused) if one.data_type == data_type else one for one in waiting)
        return replace(self, copying=copying, waiting=tuple(changed))

    def _asked_for(self, data_type: str, where: str) -> Self:
        if where:
            asked = SnapshotProgress(data_type, 0, beside=True, where=where)
            is_known = any((one.data_type, one.where) == (data_type, where) for one in self.turn(()))
            return self if is_known else replace(self, waiting=(*self.waiting, asked))
        if data_type in self.resnapshot or data_type not in {*self.copied, *self.begun()}:
            return self  # it is due anyway
        made = self.copying_again([data_type])
        return replace(made, asked=(*made.asked, data_type))

    def _cancelled(self, data_type: str) -> Self:
        """Without what a person has asked for; every other snapshot is needed for what it will show."""
        is_asked = data_type in self.asked
        left = self._without((data_type,), but_whole=not is_asked)
        if not is_asked:
            return left
        resnapshot = tuple(name for name in self.resnapshot if name != data_type)
        return replace(left, resnapshot=resnapshot, asked=self._asked_but((data_type,)))

    def _without(self, data_types: Collection[str], *, but_whole: bool = False) -> Self:
        """Without the snapshots of these that are under way or wait; `but_whole`: only those with a condition."""

        def is_kept(one: SnapshotProgress) -> bool:
            return one.data_type not in data_types or (but_whole and not one.where)

        copying = self.copying if self.copying is not None and is_kept(self.copying) else None
        return replace(self, copying=copying, waiting=tuple(one for one in self.waiting if is_kept(one)))

    def _asked_but(self, data_types: Collection[str]) -> tuple[str, ...]:
        return tuple(name for name in self.asked if name not in data_types)

    def mapped(self, meaning: Mapping[str, str]) -> Self:
        """The same with what the map makes of each data type now, and no snapshot of those that have left it.

        What is known of them is kept: when they come back, their topics may hold records that are gone by then.
        """
        under_way = (*self.waiting, *(() if self.copying is None else (self.copying,)))
        return replace(
            self._without({one.data_type for one in under_way} - meaning.keys()),
            meaning={**dict.fromkeys(self.meaning, ""), **meaning},
            resnapshot=tuple(name for name in self.resnapshot if name in meaning),
            asked=tuple(name for name in self.asked if name in meaning),
        )

    def copying_all(self) -> Self:
        """The same, but all data types are copied anew."""
        resnapshot = tuple(dict.fromkeys((*self.copied, *self.resnapshot, *sorted(self.begun()), *self.meaning)))
        return replace(self, resnapshot=resnapshot, copying=None, waiting=(), asked=())

    def above(self, floors: Mapping[str, int]) -> Self:
        """The same, but these data types are copied and swept, with versions above what their topics have held.

        One that joins with a topic that never held anything has nothing to sweep: that would be to read it once more.
        """
        version = max(self.version, *floors.values(), 0)
        swept = [name for name, floor in floors.items() if floor or name in self.copied]
        return replace(
            self._without(floors),
            version=version,
            resnapshot=tuple(dict.fromkeys((*self.resnapshot, *swept))),
            asked=self._asked_but(floors),
        )

    @classmethod
    def from_position(cls, position: Position) -> Self:
        """From plain JSON, as `to_position` wrote it."""
        read = cast("dict[str, object]", position)
        under_way = cast("dict[str, object] | None", read.get("copying"))
        copying = None if under_way is None else SnapshotProgress.from_json(under_way)
        waiting = [SnapshotProgress.from_json(one) for one in cast("list[dict[str, object]]", read.get("waiting", []))]
        if copying is not None and copying.is_paused:  # positions of before other snapshots could be read meanwhile
            waiting, copying = [copying, *waiting], None
        ended = cast("dict[str, dict[str, object]]", read.get("ended", {}))
        return cls(
            server=str(read["server"]),
            lsn=int(str(read["lsn"])),
            version=int(str(read["version"])),
            transaction=int(str(read.get("transaction", 0))),
            done=int(str(read.get("done", 0))),
            copied=tuple(cast("list[str]", read.get("copied", []))),
            resnapshot=tuple(cast("list[str]", read.get("resnapshot", read.get("recopy", [])))),
            named=cast("dict[str, dict[str, list[str]]]", read.get("named", {})),
            published=cast("dict[str, str]", read.get("published", {})),
            meaning=cast("dict[str, str]", read.get("meaning", {})),
            tables={
                name: {table: TableMemory.from_json(memory) for table, memory in tables.items()}
                for name, tables in cast("dict[str, dict[str, dict[str, object]]]", read.get("tables", {})).items()
            },
            fresh=cast("dict[str, int]", read.get("fresh", {})),
            timeline=int(str(read.get("timeline", 0))),
            database=int(str(read.get("database", 0))),
            commit=CommitSeen(*cast("list[int]", read["commit"])) if read.get("commit") else None,
            confirmed=int(str(read.get("confirmed", 0))),
            asked=tuple(cast("list[str]", read.get("asked", []))),
            copying=copying,
            waiting=tuple(waiting),
            ended={name: SnapshotProgress.from_json(one) for name, one in ended.items()},
        )
