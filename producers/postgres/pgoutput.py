"""PostgreSQL's logical replication messages, decoded without I/O.

Source: PostgreSQL documentation, 54.9 "Logical Replication Message Formats", protocol version 1 (text values), and
54.4 "Streaming Replication Protocol" for the frames around them.
"""

from __future__ import annotations

from enum import Enum
from struct import Struct
from struct import error as struct_error
from typing import Final, Literal, NamedTuple

from sorbus.errors import SorbusError


class _Kept(Enum):
    UNCHANGED = "unchanged"


UNCHANGED: Final = _Kept.UNCHANGED
"""Stands for a TOASTed value that an update left as it was, and that the message therefore doesn't carry."""

Value = bytes | None | Literal[_Kept.UNCHANGED]
Row = list[Value]


class PartialRow(list[Value]):
    """A row with at least one UNCHANGED value: told apart by its type, so that whole rows needn't be searched."""


MARK = b"mark"
"""The content of a mark; its prefix is sorbus."""
_EPOCH_2000 = 946_684_800_000_000
_begin = Struct(">QqI").unpack_from
_commit = Struct(">BQQq").unpack_from
_int16 = Struct(">h").unpack_from
_int32 = Struct(">i").unpack_from
_uint32 = Struct(">I").unpack_from
_frame = Struct(">QQq").unpack_from
_status = Struct(">cQQQqB").pack


class ProtocolError(SorbusError):
    """The server sent what the protocol doesn't allow; the stream can't be trusted."""


class Begin(NamedTuple):
    """A transaction starts: the LSN of its commit record, its time (microseconds since 1970), its xid."""

    final_lsn: int
    committed_at: int
    xid: int


class Commit(NamedTuple):
    """A transaction ends: `end_lsn` is where to go on after it."""

    lsn: int
    end_lsn: int
    committed_at: int


class RelationColumn(NamedTuple):
    name: str
    oid: int
    is_key: bool


class Relation(NamedTuple):
    """A table's layout, sent before its first row and after each change of it. `identity`: d, n, f or i."""

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[RelationColumn, ...]


class Insert(NamedTuple):
    oid: int
    new: Row


class Update(NamedTuple):
    """`old` is there when the key changed ('K', key columns only) or with full identity ('O')."""

    oid: int
    old: Row | None
    is_full: bool
    new: Row


class Delete(NamedTuple):
    oid: int
    old: Row
    is_full: bool


class Truncate(NamedTuple):
    oids: tuple[int, ...]


Message = Begin | Commit | Relation | Insert | Update | Delete | Truncate | None
"""None: a message that changes nothing for us (type, origin, logical message)."""


def read_row(data: bytes, at: int) -> tuple[Row, int]:
    """TupleData: the text values of a row that starts at `at`."""
    count, at = data[at] << 8 | data[at + 1], at + 2
    values: Row = []
    append, length = values.append, _uint32
    for _ in range(count):
        kind = data[at]
        if kind == 116:  # t: text
            at += 5
            end = at + length(data, at - 4)[0]
            append(data[at:end])
            at = end
        elif kind == 110:  # n: null
            append(None)
            at += 1
        elif kind == 117:  # u: unchanged TOAST
            if type(values) is list:
                values = PartialRow(values)
                append = values.append
            append(UNCHANGED)
            at += 1
        else:
            raise ProtocolError(f"a column of kind {chr(kind)!r}: only text values were asked for")
    return values, at


def decode(data: bytes, codec: str = "utf-8") -> Message:
    """One pgoutput message, its names written in `codec`; ProtocolError when it isn't one."""
    try:
        message, at = _relation(data, codec) if data[:1] == b"R" else _decode(data)
    except (IndexError, ValueError, UnicodeDecodeError, struct_error) as error:
        raise ProtocolError(f"message {data[:1]!r} of {len(data)} bytes can't be read: {error}") from error
    if at > len(data):
        raise ProtocolError(f"message {data[:1]!r} ends in the middle of a value")
    return message


def _decode(data: bytes) -> tuple[Message, int]:
    match data[0]:
        case 73:  # I
            new, at = read_row(data, 6)
            return Insert(_oid(data), new), at
        case 85:  # U
            kind = data[5]
            if kind == 78:  # N
                new, at = read_row(data, 6)
                return Update(_oid(data), None, False, new), at
            old, at = read_row(data, 6)
            new, at = read_row(data, at + 1)
            return Update(_oid(data), old, kind == 79, new), at
        case 68:  # D
            old, at = read_row(data, 6)
            return Delete(_oid(data), old, data[5] == 79), at
        case 66:  # B
            _need(data, 21)
            final_lsn, committed_at, xid = _begin(data, 1)
            return Begin(final_lsn, committed_at + _EPOCH_2000, xid), 21
        case 67:  # C
            _need(data, 26)
            _, lsn, end_lsn, committed_at = _commit(data, 1)
            return Commit(lsn, end_lsn, committed_at + _EPOCH_2000), 26
        case 84:  # T
            _need(data, 6)
            (count,) = _uint32(data, 1)
            _need(data, 6 + 4 * count)
            return Truncate(tuple(_uint32(data, 6 + 4 * place)[0] for place in range(count))), 6 + 4 * count
        case 89 | 79 | 77:  # Y type, O origin, M logical message
            return None, len(data)
        case other:
            raise ProtocolError(f"unknown message {chr(other)!r}")


def _relation(data: bytes, codec: str) -> tuple[Relation, int]:
    schema, at = _text(data, 5, codec)
    name, at = _text(data, at, codec)
    identity = chr(data[at])
    (count,) = _int16(data, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        is_key = bool(data[at] & 1)
        column, at = _text(data, at + 1, codec)
        _need(data, at + 8)
        columns.append(RelationColumn(column, _uint32(data, at)[0], is_key))
        at += 8
    return Relation(_oid(data), schema or "pg_catalog", name, identity, tuple(columns)), at


def _text(data: bytes, at: int, codec: str) -> tuple[str, int]:
    end = data.index(b"\0", at)
    return data[at:end].decode(codec, "surrogateescape"), end + 1


def _oid(data: bytes) -> int:
    return int.from_bytes(data[1:5], "big")


def _need(data: bytes, size: int) -> None:
    if len(data) < size:
        raise ProtocolError(f"message {data[:1]!r} of {len(data)} bytes; {size} expected")


class WalData(NamedTuple):
    """A frame with a message: where it is in the log, and where the server's log ends."""

    start: int
    end: int
    message: bytes


class Keepalive(NamedTuple):
    """A frame without: everything before `end` has been sent; `must_reply` when the server wants to hear of us."""

    end: int
    must_reply: bool


def decode_frame(data: bytes) -> WalData | Keepalive:
    """What one CopyData of the replication stream holds."""
    if data[:1] == b"w" and len(data) > 25:
        start, end, _ = _frame(data, 1)
        return WalData(start, end, data[25:])
    if data[:1] == b"k" and len(data) == 18:
        return Keepalive(int.from_bytes(data[1:9], "big"), data[17] == 1)
    raise ProtocolError(f"a replication frame of {len(data)} bytes that begins with {data[:1]!r}")


def mark_lsn(message: bytes) -> int | None:
    """Where the log was when a pgoutput message was written by `mark_log`; None for every other message."""
    is_mark = message[:2] == b"M\0" and message[10:17] == b"sorbus\0" and message[21:] == MARK
    return int.from_bytes(message[2:10], "big") if is_mark else None


def status_update(flushed: int, now: int) -> bytes:
    """Standby status update: everything before `flushed` is safe with us; `now` in microseconds since 1970."""
    return _status(b"r", flushed, flushed, flushed, now - _EPOCH_2000, 0)


def lsn_text(lsn: int) -> str:
    """An LSN as PostgreSQL writes it: 16/B374D848."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> int:
    """The number behind an LSN's text."""
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)
