"""PostgreSQL's side of the replication protocol, written from its documentation (54.9): what the server would send."""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack

Cell = bytes | None | str
"""Text, null, or "u": a TOASTed value that didn't change."""
EPOCH_2000 = 946_684_800_000_000


def begin(final_lsn: int, committed_at: int, xid: int) -> bytes:
    return b"B" + pack(">QqI", final_lsn, committed_at - EPOCH_2000, xid)


def commit(lsn: int, end_lsn: int, committed_at: int) -> bytes:
    return b"C" + pack(">BQQq", 0, lsn, end_lsn, committed_at - EPOCH_2000)


def relation(oid: int, schema: str, name: str, columns: Sequence[tuple[str, int, bool]], identity: str = "d") -> bytes:
    head = b"R" + pack(">I", oid) + schema.encode() + b"\0" + name.encode() + b"\0" + identity.encode()
    body = [pack(">B", key) + column.encode() + b"\0" + pack(">Ii", type, -1) for column, type, key in columns]
    return head + pack(">h", len(columns)) + b"".join(body)


def row(cells: Sequence[Cell]) -> bytes:
    out = [pack(">h", len(cells))]
    for cell in cells:
        if cell is None:
            out.append(b"n")
        elif isinstance(cell, str):
            out.append(b"u")
        else:
            out.append(b"t" + pack(">i", len(cell)) + cell)
    return b"".join(out)


def insert(oid: int, new: Sequence[Cell]) -> bytes:
    return b"I" + pack(">I", oid) + b"N" + row(new)


def update(oid: int, new: Sequence[Cell], old: Sequence[Cell] | None = None, kind: str = "K") -> bytes:
    before = b"" if old is None else kind.encode() + row(old)
    return b"U" + pack(">I", oid) + before + b"N" + row(new)


def delete(oid: int, old: Sequence[Cell], kind: str = "K") -> bytes:
    return b"D" + pack(">I", oid) + kind.encode() + row(old)


def truncate(oids: Sequence[int]) -> bytes:
    return b"T" + pack(">IB", len(oids), 0) + b"".join(pack(">I", oid) for oid in oids)
