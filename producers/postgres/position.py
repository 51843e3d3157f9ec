"""A PostgreSQL producer's position, as it is stored on the bus together with the events."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self, cast

from sorbus.connector import Position
from sorbus.producers.postgres.tables import TableMemory
from sorbus.snapshot_control import SnapshotAction


@dataclass(frozen=True, slots=True)
class SnapshotProgress:
    """An initial snapshot under way: the last key that is on the bus, records so far, and the version they all get.

    `snapshot`: its (first) snapshot holds every transaction that committed before this LSN. `beside`: it is read in
    chunks beside the stream, each in a snapshot of its own, unless a person has paused it (`is_paused`). `is_stale`:
    the stream has named changes since that only another snapshot can show.
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
    publication; `meaning`: data type -> a digest of what the map made of its rows; `tables`: data type -> table -> what
    the catalog said of it; `fresh`: data type -> the LSN of its last snapshot, which holds what committed before.

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
            "copying": None
            if copying is None
            else {
                "data_type": copying.data_type,
                "version": copying.version,
                "after": None if copying.after is None else list(copying.after),
                "records": copying.records,
                "sweep": copying.sweep,
                "snapshot": copying.snapshot,
                "beside": copying.beside,
                "is_paused": copying.is_paused,
                "is_stale": copying.is_stale,
            },
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
        }

    def has_published(self, data_type: str, lsn: int) -> bool:
        """Whether all of a data type that was committed before `lsn` is on the bus."""
        is_copying = self.copying is not None and self.copying.data_type == data_type
        is_copied = data_type in self.copied and data_type not in self.resnapshot and not is_copying
        return is_copied and self.lsn >= lsn

    def copying_again(self, data_types: Iterable[str]) -> Self:
        """The same, but these data types are copied anew, from their first record on."""
        again, copying = dict.fromkeys(data_types), self.copying
        begun = {*self.copied, *([copying.data_type] if copying is not None else ())}
        if copying is not None and copying.data_type in again:
            copying = None
        due = (name for name in again if name in begun)
        resnapshot = tuple(dict.fromkeys((*self.resnapshot, *due)))
        return replace(self, resnapshot=resnapshot, copying=copying, asked=self._asked_but(again))

    def untold(self, data_types: Collection[str]) -> Self:
        """The same after the stream has named changes of these that only a snapshot can show.

        One under way is finished first: what it has read already may be what has changed.
        """
        copying, resnapshot = self.copying, tuple(dict.fromkeys((*self.resnapshot, *data_types)))
        if copying is not None and copying.data_type in data_types:
            copying = replace(copying, is_stale=True)
        return replace(self, resnapshot=resnapshot, copying=copying, asked=self._asked_but(data_types))

    def finished(self, progress: SnapshotProgress) -> Self:
        """The same after a snapshot beside the stream; one that is stale is due again."""
        name = progress.data_type
        left = tuple(each for each in self.resnapshot if each != name)
        return replace(
            self,
            copying=None,
            copied=tuple(dict.fromkeys((*self.copied, name))),
            resnapshot=(*left, name) if progress.is_stale else left,
            asked=self._asked_but((name,)),
        )

    def _asked_but(self, data_types: Collection[str]) -> tuple[str, ...]:
        return tuple(name for name in self.asked if name not in data_types)

    def controlled(self, data_type: str, action: SnapshotAction) -> Self:
        """The same after a person's request about a data type's snapshot beside the stream."""
        copying = self.copying if self.copying is not None and self.copying.data_type == data_type else None
        if action == "start" and data_type not in self.resnapshot:
            made = self.copying_again([data_type])
            return replace(made, asked=(*made.asked, data_type)) if data_type in made.resnapshot else made
        if action == "cancel" and data_type in self.asked:  # every other snapshot is needed for what it will show
            left = tuple(name for name in self.resnapshot if name != data_type)
            copying = None if copying is not None else self.copying
            return replace(self, resnapshot=left, copying=copying, asked=self._asked_but((data_type,)))
        if copying is not None and copying.beside and action in ("pause", "resume"):
            return replace(self, copying=replace(copying, is_paused=action == "pause"))
        return self

    def copying_all(self) -> Self:
        """The same, but all data types are copied anew."""
        begun = () if self.copying is None else (self.copying.data_type,)
        resnapshot = tuple(dict.fromkeys((*self.copied, *self.resnapshot, *begun)))
        return replace(self, resnapshot=resnapshot, copying=None, asked=())

    def above(self, floors: Mapping[str, int]) -> Self:
        """The same, but these data types are copied and swept, with versions above what their topics have held.

        One that joins with a topic that never held anything has nothing to sweep: that would be to read it once more.
        """
        copying = None if self.copying is not None and self.copying.data_type in floors else self.copying
        version = max(self.version, *floors.values(), 0)
        swept = [name for name, floor in floors.items() if floor or name in self.copied]
        return replace(
            self,
            version=version,
            resnapshot=tuple(dict.fromkeys((*self.resnapshot, *swept))),
            copying=copying,
            asked=self._asked_but(floors),
        )

    @classmethod
    def from_position(cls, position: Position) -> Self:
        """From plain JSON, as `to_position` wrote it."""
        read = cast("dict[str, object]", position)
        copying = cast("dict[str, object] | None", read.get("copying"))
        made = cls(
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
        )
        if copying is None:
            return made
        after = cast("list[str | None] | None", copying["after"])
        return replace(
            made,
            copying=SnapshotProgress(
                str(copying["data_type"]),
                int(str(copying["version"])),
                None if after is None else tuple(after),
                int(str(copying["records"])),
                bool(copying["sweep"]),
                int(str(copying.get("snapshot", 0))),
                bool(copying.get("beside", False)),
                bool(copying.get("is_paused", False)),
                bool(copying.get("is_stale", False)),
            ),
        )
