"""Shadow tables: a copy of a flow's tables that a replay fills; what differs is then merged into the live ones.

The live tables are never exchanged: a view, a foreign key or a grant belongs to the table itself, so an exchange loses
some and locks readers out. One transaction of the usual guarded merge changes only what differs.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Sequence

import psycopg
from psycopg import sql

from sorbus.connector import BoundFlow
from sorbus.consumers.postgres.key_owners import Candidate
from sorbus.consumers.postgres.merge import (
    GONE,
    ID,
    PLACE,
    VERSION,
    ChildMerge,
    create_stage,
    delete,
    forget_won,
    upsert,
)
from sorbus.consumers.postgres.open_target import OpenTarget
from sorbus.consumers.postgres.options import PostgresTarget
from sorbus.consumers.postgres.shadow_comparison import DIFFERENCE, Side, compare_sides, compared_columns, prove_sides
from sorbus.consumers.postgres.shape import StageColumn
from sorbus.consumers.postgres.tables import VERSION_COLUMN, find_applied, table_names
from sorbus.errors import TransientError
from sorbus.postgres.catalog import Table, qualified, read_table
from sorbus.postgres.connection import postgres_errors
from sorbus.postgres.sqlstate import of_error
from sorbus.shadow import ShadowApplied, ShadowComparison, ShadowProof
from sorbus.write_fault import About

_CHUNK = 20_000
_LOCK_TRIES = 10
_STAGE = "sorbus_from_shadow"
_LONGEST = 63
_CHOSEN = sql.SQL("select id from {} where kind = any(%s) and not id = any(%s) order by id").format(
    sql.Identifier(DIFFERENCE)
)
_TAKE_GONE = sql.SQL("insert into {} select id, version from {} where id = any(%s) and is_gone").format(
    sql.Identifier(GONE), sql.Identifier(DIFFERENCE)
)


def shadow_names(options: PostgresTarget) -> dict[str, str]:
    """The shadow of each table, by list field, in the live table's schema."""
    return {part: _shadow_of(name) for part, name in table_names(options).items()}


class PostgresShadow:
    """The shadow of one flow's tables. `_live` holds the session in which everything is done."""

    def __init__(self, flow: BoundFlow) -> None:
        """TransientError, AuthError."""
        assert isinstance(flow.options, PostgresTarget)
        self._flow, self._options = flow, flow.options
        self._live = OpenTarget(flow)
        self._session = self._live.session
        self._names = shadow_names(flow.options)
        self._doing = f"replaying {flow.flow.id} into a shadow"
        self._made: set[str] = set()

    def prepare(self, *, keep: bool) -> bool:
        """See `sorbus.shadow.Shadow`."""
        with postgres_errors(self._doing), self._session.transaction():
            there = all(read_table(self._session, name) is not None for name in self._names.values())
            if there and keep:
                return True
            self._drop()
            for part, name in self._names.items():
                self._create(self._live.tables[part], sql.Identifier(*qualified(name).split(".")), part)
        return False

    def size(self) -> int:
        """See `sorbus.shadow.Shadow`."""
        with postgres_errors(self._doing), self._session.transaction():
            oids = [table.oid for table in self._live.tables.values()]
            row = self._session.execute(
                "select sum(pg_total_relation_size(oid))::bigint from unnest(%s::oid[]) oid", (oids,)
            ).fetchone()
        return int(str(row[0])) if row else 0

    def compare(self, *, again: bool = False, outside: Collection[str] = ()) -> ShadowComparison:
        """See `sorbus.shadow.Shadow`."""
        with postgres_errors(self._doing), self._session.transaction():
            sides = self._sides()
            return compare_sides(self._session, *sides, is_ours=self._is_ours, again=again, outside=outside)

    def prove(self) -> ShadowProof:
        """See `sorbus.shadow.Shadow`."""
        with postgres_errors(self._doing), self._session.transaction():
            return prove_sides(self._session, *self._sides())

    def apply(self, *, without: Sequence[str], remove_extra: bool) -> ShadowApplied:
        """See `sorbus.shadow.Shadow`."""
        for attempt in range(1, _LOCK_TRIES + 1):
            try:
                with postgres_errors(self._doing):
                    return self._apply(without, remove_extra=remove_extra and self._flow.flow.deletes != "ignore")
            except TransientError:
                if attempt == _LOCK_TRIES or self._session.closed:
                    raise
                time.sleep(0.2 * attempt)
        raise AssertionError

    def drop(self) -> None:
        """See `sorbus.shadow.Shadow`."""
        with postgres_errors(self._doing), self._session.transaction():
            self._drop()

    def close(self) -> None:
        """See `sorbus.shadow.Shadow`."""
        self._live.close()

    @property
    def _is_ours(self) -> bool:
        return VERSION_COLUMN in self._live.tables[""].columns

    def _sides(self) -> tuple[Side, Side]:
        tables = {part: read_table(self._session, name) for part, name in self._names.items()}
        shadow = {part: table for part, table in tables.items() if table is not None}
        if len(shadow) < len(tables):
            raise TransientError(f"{self._doing}: the shadow table is gone; start the replay again")
        applied = find_applied(self._session, self._options.table)
        assert applied is not None
        deleted = self._options.deleted_column if self._flow.flow.deletes == "soft" else None
        columns = compared_columns(self._live.tables, self._live.parts, self._options)
        live = Side(self._options, self._live.tables, columns, applied, deleted)
        return live, live._replace(tables=shadow)

    def _create(self, live: Table, name: sql.Identifier, part: str) -> None:
        """Like the live table, with its checks and unique indexes: the shadow refuses what the live one would."""
        self._session.execute(sql.SQL("create table {} (like {} including all)").format(name, live.identifier))
        filled = {one.into for one in self._live.parts[part]} | {self._options.key, VERSION_COLUMN}
        if part:
            child = self._options.children[part]
            filled |= {child.parent, child.position or child.parent}
        elif self._flow.flow.deletes == "soft":
            filled.add(self._options.deleted_column)
        rows = self._session.execute(
            "select attname::text from pg_attribute where attrelid = %s and attnum > 0 and not attisdropped"
            " and attgenerated = ''",
            (live.oid,),
        ).fetchall()
        for (column,) in rows:
            if column in filled or live.columns[str(column)].key:
                continue
            # Not Sorbus's: its default may draw from the live table's sequence.
            for change in ("drop identity if exists", "drop default", "drop not null"):
                statement = sql.SQL("alter table {} alter column {} {}")
                self._session.execute(statement.format(name, sql.Identifier(str(column)), sql.SQL(change)))

    def _drop(self) -> None:
        for name in self._names.values():
            self._session.execute(
                sql.SQL("drop table if exists {}").format(sql.Identifier(*qualified(name).split(".")))
            )
        applied = find_applied(self._session, self._options.table)
        if applied is not None:
            statement = sql.SQL("delete from {} where relation = %s or starts_with(relation, %s)").format(applied)
            name = qualified(self._names[""])
            self._session.execute(statement, (name, f"{name} key"))

    def _apply(self, without: Sequence[str], *, remove_extra: bool) -> ShadowApplied:
        _, shadow = self._sides()
        self._session.commit()
        self._make_stages()
        refused: list[str] = []
        changed = 0
        with self._session.transaction():
            self._live.writing.lock(alone=True)
            began = time.monotonic()
            kinds = ["deleted", *(["extra"] if remove_extra else [])]
            for chosen in (kinds, ["missing", "different"]):
                ids = self._session.execute(
                    _CHOSEN,
                    (chosen, list(without)),
                ).fetchall()
                left = [[str(id) for (id,) in ids[at : at + _CHUNK]] for at in range(0, len(ids), _CHUNK)][::-1]
                while left:
                    part = left.pop()
                    try:
                        with self._session.transaction():
                            self._merge(part, shadow, deletes=chosen is kinds)
                        changed += len(part)
                    except psycopg.Error as error:
                        if self._session.closed or of_error(error) in (About.SYSTEM, About.LOAD, About.ACCESS):
                            raise
                        middle = len(part) // 2
                        if middle:
                            left += [part[middle:], part[:middle]]
                        else:
                            refused += part
        return ShadowApplied(changed, refused, time.monotonic() - began)

    def _make_stages(self) -> None:
        with self._session.transaction():
            self._session.execute(sql.SQL("drop table if exists {}").format(sql.Identifier(_STAGE)))
            self._session.execute(create_stage(_STAGE, self._stage_columns(""), is_child=False))
            for number, part in enumerate(self._options.children):
                name = f"{_STAGE}_{number}"
                self._session.execute(sql.SQL("drop table if exists {}").format(sql.Identifier(name)))
                self._session.execute(create_stage(name, self._stage_columns(part), is_child=True))

    def _stage_columns(self, part: str) -> list[StageColumn]:
        columns = self._live.tables[part].columns
        return [
            StageColumn(name, columns[name].native)
            for name in compared_columns(self._live.tables, self._live.parts, self._options)[part]
        ]

    def _merge(self, ids: list[str], shadow: Side, *, deletes: bool) -> None:
        """Merges these records of the shadow into the live tables, within the transaction in progress."""
        children = [
            self._live.writing.stages.child_merge(part, f"{_STAGE}_{number}", self._stage_columns(part))
            for number, part in enumerate(self._options.children)
        ]
        merge = self._live.writing.stages.merge(_STAGE, self._stage_columns(""), children)
        for name in (_STAGE, GONE, *(child.stage for child in children)):
            self._session.execute(sql.SQL("delete from {}").format(sql.Identifier(name)))
        self._session.execute(forget_won())
        ids = self._own(ids, deletes=deletes)
        if not deletes:
            self._fill(ids, shadow, children)
            for statement in upsert(merge, again=True):
                self._session.execute(statement)
            self._session.execute(forget_won())
        if self._session.execute(_TAKE_GONE, (ids,)).rowcount:
            for statement in delete(merge, again=True):
                self._session.execute(statement)

    def _own(self, ids: list[str], *, deletes: bool) -> list[str]:
        """Those whose rows in the live table aren't other records'. KeyTaken, KeyCut; psycopg.Error."""
        owners = self._live.writing.guard.owners
        if not owners.may_meet([id.encode() for id in ids]):
            return ids
        query = sql.SQL("select id, version from {} where id = any(%s)").format(sql.Identifier(DIFFERENCE))
        found = self._session.execute(query, (ids,)).fetchall()
        asked = [Candidate(str(id), int(str(version)), deletes) for id, version in found]
        kept = owners.kept(asked, again=True)
        return [one.id for one, is_kept in zip(asked, kept, strict=True) if is_kept]

    def _fill(self, ids: list[str], shadow: Side, children: Sequence[ChildMerge]) -> None:
        names = [column.name for column in self._stage_columns("")]
        key = self._live.tables[""].columns[self._options.key]
        chosen = sql.SQL("unnest(%s::text[]) i (id)")
        self._session.execute(
            sql.SQL(
                "insert into {stage} ({into}) select {values} from {chosen} join {table} t on t.{key} = i.id::{type}"
                " join {difference} d on d.id = i.id"
            ).format(
                stage=sql.Identifier(_STAGE),
                into=_list([ID, VERSION, *names]),
                values=sql.SQL(", ").join([sql.SQL("i.id, d.version"), *(sql.Identifier("t", name) for name in names)]),
                chosen=chosen,
                table=shadow.tables[""].identifier,
                key=sql.Identifier(key.name),
                type=sql.SQL(key.unbounded),
                difference=sql.Identifier(DIFFERENCE),
            ),
            (ids,),
        )
        for part, child in zip(self._options.children, children, strict=True):
            names = [column.name for column in child.columns]
            place = sql.Identifier("t", child.position) if child.position else sql.SQL("0")
            self._session.execute(
                sql.SQL(
                    "insert into {stage} ({into}) select {values} from {chosen} join {table} t"
                    " on t.{parent} = i.id::{type}"
                ).format(
                    stage=sql.Identifier(child.stage),
                    into=_list([ID, PLACE, *names]),
                    values=sql.SQL(", ").join([sql.SQL("i.id"), place, *(sql.Identifier("t", name) for name in names)]),
                    chosen=chosen,
                    table=shadow.tables[part].identifier,
                    parent=sql.Identifier(child.parent),
                    type=sql.SQL(child.parent_type),
                ),
                (ids,),
            )


def _list(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _shadow_of(name: str) -> str:
    schema, _, table = qualified(name).partition(".")
    made = f"sorbus_shadow_{table}"
    if len(made.encode()) > _LONGEST:
        made = f"sorbus_shadow_{hashlib.sha256(table.encode()).hexdigest()[:32]}"
    return f"{schema}.{made}"
