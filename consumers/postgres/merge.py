"""The statements of one guarded merge: from the stage into the target, only what is newer than what is there.

With the version in the row itself (tables that Sorbus made) one upsert guards and writes. Where the table isn't ours,
the side table is upserted first, under the same guard; its row locks order concurrent writers, and only the records
that won there are written. Deleted records leave their version in the side table, so that an older event that comes
late doesn't bring them back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from psycopg import sql

from sorbus.consumers.postgres.counted import COUNT, IS_NEW, counted, counted_with_keys
from sorbus.consumers.postgres.row_notes import taken
from sorbus.consumers.postgres.shape import StageColumn
from sorbus.consumers.postgres.staged_values import value_of
from sorbus.consumers.postgres.tables import APPLIED, VERSION_COLUMN

ID, VERSION, PLACE = "sorbus_id", "sorbus_v", "sorbus_place"
"""The stage's own columns: the record's id, its version, and an item's place in its list."""
GONE, WON = "sorbus_gone", "sorbus_won"


class ChildMerge(NamedTuple):
    """A list field's table."""

    stage: str
    table: sql.Identifier
    parent: str
    parent_type: str
    position: str | None
    columns: Sequence[StageColumn]
    by_text: bool = False
    """Whether its parent column takes ids for one that the record's key tells apart."""

    def is_of(self, alias: str, id: sql.Composable) -> sql.Composed:
        """Whether an item is of the record with this id."""
        parent = sql.Identifier(alias, self.parent)
        found = sql.SQL("{} = {}::{}").format(parent, id, sql.SQL(self.parent_type))
        return sql.SQL('{} and {}::text collate "C" = {}').format(found, parent, id) if self.by_text else found


class Merge(NamedTuple):
    """What the statements are made of. `deleted`: the column that soft deletes set; None for hard ones."""

    relation: str
    stage: str
    table: sql.Identifier
    key: str
    key_type: str
    columns: Sequence[StageColumn]
    children: Sequence[ChildMerge]
    own_version: bool
    deleted: str | None
    applied: sql.Identifier = sql.Identifier(APPLIED)
    """The side table, wherever it is."""
    creates: bool = True
    """Whether rows that aren't there are made."""
    counts_created: bool = True
    """Whether PostgreSQL can tell new rows from changed ones: of plain tables alone."""
    marked: str | None = None
    """The column that says of a row that its record is deleted: emptied where the record is there."""
    watched_key: str = ""
    """The key column's type as it is declared, where the owner's triggers may change a row's key; "" elsewhere."""


def create_stage(name: str, columns: Sequence[StageColumn], *, is_child: bool) -> sql.Composed:
    """A temporary table as the COPY delivers it."""
    own = [(ID, "text"), (PLACE, "integer") if is_child else (VERSION, "bigint")]
    return sql.SQL("create temporary table {} ({}) on commit delete rows").format(
        sql.Identifier(name),
        sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(native))
            for column, native in [*own, *((c.name, c.type) for c in columns)]
        ),
    )


def create_gone() -> list[sql.SQL]:
    """The temporary tables of deleted records, and of those that won over what was there."""
    return [
        sql.SQL("create temporary table sorbus_gone (sorbus_id text, sorbus_v bigint) on commit delete rows"),
        sql.SQL("create temporary table sorbus_won (id text primary key) on commit delete rows"),
    ]


def _newer(again: bool) -> sql.SQL:
    return sql.SQL("<=" if again else "<")


def upsert(merge: Merge, again: bool) -> list[sql.Composed]:
    """The statements that bring the staged records into the target.

    The one that writes the records returns how many it wrote and how many of them are new, where that can be told.
    """
    return (_upsert_ours(merge, again) if merge.own_version else _upsert_theirs(merge, again)) + _children(merge)


def upsert_given(merge: Merge, arrays: sql.Composable, again: bool) -> sql.Composed | None:
    """Likewise in one statement, of an array for each of the stage's columns, and without the session's tables.

    None where that takes more: where lists belong to the records, where PostgreSQL doesn't tell who won, and where rows
    are to be changed only, which must be looked for after their versions are locked, or one could be missed.
    """
    if merge.children or not merge.counts_created or not (merge.own_version or merge.creates):
        return None
    stage, won = sql.Identifier(merge.stage), sql.Identifier(WON)
    names = _list([ID, VERSION, *(column.name for column in merge.columns)])
    given = sql.SQL("with {} ({}) as (select * from unnest({}))").format(stage, names, arrays)
    if not merge.own_version:  # the names are those of the tables that they stand for
        given = sql.SQL("{}, {} as ({})").format(given, won, _noted(merge, merge.stage, again))
    write = _guarded_insert(merge, again) if merge.own_version else _insert_won(merge)
    return sql.SQL("{}, {}").format(given, _counted(merge, write))


def _upsert_ours(merge: Merge, again: bool) -> list[sql.Composed]:
    statement = _guarded_insert(merge, again)
    if not merge.children:
        return [sql.SQL("with {}").format(_counted(merge, statement)) if merge.counts_created else statement]
    returned, won = sql.Identifier("t", merge.key), sql.Identifier(WON)
    if not merge.counts_created:
        noted = sql.SQL("with w as ({} returning {}::text as id) insert into {} select id from w")
        return [noted.format(statement, returned, won)]
    noted = sql.SQL("with w as ({} returning {}::text as id, {}), n as (insert into {} select id from w) {}")
    return [noted.format(statement, returned, IS_NEW, won, COUNT)]


def _guarded_insert(merge: Merge, again: bool) -> sql.Composed:
    names = [merge.key, *(column.name for column in merge.columns), VERSION_COLUMN]
    values: list[sql.Composable] = [_key(merge), *(value_of("s", column) for column in merge.columns)]
    values.append(sql.Identifier("s", VERSION))
    sets = [_set(name) for name in names[1:]]
    if merge.marked:
        sets.append(sql.SQL("{} = null").format(sql.Identifier(merge.marked)))
    return sql.SQL(
        "insert into {table} as t ({names}) select {values} from {stage} s where not exists"
        " (select 1 from {applied} where relation = {relation})"  # asked once: of most tables, nothing was ever deleted
        " or not exists (select 1 from {applied} a"
        " where a.relation = {relation} and a.id = s.{id} and a.version {beats} s.{v})"
        " on conflict ({key}) do update set {sets} where t.{version} {newer} excluded.{version}"
    ).format(
        table=merge.table,
        names=_list(names),
        values=sql.SQL(", ").join(values),
        stage=sql.Identifier(merge.stage),
        applied=merge.applied,
        relation=sql.Literal(merge.relation),
        id=sql.Identifier(ID),
        beats=sql.SQL(">" if again else ">="),
        v=sql.Identifier(VERSION),
        key=sql.Identifier(merge.key),
        sets=sql.SQL(", ").join(sets),
        version=sql.Identifier(VERSION_COLUMN),
        newer=_newer(again),
    )


def _update_theirs(merge: Merge, again: bool) -> list[sql.Composed]:
    sets = [sql.SQL("{} = {}").format(sql.Identifier(one.name), value_of("s", one)) for one in merge.columns]
    write = sql.SQL("update {} t set {} from {} s join {} w on w.id = s.{} where {} = {}").format(
        merge.table,
        sql.SQL(", ").join(sets or [sql.SQL("{0} = t.{0}").format(sql.Identifier(merge.key))]),
        sql.Identifier(merge.stage),
        sql.Identifier(WON),
        sql.Identifier(ID),
        sql.Identifier("t", merge.key),
        _key(merge),
    )
    return [_win(merge, merge.stage, again), write]


def _upsert_theirs(merge: Merge, again: bool) -> list[sql.Composed]:
    if not merge.creates:
        return _update_theirs(merge, again)
    write = _insert_won(merge)
    if merge.counts_created:
        write = sql.SQL("with {}").format(_counted(merge, write))
    return [_win(merge, merge.stage, again), write]


def _insert_won(merge: Merge) -> sql.Composed:
    names = [merge.key, *(column.name for column in merge.columns)]
    values: list[sql.Composable] = [_key(merge), *(value_of("s", column) for column in merge.columns)]
    sets = [_set(name) for name in names[1:]] or [_set(merge.key)]
    if merge.marked:
        sets.append(sql.SQL("{} = null").format(sql.Identifier(merge.marked)))
    return sql.SQL(
        "insert into {} as t ({}) select {} from {} s join {} w on w.id = s.{} on conflict ({}) do update set {}"
    ).format(
        merge.table,
        _list(names),
        sql.SQL(", ").join(values),
        sql.Identifier(merge.stage),
        sql.Identifier(WON),
        sql.Identifier(ID),
        sql.Identifier(merge.key),
        sql.SQL(", ").join(sets),
    )


def _counted(merge: Merge, write: sql.Composed) -> sql.Composed:
    if merge.own_version or not merge.watched_key:
        return counted(write)
    made = sql.SQL("{}::{}::text").format(_key(merge), sql.SQL(merge.watched_key))
    of_other = taken(merge.applied, merge.relation, sql.SQL("w.k"))
    return counted_with_keys(write, merge.key, made, merge.stage, of_other)


def _win(merge: Merge, stage: str, again: bool) -> sql.Composed:
    """Notes the staged versions in the side table, and which of them were newer."""
    return sql.SQL("with w as ({}) insert into {} select id from w on conflict do nothing").format(
        _noted(merge, stage, again), sql.Identifier(WON)
    )


def _noted(merge: Merge, stage: str, again: bool) -> sql.Composed:
    return sql.SQL(
        "insert into {applied} as a (relation, id, version) select {relation}, {id}, {v} from {stage}"
        " order by 2 on conflict (relation, id) do update set version = excluded.version"
        " where a.version {newer} excluded.version returning a.id"
    ).format(
        applied=merge.applied,
        relation=sql.Literal(merge.relation),
        id=sql.Identifier(ID),
        v=sql.Identifier(VERSION),
        stage=sql.Identifier(stage),
        newer=_newer(again),
    )


def _children(merge: Merge) -> list[sql.Composed]:
    """Brings the items of the records that won up to date: those that are the same in their place stay untouched."""
    statements = []
    for child in merge.children:
        statements.append(_clear_changed(child, merge.own_version) if child.position else _clear(child))
        names = [
            child.parent,
            *([child.position] if child.position else []),
            *(column.name for column in child.columns),
        ]
        values: list[sql.Composable] = [sql.SQL("s.{}::{}").format(sql.Identifier(ID), sql.SQL(child.parent_type))]
        if child.position:
            values.append(sql.Identifier("s", PLACE))
        values += [value_of("s", column) for column in child.columns]
        statements.append(
            sql.SQL("insert into {} ({}) select {} from {} s join {} w on w.id = s.{}{}").format(
                child.table,
                _list(names),
                sql.SQL(", ").join(values),
                sql.Identifier(child.stage),
                sql.Identifier(WON),
                sql.Identifier(ID),
                _where_free(child),
            )
        )
    return statements


def _clear(child: ChildMerge) -> sql.Composed:
    return sql.SQL("delete from {} c using {} w where {}").format(
        child.table, sql.Identifier(WON), child.is_of("c", sql.SQL("w.id"))
    )


def _clear_changed(child: ChildMerge, is_ours: bool) -> sql.Composed:
    """Takes out the winners' items that are not as staged in the same place.

    Compared as text: every type has one, some have no equality. Of two in one place, which a table that isn't ours may
    hold, both go.
    """
    same = [
        sql.SQL("{}::text is not distinct from ({})::text").format(
            sql.Identifier("c", column.name), value_of("s", column)
        )
        for column in child.columns
    ]
    double = sql.SQL(" or exists (select from {table} d where {same} and d.{place} = c.{place} and d.ctid <> c.ctid)")
    place = sql.Identifier(str(child.position))
    return sql.SQL("{clear} and (not exists (select from {stage} s where s.{id} = w.id and {parts}){double})").format(
        clear=_clear(child),
        stage=sql.Identifier(child.stage),
        id=sql.Identifier(ID),
        parts=sql.SQL(" and ").join([sql.SQL("s.{} = c.{}").format(sql.Identifier(PLACE), place), *same]),
        double=sql.SQL("")
        if is_ours
        else double.format(
            table=child.table,
            same=child.is_of("d", sql.SQL("w.id")),
            place=place,
        ),
    )


def _where_free(child: ChildMerge) -> sql.Composable:
    """Only items whose place is free: what is there is the same."""
    if not child.position:
        return sql.SQL("")
    return sql.SQL(" where not exists (select from {} c where {} and c.{} = s.{})").format(
        child.table,
        child.is_of("c", sql.Identifier("s", ID)),
        sql.Identifier(child.position),
        sql.Identifier(PLACE),
    )


def delete(merge: Merge, again: bool) -> list[sql.Composed]:
    """The statements that take the records in `sorbus_gone` out of the target (or mark them, if deletes are soft)."""
    gone, key = sql.Identifier(GONE), sql.Identifier("t", merge.key)
    match = sql.SQL("{} = g.{}::{}").format(key, sql.Identifier(ID), sql.SQL(merge.key_type))
    if merge.own_version:
        version = sql.Identifier("t", VERSION_COLUMN)
        guard = sql.SQL("{} and {} {} g.{}").format(match, version, _newer(again), sql.Identifier(VERSION))
        if merge.deleted:
            return [
                sql.SQL("update {} t set {} = coalesce(t.{}, now()), {} = g.{} from {} g where {}").format(
                    merge.table,
                    sql.Identifier(merge.deleted),
                    sql.Identifier(merge.deleted),
                    sql.Identifier(VERSION_COLUMN),
                    sql.Identifier(VERSION),
                    gone,
                    guard,
                ),
                *([_win(merge, GONE, again)]),
            ]
        removal = sql.SQL("delete from {} t using {} g where {}").format(merge.table, gone, guard)
        first = _clear_gone(merge, match, guard) if merge.children else []
        return [*first, removal, _win(merge, GONE, again)]
    if merge.deleted:
        action = sql.SQL("update {} t set {} = coalesce(t.{}, now()) from {} g, {} w where {} and w.id = g.{}").format(
            merge.table,
            sql.Identifier(merge.deleted),
            sql.Identifier(merge.deleted),
            gone,
            sql.Identifier(WON),
            match,
            sql.Identifier(ID),
        )
        return [_win(merge, GONE, again), action]
    removal = sql.SQL("delete from {} t using {} g, {} w where {} and w.id = g.{}").format(
        merge.table, gone, sql.Identifier(WON), match, sql.Identifier(ID)
    )
    return [_win(merge, GONE, again), *[_clear(child) for child in merge.children], removal]


def _clear_gone(merge: Merge, match: sql.Composed, guard: sql.Composed) -> list[sql.Composed]:
    """Takes out the items of records in `sorbus_gone` that are to go, before the rows that they may refer to, and of
    those without a row: a person may have removed it.
    """
    going = sql.SQL(
        "insert into {won} select g.{id} from {gone} g where not exists (select from {table} t where {match})"
        " or exists (select from {table} t where {guard})"
    ).format(
        won=sql.Identifier(WON),
        id=sql.Identifier(ID),
        gone=sql.Identifier(GONE),
        table=merge.table,
        match=match,
        guard=guard,
    )
    return [going, *map(_clear, merge.children), sql.SQL("delete from {}").format(sql.Identifier(WON))]


def newer(merge: Merge) -> sql.Composed:
    """The query for newer versions in the target: of ids and versions (two arrays) those that it has newer."""
    own: sql.Composable = sql.SQL("0")
    join: sql.Composable = sql.SQL("")
    if merge.own_version:
        own = sql.SQL("coalesce({}, 0)").format(sql.Identifier("t", VERSION_COLUMN))
        join = sql.SQL("left join {} t on {} = s.id::{}").format(
            merge.table, sql.Identifier("t", merge.key), sql.SQL(merge.key_type)
        )
    return sql.SQL(
        "select s.id, greatest({own}, coalesce(a.version, 0)) from unnest(%s::text[], %s::bigint[]) s (id, version)"
        " left join {applied} a on a.relation = {relation} and a.id = s.id {join}"
        " where greatest({own}, coalesce(a.version, 0)) > s.version"
    ).format(own=own, applied=merge.applied, relation=sql.Literal(merge.relation), join=join)


def forget_won() -> sql.Composed:
    """Empties the list of winners between deletes and upserts."""
    return sql.SQL("delete from {}").format(sql.Identifier(WON))


def _key(merge: Merge) -> sql.Composed:
    return sql.SQL("s.{}::{}").format(sql.Identifier(ID), sql.SQL(merge.key_type))


def _set(name: str) -> sql.Composed:
    return sql.SQL("{} = excluded.{}").format(sql.Identifier(name), sql.Identifier(name))


def _list(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
