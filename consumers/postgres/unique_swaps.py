"""Unique values that move between records: their old holders are parked on placeholders, then all are written.

PostgreSQL checks a unique index or an exclusion constraint row by row, so no order of updates lets two records swap
their values. Within one transaction the rows that are about to lose a value get a placeholder first: null where the
column takes it, else a value nobody has. Only columns that the flow writes afterwards are parked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import NamedTuple, cast

from psycopg import sql

from sorbus.consumers.postgres.merge import ID, VERSION, Merge
from sorbus.consumers.postgres.staged_values import value_of
from sorbus.consumers.postgres.tables import VERSION_COLUMN
from sorbus.postgres.catalog import Column, Table
from sorbus.postgres.connection import Connection

_UNIQUE = (files("sorbus.consumers.postgres") / "unique.sql").read_text()


class UniqueIndex(NamedTuple):
    """A unique index or exclusion constraint: the table's columns that it is about, and which of them take a null that
    collides with nothing. `direct`: those that it holds as they are, not by way of an expression.
    """

    columns: tuple[str, ...]
    direct: frozenset[str]
    nullable: frozenset[str]


def read_unique(session: Connection, table: Table, key: str) -> list[UniqueIndex]:
    """The table's unique indexes and exclusion constraints but for that on its key alone."""
    rows = session.execute(_UNIQUE, {"table": table.oid}).fetchall()
    found = []
    for columns, direct, never_null, nulls_collide in cast("list[tuple[list[str], list[str], list[str], bool]]", rows):
        nullable = frozenset() if nulls_collide else frozenset(direct) - frozenset(never_null)
        found.append(UniqueIndex(tuple(columns), frozenset(direct), nullable))
    return [index for index in found if index.columns != (key,)]


def create_parked() -> list[sql.SQL]:
    """The temporary tables of parked rows and of records that must not be parked."""
    return [
        sql.SQL("create temporary table sorbus_parked (id text, part oid, place tid) on commit delete rows"),
        sql.SQL("create temporary table sorbus_spared (id text primary key) on commit delete rows"),
    ]


def park(merge: Merge, table: Table, indexes: Sequence[UniqueIndex], again: bool) -> sql.Composed | None:
    """Parks the staged records' rows whose unique values change; None where there is nothing that can be parked.

    Under the version guard, as the upsert that follows; other writers must be locked out until the commit.
    """
    written = {column.name: column for column in merge.columns}
    sets: dict[str, sql.Composable] = {}
    for index in indexes:
        ours = [name for name in index.columns if name in written]
        if not sets.keys() & set(ours):
            sets |= _choice(ours, index, table.columns)
    changed = sorted({name for index in indexes for name in index.columns if name in written})
    if not sets:
        return None
    guard = sql.SQL(
        "not exists (select 1 from {} a where a.relation = {} and a.id = s.{} and a.version {} s.{})"
    ).format(
        merge.applied,
        sql.Literal(merge.relation),
        sql.Identifier(ID),
        sql.SQL(">" if again else ">="),
        sql.Identifier(VERSION),
    )
    if merge.own_version:
        mine, theirs = sql.Identifier("t", VERSION_COLUMN), sql.Identifier("s", VERSION)
        guard = sql.SQL("{} {} {} and {}").format(mine, sql.SQL("<=" if again else "<"), theirs, guard)
    return sql.SQL(
        "with p as (update {table} t set {sets} from {stage} s where t.{key} = s.{id}::{type} and ({changed})"
        " and {guard} and not exists (select from sorbus_spared n where n.id = s.{id})"
        " returning s.{id}, t.tableoid, t.ctid) insert into sorbus_parked select * from p"
    ).format(
        table=merge.table,
        sets=sql.SQL(", ").join(sql.SQL("{} = {}").format(sql.Identifier(name), v) for name, v in sets.items()),
        stage=sql.Identifier(merge.stage),
        key=sql.Identifier(merge.key),
        id=sql.Identifier(ID),
        type=sql.SQL(merge.key_type),
        changed=sql.SQL(" or ").join(
            sql.SQL("t.{}::text is distinct from ({})::{}::text").format(
                sql.Identifier(name), value_of("s", written[name]), sql.SQL(table.columns[name].native)
            )
            for name in changed
        ),
        guard=guard,
    )


def still_parked(table: sql.Identifier) -> sql.Composed:
    """The records whose rows nothing has written since they were parked: a trigger of the owner skipped the write."""
    return sql.SQL("select p.id from sorbus_parked p join {} t on t.ctid = p.place and t.tableoid = p.part").format(
        table
    )


def _choice(names: Sequence[str], index: UniqueIndex, columns: Mapping[str, Column]) -> dict[str, sql.Composable]:
    """The columns of an index that are easiest to park, and their placeholders; empty when there are none.

    Of an expression all are parked, with one value of each type: a range between two of them is empty then.
    """
    for name in names:
        if name in index.nullable:
            return {name: sql.SQL("null")}
    made = {name: found for name in names if (found := _placeholder(columns[name]))}
    for name, found in made.items():
        if name in index.direct:
            return {name: found}
    return dict(made)


_SEED = "(abs(hashtext(t.ctid::text || t.tableoid::text)::bigint) / 2147483648.0)"
"""From 0 to 1, another one for each row."""
_PLACEHOLDERS: Mapping[int, str] = {
    17: "decode(md5({seed}::text), 'hex')",
    20: "-9000000000000000000 + floor({seed} * 1000000000000000)::bigint",
    21: "-32768 + floor({seed} * 20000)::int",
    23: "-2147483648 + floor({seed} * 1000000000)::bigint",
    700: "-{seed} * 1e30",
    701: "-{seed} * 1e300",
    1082: "date '0001-01-01' + floor({seed} * 300000)::int",
    1114: "timestamp '0001-01-01' + {seed} * interval '900 years'",
    1184: "timestamptz '0001-01-01' + {seed} * interval '900 years'",
    2950: "md5({seed}::text)",
}
_TEXTS = frozenset({25, 1042, 1043})
_LIMITS = re.compile(r"\d+(?=[,)])")


def _placeholder(column: Column) -> sql.Composable | None:
    """An expression that gives a value that no row has; None for types that have none."""
    limits = [int(number) for number in _LIMITS.findall(column.native)]
    if column.base in _PLACEHOLDERS:
        text = _PLACEHOLDERS[column.base]
    elif column.base == 1700:
        text = f"-floor({{seed}} * 1e{min(limits[0] - sum(limits[1:]), 15) if limits else 15})"
    elif column.base in _TEXTS or column.category == "S":
        text = f"left('~' || md5({{seed}}::text), {limits[0] if limits else 33})"
    elif column.category == "R":
        text = "'empty'"
    else:
        return None
    return sql.SQL("({})::{}").format(sql.SQL(text.replace("{seed}", _SEED)), sql.SQL(column.native))
