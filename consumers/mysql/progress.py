"""How far a flow has come, noted in its target beside the versions: see `sorbus.abilities.KeepsProgress`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from sorbus.abilities import Progress
from sorbus.consumers.mysql.writing import MysqlEngine
from sorbus.mysql.connection import Session

_RELATION, _WHEN = b"sorbus progress", b"sorbus progress noted at"
"""What stands for a table's name, which no table can have: its "version" is an offset, or a time in seconds."""


def read_progress(session: Session, applied: str, flow: str, topic: str) -> dict[int, Progress]:
    """What was noted for a topic, by partition; `applied`: the side table, quoted. pymysql.Error."""
    key = _key(flow, topic)
    rows = session.query(
        f"select a.id, a.version, coalesce(b.version, 0) from {applied} a"  # noqa: S608 - a quoted name
        f" left join {applied} b on b.relation = %s and b.id = a.id where a.relation = %s and left(a.id, %s) = %s",
        [_WHEN, _RELATION, len(key), key],
    )
    return {int(cast("bytes", id)[len(key) :]): Progress(int(str(offset)), float(str(at))) for id, offset, at in rows}


def write_progress(session: Session, applied: str, flow: str, topic: str, offsets: Mapping[int, Progress]) -> None:
    """Notes these offsets, by partition; higher ones stay. pymysql.Error."""
    key = _key(flow, topic)
    rows: list[tuple[bytes, bytes, int]] = []
    for number, (offset, at) in sorted(offsets.items()):
        id = key + str(number).encode()
        rows += [(_RELATION, id, offset), (_WHEN, id, int(at))]
    marks = ", ".join(["(%s, %s, %s)"] * len(rows))
    with MysqlEngine(session).transaction():
        session.execute(
            f"insert into {applied} (relation, id, version) values {marks}"  # noqa: S608 - a quoted name
            " on duplicate key update version = greatest(version, values(version))",
            [value for row in rows for value in row],
        )


def _key(flow: str, topic: str) -> bytes:
    return f"{flow} {topic} ".encode()
