"""A MySQL producer's position, as it is stored on the bus together with the events."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Self, cast

from pydantic import JsonValue

from sorbus.connector import Position
from sorbus.producers.mysql.gtids import Gtids, gtids_of
from sorbus.producers.mysql.snapshot_point import Told

Signatures = Mapping[str, str]
"""Column -> what its values are stored as (`MysqlColumn.signature`)."""


@dataclass(frozen=True, slots=True)
class SnapshotCopy:
    """A snapshot under way: `after` is the last key that is on the bus, as texts; `version` what all its records get.

    `gtids`: what its first part saw. `sweep`: at its end, what else is on the topic is deleted.
    """

    data_type: str
    version: int
    gtids: str
    after: tuple[str, ...] | None = None
    records: int = 0
    sweep: bool = False


@dataclass(frozen=True, slots=True)
class MysqlPosition:
    """Where to continue. `gtids`: the whole transactions that were read; `before`: the same without the last of them,
    which committed at `last_at` (microseconds since 1970), to know the server's history again; `transaction`,
    `transaction_at` (0: not known) and `done`: how many row events of one that isn't whole yet are on the bus;
    `version`: the last one given; `fresh`: data type -> what its snapshot saw; `tables`: data type -> table -> its
    columns; `meaning`: data type -> a digest of its mapping.
    """

    is_mariadb: bool
    server: str
    gtids: Gtids
    version: int
    before: Gtids | None = None
    last: str = ""
    last_at: int = 0
    transaction: str = ""
    transaction_at: int = 0
    done: int = 0
    copied: tuple[str, ...] = ()
    resnapshot: tuple[str, ...] = ()
    copying: SnapshotCopy | None = None
    fresh: Mapping[str, Gtids] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Signatures]] = field(default_factory=dict)
    meaning: Mapping[str, str] = field(default_factory=dict)
    file: str = ""
    end: int = 0
    prepared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """XA transactions whose first half was read: their name -> the data types that they changed."""

    @property
    def told(self) -> Told:
        """What a snapshot has to see."""
        return Told(self.transaction or self.last, self.file, self.end)

    def committed(self, gtid: str, at: int) -> Self:
        """After a whole transaction."""
        return replace(
            self,
            gtids=self.gtids.including(gtid),
            before=self.gtids,
            last=gtid,
            last_at=at,
            transaction="",
            transaction_at=0,
            done=0,
        )

    def snapshotting(self, data_types: tuple[str, ...] | list[str]) -> Self:
        """These data types are snapshotted again."""
        wanted = [name for name in data_types if name not in self.resnapshot]
        copying = None if self.copying and self.copying.data_type in data_types else self.copying
        return replace(self, resnapshot=(*self.resnapshot, *wanted), copying=copying)

    def without_others(self, data_types: Collection[str]) -> Self:
        """Only these are captured now: what changes of others from here on is read again once they come back."""
        left = (self.copying.data_type,) if self.copying and self.copying.data_type not in data_types else ()
        return replace(
            self.snapshotting(left),
            tables={name: found for name, found in self.tables.items() if name in data_types},
            meaning={name: found for name, found in self.meaning.items() if name in data_types},
        )

    def to_position(self) -> Position:
        """As plain JSON."""
        copying = self.copying
        return {
            "kind": "mariadb" if self.is_mariadb else "mysql",
            "server": self.server,
            "gtids": str(self.gtids),
            "version": self.version,
            "before": None if self.before is None else str(self.before),
            "last": self.last,
            "last_at": self.last_at,
            "transaction": self.transaction,
            "transaction_at": self.transaction_at,
            "done": self.done,
            "copied": list(self.copied),
            "resnapshot": list(self.resnapshot),
            "copying": None
            if copying is None
            else {
                "data_type": copying.data_type,
                "version": copying.version,
                "gtids": copying.gtids,
                "after": None if copying.after is None else list(copying.after),
                "records": copying.records,
                "sweep": copying.sweep,
            },
            "fresh": {name: str(found) for name, found in self.fresh.items()},
            "tables": cast("JsonValue", {name: dict(found) for name, found in self.tables.items()}),
            "meaning": dict(self.meaning),
            "file": self.file,
            "end": self.end,
            "prepared": {name: list(found) for name, found in self.prepared.items()},
        }

    @classmethod
    def from_position(cls, stored: Position) -> Self:
        """ValueError, KeyError, TypeError where it isn't one."""
        is_mariadb = stored["kind"] == "mariadb"
        read = cast("dict[str, object]", stored)
        copying = cast("dict[str, object] | None", read.get("copying"))
        before = read.get("before")
        return cls(
            is_mariadb=is_mariadb,
            server=str(read["server"]),
            gtids=gtids_of(str(read["gtids"]), is_mariadb=is_mariadb),
            version=int(str(read["version"])),
            before=None if before is None else gtids_of(str(before), is_mariadb=is_mariadb),
            last=str(read.get("last", "")),
            last_at=int(str(read.get("last_at", 0))),
            transaction=str(read.get("transaction", "")),
            transaction_at=int(str(read.get("transaction_at", 0))),
            done=int(str(read.get("done", 0))),
            copied=tuple(cast("list[str]", read.get("copied", []))),
            resnapshot=tuple(cast("list[str]", read.get("resnapshot", []))),
            copying=None if copying is None else _copy(copying),
            fresh={
                name: gtids_of(text, is_mariadb=is_mariadb)
                for name, text in cast("dict[str, str]", read.get("fresh", {})).items()
            },
            tables=cast("dict[str, dict[str, dict[str, str]]]", read.get("tables", {})),
            meaning=cast("dict[str, str]", read.get("meaning", {})),
            file=str(read.get("file", "")),
            end=int(str(read.get("end", 0))),
            prepared={
                name: tuple(found) for name, found in cast("dict[str, list[str]]", read.get("prepared", {})).items()
            },
        )


def _copy(stored: Mapping[str, object]) -> SnapshotCopy:
    after = cast("list[str] | None", stored["after"])
    return SnapshotCopy(
        str(stored["data_type"]),
        int(str(stored["version"])),
        str(stored["gtids"]),
        None if after is None else tuple(after),
        int(str(stored["records"])),
        bool(stored["sweep"]),
    )
