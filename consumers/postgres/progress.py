"""How far a flow has come, noted in its target beside the versions: see `sorbus.abilities.KeepsProgress`."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql

from sorbus.abilities import Progress
from sorbus.consumers.postgres.open_target import OpenTarget

RELATION, WHEN = "sorbus progress", "sorbus progress noted at"
"""What stands for a table's name, which no table can have: its "version" is an offset, or a time in seconds."""


def read_progress(target: OpenTarget, topic: str) -> dict[int, Progress]:
    """What was noted for a topic, by partition. psycopg.Error."""
    key = _key(target, topic)
    statement = sql.SQL(
        "select a.id, a.version, coalesce(b.version, 0) from {0} a left join {0} b on b.relation = %s and b.id = a.id"
        " where a.relation = %s and starts_with(a.id, %s)"
    ).format(target.applied)
    session = target.session
    session.autocommit = True
    try:
        rows = session.execute(statement, (WHEN, RELATION, key)).fetchall()
    finally:
        if not session.closed:
            session.autocommit = False
    return {int(str(id)[len(key) :]): Progress(int(str(offset)), float(str(at))) for id, offset, at in rows}


def write_progress(target: OpenTarget, topic: str, offsets: Mapping[int, Progress]) -> None:
    """Notes these offsets, by partition; higher ones stay. One round trip. psycopg.Error."""
    key = _key(target, topic)
    values: list[object] = []
    for number, (offset, at) in sorted(offsets.items()):
        values += [RELATION, f"{key}{number}", offset, WHEN, f"{key}{number}", int(at)]
    statement = sql.SQL(
        "insert into {} as a (relation, id, version) values {}"
        " on conflict (relation, id) do update set version = greatest(a.version, excluded.version)"
    ).format(target.applied, sql.SQL(", ").join([sql.SQL("(%s, %s, %s)")] * (2 * len(offsets))))
    session = target.session
    session.autocommit = True
    try:
        session.execute(statement, values)
    finally:
        if not session.closed:
            session.autocommit = False


def _key(target: OpenTarget, topic: str) -> str:
    return f"{target.flow.flow.id} {topic} "
