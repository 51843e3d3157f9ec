"""Comparing live tables with their shadows, in SQL alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from psycopg import sql

from sorbus.consumers.postgres.options import PostgresTarget
from sorbus.consumers.postgres.stages import is_added_id
from sorbus.consumers.postgres.tables import VERSION_COLUMN
from sorbus.mapping.assign import Parts
from sorbus.postgres.catalog import Table, qualified
from sorbus.postgres.connection import Connection
from sorbus.shadow import ShadowComparison, ShadowProof

DIFFERENCE = "sorbus_shadow_difference"
"""A temporary table: records that differ, their kind, the version to be applied, whether they are deleted there."""

_MEMORY = "set local work_mem = '64MB'"  # both tables are hashed or sorted whole


class Side(NamedTuple):
    """One side's tables. `columns`: those that Sorbus fills, by list field. `deleted`: the column of soft deletes."""

    options: PostgresTarget
    tables: Mapping[str, Table]
    columns: Mapping[str, Sequence[str]]
    applied: sql.Identifier
    deleted: str | None


def compared_columns(tables: Mapping[str, Table], parts: Parts, options: PostgresTarget) -> dict[str, list[str]]:
    """The columns that the mapping fills, without keys and places."""
    out = {}
    for part, assignments in parts.items():
        own = {options.key} if not part else {options.children[part].parent, options.children[part].position}
        names = [a.into for a in assignments if a.into not in own and not (part and is_added_id(a))]
        out[part] = [name for name in dict.fromkeys(names) if name in tables[part].columns]
    return out


def _rows(side: Side) -> sql.Composed:
    """A side's records: id, version, whether deleted, and all compared values as one text."""
    table, key = side.tables[""], sql.Identifier("t", side.options.key)
    id: sql.Composable = sql.SQL("{}::text").format(key)
    version: sql.Composable = sql.SQL("coalesce(a.version, 0)")
    join: sql.Composable = _noted(side, key)
    if VERSION_COLUMN in table.columns:
        version, join = sql.Identifier("t", VERSION_COLUMN), sql.SQL("")
    elif not _is_text(side):
        id = sql.SQL("coalesce(a.id, {}::text)").format(key)
    gone: sql.Composable = sql.SQL("false")
    if side.deleted:
        gone = sql.SQL("({} is not null)").format(sql.Identifier("t", side.deleted))
    texts: list[sql.Composable] = [_text("t", side.columns[""])]
    joins: list[sql.Composable] = [join]
    for number, (part, child) in enumerate(side.options.children.items()):
        alias = f"c{number}"
        values = [*([child.position] if child.position else []), *side.columns[part]]
        items = sql.SQL(
            " left join (select {parent} as parent, string_agg({text}, ',' order by {text}) as items"
            " from {table} c group by 1) {alias} on {alias}.parent = {key}"
        )
        joins.append(
            items.format(
                parent=sql.Identifier("c", child.parent),
                text=_text("c", values),
                table=side.tables[part].identifier,
                alias=sql.Identifier(alias),
                key=key,
            )
        )
        texts.append(sql.SQL("coalesce({}, '')").format(sql.Identifier(alias, "items")))
    return sql.SQL("select {} as id, {} as key, {} as version, {} as is_gone, {} as value from {} t{}").format(
        id, key, version, gone, sql.SQL(" || '|' || ").join(texts), table.identifier, sql.SQL("").join(joins)
    )


def _is_text(side: Side) -> bool:
    """Whether keys are written as ids are: of other types one value has several spellings."""
    return side.tables[""].columns[side.options.key].unbounded in ("text", "character varying")


def _noted(side: Side, key: sql.Composable) -> sql.Composable:
    """What the side table says of each row: of the newest of the ids that its key may be spelled as."""
    relation = sql.Literal(qualified(side.tables[""].name))
    if _is_text(side):
        return sql.SQL(" left join {} a on a.relation = {} and a.id = {}").format(side.applied, relation, key)
    return sql.SQL(
        " left join (select distinct on (id::{type}) id::{type} as key, id, version from {applied}"
        " where relation = {relation} order by id::{type}, version desc) a on a.key = {key}"
    ).format(
        type=sql.SQL(side.tables[""].columns[side.options.key].unbounded),
        applied=side.applied,
        relation=relation,
        key=key,
    )


def _text(alias: str, columns: Sequence[str]) -> sql.Composed:
    return sql.SQL("row({})::text").format(sql.SQL(", ").join(sql.Identifier(alias, name) for name in columns))


def _extra_before(session: Connection) -> tuple[list[str], list[int]]:
    """Ids and versions of the extra records of the comparison before."""
    query = sql.SQL("select id, version from {} where kind = 'extra'").format(sql.Identifier(DIFFERENCE))
    rows = session.execute(query).fetchall()
    return [str(id) for id, _ in rows], [int(str(version)) for _, version in rows]


def compare_sides(
    session: Connection,
    live: Side,
    shadow: Side,
    *,
    is_ours: bool,
    again: bool = False,
    outside: Collection[str] = (),
) -> ShadowComparison:
    """Fills the table of differences, and counts them by kind. psycopg.Error.

    `again`: extra records are those alone that were extra, in the same version, when it was last filled. Records
    `outside` of what the flow delivers aren't extra.
    """
    table = sql.Identifier(DIFFERENCE)
    session.execute(_MEMORY)
    earlier = _extra_before(session) if again else None
    session.execute(sql.SQL("drop table if exists {}").format(table))
    # What the side table says of the shadow's deleted records, and whether Sorbus wrote a live one.
    session.execute(
        sql.SQL(
            "create temporary table {difference} as"
            " with live as ({live}), shadow as ({shadow})"
            " select coalesce(s.id, l.id) as id, case"
            " when l.id is null then 'missing'"
            " when s.id is not null and l.version > s.version then 'newer'"
            " when s.id is not null then 'different'"
            " when d.version is not null and d.version < l.version then 'newer'"
            " when d.version is not null then 'deleted'"
            " when not {ours} and w.version is null then 'foreign'"
            " else 'extra' end as kind,"
            " coalesce(s.version, d.version, l.version) as version, (s.id is null or s.is_gone) as is_gone"
            " from live l full join shadow s on s.key = l.key"
            " left join {applied} d on d.relation = {shadow_relation} and d.id = l.id and s.id is null"
            " left join {applied} w on w.relation = {live_relation} and w.id = l.id and s.id is null"
            " where (l.id is null or s.id is null or l.is_gone <> s.is_gone or l.value <> s.value"
            " or l.version < s.version) and not (s.id is null and l.is_gone)"
        ).format(
            difference=table,
            live=_rows(live),
            shadow=_rows(shadow),
            ours=sql.Literal(is_ours),
            applied=live.applied,
            live_relation=sql.Literal(qualified(live.tables[""].name)),
            shadow_relation=sql.Literal(qualified(shadow.tables[""].name)),
        )
    )
    session.execute(sql.SQL("create index on {} (id)").format(table))
    if earlier is not None:  # what the live table got since then may be on its way to the shadow
        session.execute(
            sql.SQL(
                "update {} d set kind = 'newer' where kind = 'extra' and not exists"
                " (select from unnest(%s::text[], %s::bigint[]) e (id, version) where e.id = d.id"
                " and e.version = d.version)"
            ).format(table),
            earlier,
        )
    if outside:
        session.execute(
            sql.SQL("update {} set kind = 'outside' where kind = 'extra' and id = any(%s)").format(table),
            (list(outside),),
        )
    rows = session.execute(sql.SQL("select kind, count(*) from {} group by 1").format(table)).fetchall()
    found = {str(kind): int(str(count)) for kind, count in rows}
    counts = [_count(session, side) for side in (live, shadow)]
    kinds = ("missing", "different", "deleted", "extra", "foreign", "newer")
    return ShadowComparison(*counts, *(found.get(kind, 0) for kind in kinds))


def prove_sides(session: Connection, live: Side, shadow: Side) -> ShadowProof:
    """Sums the hashes of what both have in the same version. psycopg.Error."""
    session.execute(_MEMORY)
    row = session.execute(
        sql.SQL(
            "with live as ({}), shadow as ({})"
            " select count(*), coalesce(sum(hashtextextended(l.value, 0)::numeric), 0),"
            " coalesce(sum(hashtextextended(s.value, 0)::numeric), 0) from live l join shadow s"
            " on s.key = l.key and s.version = l.version and s.is_gone = l.is_gone"
        ).format(_rows(live), _rows(shadow))
    ).fetchone()
    assert row is not None
    return ShadowProof(*(int(str(value)) for value in row))


def _count(session: Connection, side: Side) -> int:
    row = session.execute(sql.SQL("select count(*) from {}").format(side.tables[""].identifier)).fetchone()
    return int(str(row[0])) if row else 0
