"""What the catalog says of the captured tables, and what has become of their rows without the stream saying so.

The server streams inserts, updates, deletes and truncates. It says nothing when it rewrites rows (ALTER TABLE ... TYPE
... USING, ADD COLUMN ... DEFAULT, RENAME VALUE of an enumerated type), when a partition comes or goes with its rows,
when a single partition is truncated, or when another table takes the name. So what the catalog said of the tables is
part of the position, and where it says otherwise, that data type is copied again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib.resources import files
from typing import NamedTuple, Self, cast

from psycopg import sql
from psycopg.errors import QueryCanceled
from pydantic import JsonValue

from sorbus.postgres.connection import Connection

_TABLES = (files("sorbus.producers.postgres") / "tables.sql").read_text()
_COLUMNS = (files("sorbus.producers.postgres") / "columns.sql").read_text()
_LONGEST_SEARCH = 5_000
"""Milliseconds; then the table is copied again, which takes longer but waits for nothing."""
_PARTITIONED = "p/"
"""Marks a partition that has partitions of its own: it has no file."""
_CLEARED = "m"
"""Marks a column of which old rows take their value from the catalog, until the table is rewritten."""


class Member(NamedTuple):
    """A relation whose rows a table shows: the table itself (`via` ""), a partition, or a table that inherits from it.

    `identity`: d, i, f or n, with the columns that old rows carry; `link`: another text after detaching and attaching;
    `above`: the oids of those between it and the table; `has_heirs`: tables inherit from it; `computed`: a digest of
    its generation expressions.
    """

    oid: int
    name: str
    kind: str
    persistence: str
    via: str
    is_partition: bool
    filenode: int
    catalog_row: str
    link: str
    made_with_link: bool
    above: tuple[int, ...]
    identity: str
    identity_columns: tuple[str, ...]
    is_readable: bool
    has_heirs: bool
    computed: str = ""

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(*self.name.split(".", 1))

    @property
    def has_rows(self) -> bool:
        """Whether it keeps rows of its own; a partitioned table's are its partitions'."""
        return self.kind != "p"

    def carries(self, columns: Collection[str]) -> bool:
        """Whether the old row of an update or a delete has these columns."""
        return self.identity == "f" or set(columns) <= set(self.identity_columns)


class _Column(NamedTuple):
    """`layout`: place, type and what the server computes; `catalog_row`: another text when its row was written anew."""

    layout: str
    catalog_row: str
    labels: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class TableState:
    """A table as the catalog has it: its members by oid, itself among them, and its columns."""

    name: str
    members: Mapping[int, Member]
    columns: Mapping[str, _Column]

    @property
    def root(self) -> Member:
        return next(member for member in self.members.values() if not member.via)

    @property
    def inheriting(self) -> list[Member]:
        """The tables that inherit from it: they stream under their own names."""
        return [member for member in self.members.values() if member.via == "inherits"]

    def memory(self, columns: Collection[str]) -> TableMemory:
        """What to remember of it for a data type that reads `columns`."""
        read = {name: column for name, column in self.columns.items() if name in columns}
        return TableMemory(
            self.root.oid,
            {str(member.oid): _remembered(member) for member in self.members.values() if member.has_rows or member.via},
            {name: f"{column.layout}/{column.catalog_row}" for name, column in read.items()},
            {type: _labels(found) for column in read.values() for type, found in column.labels.items()},
        )


@dataclass(frozen=True, slots=True)
class TableMemory:
    """What a position remembers of a table: its oid, members, the columns that are read, and labels of their types.

    `attached`: the oids of partitions that were tables of their own before, each with the LSN where the stream is past
    that, and the (32-bit) xids that made it a partition.
    """

    oid: int
    members: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    attached: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def to_json(self) -> dict[str, JsonValue]:
        return {
            "oid": self.oid,
            "members": dict(self.members),
            "columns": dict(self.columns),
            "labels": dict(self.labels),
            "attached": {oid: list(found) for oid, found in self.attached.items()},
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, object]) -> Self:
        members, columns, labels = (cast("dict[str, str]", stored[key]) for key in ("members", "columns", "labels"))
        attached = cast("dict[str, list[int]]", stored.get("attached", {}))
        return cls(int(str(stored["oid"])), members, columns, labels, attached)

    def had_rows_before(self, oid: int, xid: int) -> bool:
        """Whether a transaction that wrote to a partition began before it was made one, this time."""
        return any(_is_older(xid, link) for link in self.attached.get(str(oid), ())[1:])


def newly_attached(before: TableMemory, now: TableState, passed: int, looked_at: int) -> dict[str, Sequence[int]]:
    """See `TableMemory.attached`; `passed`: where the stream is, `looked_at`: where the log was at this look."""
    found = {oid: each for oid, each in before.attached.items() if each[0] > passed and int(oid) in now.members}
    for member in now.members.values():
        is_new = member.via == "partition" and member.has_rows and str(member.oid) not in before.members
        if is_new and not _is_made_here(before, now, member):
            chain = [member, *(now.members[oid] for oid in member.above)]
            links = [int(xid) for each in chain if not each.made_with_link for xid in each.link.split("+") if xid]
            found[str(member.oid)] = [looked_at, *links]
    return found


def _is_older(xid: int, other: int) -> bool:
    return (xid - other) & 0xFFFFFFFF >= 1 << 31


def read_tables(connection: Connection, names: Collection[str]) -> dict[str, TableState]:
    """The tables called SCHEMA.NAME; those that aren't there are left out."""
    members: dict[str, dict[int, Member]] = {}
    for name, *values in connection.execute(_TABLES, {"names": sorted(names)}).fetchall():
        member = Member(*values)  # type: ignore[arg-type]
        member = member._replace(above=tuple(member.above), identity_columns=tuple(member.identity_columns))
        members.setdefault(str(name), {})[member.oid] = member
    roots = {oid: name for name, found in members.items() for oid, member in found.items() if not member.via}
    columns: dict[str, dict[str, _Column]] = {name: {} for name in members}
    for oid, column, layout, row, is_missing, labels in connection.execute(_COLUMNS, {"oids": list(roots)}).fetchall():
        catalog_row = f"{row}{_CLEARED if is_missing else ''}"
        found = _Column(str(layout), catalog_row, cast("dict[str, list[str]]", labels))
        columns[roots[int(str(oid))]][str(column)] = found
    return {name: TableState(name, found, columns[name]) for name, found in members.items()}


def untold(
    connection: Connection, before: TableMemory, now: TableState, columns: Collection[str], *, is_named: bool
) -> str | None:
    """Why the rows of a table may not be what the stream has said of them since `before`; None where they are.

    `columns`: those that are read. `is_named`: the publication names the table; then it can't become unlogged unseen.
    """
    return next(_differences(connection, before, now, columns, is_named), None)


def _differences(
    connection: Connection, before: TableMemory, now: TableState, columns: Collection[str], is_named: bool
) -> Iterator[str]:
    if before.oid != now.root.oid:
        yield f"{now.name} was replaced by another table of that name"
    memory = now.memory(columns)
    for name in columns & now.columns.keys():
        layout, was = now.columns[name].layout, before.columns.get(name)
        if was is None:
            yield f"{now.name} has a new column {name}"
        elif was.partition("/")[0] != layout:
            yield f"column {name} of {now.name} was recreated, or has another type"
    for type, labels in before.labels.items():
        count = int(labels.partition(":")[0])
        for name, column in now.columns.items():
            known, added = column.labels.get(type, ())[:count], column.labels.get(type, ())[count:]
            if type in column.labels and _labels(known) != labels:
                yield f"a value of an enumerated type in {now.name} was renamed"
            elif added and name in columns and _has_any(connection, now, name, added):
                yield f"{name} of {now.name} has a new value of its enumerated type, perhaps told by a former name"
    with_rows = {oid for oid, text in before.members.items() if not text.startswith(_PARTITIONED)}
    if gone := with_rows - memory.members.keys():
        yield f"{now.name} has lost {len(gone)} of its partitions (or of the tables that inherit from it)"
    touched = any(_is_touched(before.columns.get(name, ""), text) for name, text in memory.columns.items())
    for member in now.members.values():
        was = before.members.get(str(member.oid))
        if not member.has_rows and (was is None or not member.via):
            continue
        if was is None:
            made_here = _is_made_here(before, now, member)
            if made_here and member.filenode != member.oid:
                yield f"the new partition {member.name} was truncated or rewritten, or was unlogged"
            elif _brought_rows(connection, now, member, made_here=made_here):
                yield f"{member.name} came to {now.name} with rows"
        elif "#" in was and was.partition("#")[2] != member.computed:
            yield f"what the server computes in {member.name} is another thing"
        elif was.partition("#")[0].partition("/")[2] != _remembered(member).partition("#")[0].partition("/")[2]:
            yield f"{member.name} left {now.name} and came back, or its replica identity was changed"
        elif was.partition("/")[0] != _remembered(member).partition("/")[0]:
            if member.via == "partition":
                yield f"the partition {member.name} was truncated or rewritten"
            elif touched or not is_named:
                yield f"the rows of {member.name} were rewritten"


def _remembered(member: Member) -> str:
    """Where its rows are, and since when it belongs to the table (of a partition: with this replica identity)."""
    if not member.via:
        return f"{member.filenode}/"
    if not member.has_rows:
        return f"{_PARTITIONED}{member.link}"
    identity = f"/{member.catalog_row}" if member.identity in "fi" else ""
    return f"{member.filenode}/{member.link}{identity}" + (f"#{member.computed}" if member.via == "inherits" else "")


def _is_touched(before: str, now: str) -> bool:
    """Whether a column's row of the catalog was written anew, other than by a rewrite that kept all values."""
    return before not in ("", now) and not (before.endswith(_CLEARED) and not now.endswith(_CLEARED))


def _has_any(connection: Connection, table: TableState, column: str, labels: Sequence[str]) -> bool:
    """Whether a row has one of these labels, alone or in an array or a composite value."""
    some = sql.SQL("exists (select from unnest({}::text[]) l where position(l in {}::text) > 0)")
    where = some.format(sql.Literal(list(labels)), sql.Identifier(column))
    return _finds_row(connection, sql.SQL("{} where {}").format(table.root.identifier, where))


def _is_made_here(before: TableMemory, table: TableState, member: Member) -> bool:
    """Whether a new member has been a partition of the table ever since it was made."""
    return (
        member.via == "partition"
        and member.made_with_link
        and all(
            each.made_with_link or before.members.get(str(each.oid)) == _remembered(each)
            for each in (table.members[oid] for oid in member.above)
        )
    )


def _brought_rows(connection: Connection, table: TableState, member: Member, *, made_here: bool) -> bool:
    """Whether a new member may have rows from before it belonged to the table; those since then were streamed."""
    where = sql.SQL("true")
    if made_here:  # it may have been filled and then attached in one transaction
        where = sql.SQL("xmin = {}::xid").format(sql.Literal(member.link))  # type: ignore[assignment]
    if member.is_readable:
        return _finds_row(connection, sql.SQL("only {} where {}").format(member.identifier, where))
    of_it = sql.SQL("{} where tableoid = {} and {}").format(table.root.identifier, sql.Literal(member.oid), where)
    return _finds_row(connection, of_it)


def _finds_row(connection: Connection, which: sql.Composed) -> bool:
    """Whether there is a row, or may be one: the stream waits for the answer, so the search has an end."""
    try:
        with connection.transaction():
            connection.execute(sql.SQL("set local statement_timeout = {}").format(_LONGEST_SEARCH))
            row = connection.execute(sql.SQL("select exists (select from {})").format(which)).fetchone()
    except QueryCanceled:
        return True
    return row is None or bool(row[0])


def _labels(labels: Sequence[str]) -> str:
    """How many labels there are, and a digest of them: new ones come after these."""
    return f"{len(labels)}:{blake2b(chr(1).join(labels).encode(), digest_size=8).hexdigest()}"
