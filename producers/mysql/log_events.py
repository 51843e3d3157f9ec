"""The binary log's events from their bytes; no I/O (MySQL Internals, "Binary Log"; MariaDB, "Replication Protocol").

Only what capturing needs is read. Rows keep their bytes: `row_images.py` reads them by their table's description.
"""

from __future__ import annotations

import zlib
from struct import Struct
from struct import error as StructError  # noqa: N812 - an exception
from typing import NamedTuple

_HEADER = Struct("<IBIIIH")
_QUERY_HEAD = Struct("<IIBHH")
_MARIADB_GTID = Struct("<QIB")
_LARGEST = 1 << 30
"""Bytes that a compressed part may have: the most that a server lets a row have."""

QUERY, ROTATE, FORMAT, XID, TABLE_MAP = 2, 4, 15, 16, 19
_WRITES = {23: "insert", 30: "insert", 166: "insert", 169: "insert"}
_UPDATES = {24: "update", 31: "update", 167: "update", 170: "update"}
_DELETES = {25: "delete", 32: "delete", 168: "delete", 171: "delete"}
_ROWS = {**_WRITES, **_UPDATES, **_DELETES}
_WITH_EXTRA = {30, 31, 32, 169, 170, 171}
_COMPRESSED_ROWS = range(166, 172)
_GTID, _ANONYMOUS, _XA_PREPARE, _PARTIAL_UPDATE, _PAYLOAD, _TAGGED_GTID = 33, 34, 38, 39, 40, 42
_MARIADB_GTID_EVENT, _ENCRYPTION, _COMPRESSED_QUERY = 162, 164, 165
_INCIDENT, _IGNORABLE, _OF_SESSION = 26, 0x80, 0x04
_HARMLESS = {3, 5, 13, 14, 17, 27, 28, 29, 35, 36, 37, 41, 160, 161, 163}
"""Ends of files, variables of the statement that follows, bytes of a file that is loaded, notes, heartbeats."""
_UNREADABLE = {
    _INCIDENT: "a gap: the server couldn't log all that was written (an incident event)",
    _PARTIAL_UPDATE: "an update that names only parts of a JSON value (binlog_row_value_options=PARTIAL_JSON)",
    _PAYLOAD: "a compressed transaction (binlog_transaction_compression=ON)",
    _ANONYMOUS: "a transaction without a GTID (gtid_mode isn't ON)",
    _TAGGED_GTID: "a transaction with a tagged GTID",
    _ENCRYPTION: "an encrypted part",
}


class BadEvent(ValueError):
    """An event that isn't as the format says: nothing after it can be trusted."""


class Rotate(NamedTuple):
    """The log continues in another file."""

    file: str
    position: int


class Format(NamedTuple):
    """A file begins: tables' numbers of before count no more. `has_checksums`: its events end in one."""

    has_checksums: bool


class LogGtid(NamedTuple):
    """A transaction begins. `committed_at`: microseconds since 1970; `is_alone`: no commit follows (DDL)."""

    gtid: str
    committed_at: int
    is_alone: bool
    is_prepared: bool


class Statement(NamedTuple):
    """A statement: BEGIN and COMMIT, DDL, or DML of a session that doesn't log rows. `is_of_session`: it may be about
    temporary tables, which hide others of their names.
    """

    database: str
    text: str
    is_of_session: bool = False


class Committed(NamedTuple):
    """The transaction's end."""


class Prepared(NamedTuple):
    """The end of an XA transaction's first half: its rows count only if its second half commits them."""


class TableDescription(NamedTuple):
    """A table's columns at this moment, for the row events that follow."""

    number: int
    database: str
    table: str
    body: bytes
    """From the number of columns on."""


class LogRows(NamedTuple):
    """Rows of a table: `kind` insert, update or delete; `body` begins with the number of columns."""

    kind: str
    table: int
    body: bytes
    is_compressed: bool
    is_last: bool


class Unreadable(NamedTuple):
    """What this release can't read, in words."""

    what: str


class Other(NamedTuple):
    """Nothing that matters."""


Body = Rotate | Format | LogGtid | Statement | Committed | Prepared | TableDescription | LogRows | Unreadable | Other


class LogEvent(NamedTuple):
    """An event. `end`: its end in the file (0: it isn't in the file); `at`: seconds since 1970."""

    at: int
    end: int
    body: Body
    size: int


def read_event(data: bytes, *, has_checksum: bool) -> LogEvent:
    """An event, with a checksum (CRC-32) at its end or not; a file's first event says it itself. BadEvent."""
    try:
        at, kind, server, size, end, flags = _HEADER.unpack_from(data)
        if size != len(data):
            raise BadEvent(f"an event of {size} bytes came with {len(data)}")
        if kind == FORMAT:
            return LogEvent(at, end, Format(data[-5] == 1), size)
        if has_checksum:
            if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
                raise BadEvent(f"an event's checksum is wrong (at {end} of the log)")
            data = data[:-4]
        body = _body(kind, server, at, data[19:], can_ignore=bool(flags & _IGNORABLE))
        if isinstance(body, Statement) and flags & _OF_SESSION:
            body = body._replace(is_of_session=True)
        return LogEvent(at, end, body, size)
    except (StructError, IndexError, UnicodeDecodeError, zlib.error) as error:
        raise BadEvent(f"an event isn't as the log's format says ({error})") from error


def _body(kind: int, server: int, at: int, body: bytes, *, can_ignore: bool) -> Body:
    if kind in _ROWS:
        start = 8
        if kind in _WITH_EXTRA:
            start += int.from_bytes(body[8:10], "little")
        flags = int.from_bytes(body[6:8], "little")
        number = int.from_bytes(body[:6], "little")
        return LogRows(_ROWS[kind], number, body[start:], kind in _COMPRESSED_ROWS, bool(flags & 1))
    match kind:
        case 19:
            return _table(body)
        case 33:
            return _mysql_gtid(at, body)
        case 162:
            return _mariadb_gtid(server, at, body)
        case 2 | 165:
            return _statement(body, is_compressed=kind == _COMPRESSED_QUERY)
        case 18:
            return _statement(body, more=13)
        case 16:
            return Committed()
        case 38:
            return Prepared()
        case 4:
            return Rotate(body[8:].decode(), int.from_bytes(body[:8], "little"))
        case _:
            if kind in _HARMLESS or (can_ignore and kind not in _UNREADABLE):
                return Other()
            return Unreadable(_UNREADABLE.get(kind, f"an event of a kind that isn't known ({kind})"))


def _table(body: bytes) -> TableDescription:
    number, at = int.from_bytes(body[:6], "little"), 8
    size = body[at]
    database = body[at + 1 : at + 1 + size].decode()
    at += size + 2
    size = body[at]
    table = body[at + 1 : at + 1 + size].decode()
    return TableDescription(number, database, table, body[at + size + 2 :])


def _mysql_gtid(at: int, body: bytes) -> LogGtid:
    sid, number = body[1:17].hex(), int.from_bytes(body[17:25], "little")
    committed_at = at * 1_000_000
    if len(body) >= 49 and body[25] == 2:  # the second kind of logical clock: its two numbers, then commit times
        committed_at = int.from_bytes(body[42:49], "little") & ((1 << 55) - 1)
        if int.from_bytes(body[42:49], "little") >> 55 and len(body) >= 56:  # as its first server had it
            committed_at = int.from_bytes(body[49:56], "little")
    name = f"{sid[:8]}-{sid[8:12]}-{sid[12:16]}-{sid[16:20]}-{sid[20:]}:{number}"
    return LogGtid(name, committed_at, is_alone=False, is_prepared=False)


def _mariadb_gtid(server: int, at: int, body: bytes) -> LogGtid:
    sequence, domain, flags = _MARIADB_GTID.unpack_from(body)
    return LogGtid(
        f"{domain}-{server}-{sequence}", at * 1_000_000, is_alone=bool(flags & 1), is_prepared=bool(flags & 64)
    )


def _statement(body: bytes, *, is_compressed: bool = False, more: int = 0) -> Statement:
    """`more`: bytes between its head and its variables, as LOAD DATA has them."""
    _, _, size, _, status = _QUERY_HEAD.unpack_from(body)
    at = 13 + more + status
    database = body[at : at + size].decode(errors="replace")
    text = body[at + size + 1 :]
    return Statement(database, (inflated(text) if is_compressed else text).decode(errors="replace"))


def inflated(data: bytes) -> bytes:
    """What MariaDB has compressed: a byte with the algorithm and the size of the length, the length, then zlib."""
    head = data[0]
    if head & 0xF0 != 0x80:
        raise BadEvent(f"a part is compressed in a way that isn't known (0x{head:02x})")
    width = head & 7
    size = int.from_bytes(data[1 : 1 + width], "big")
    if size > _LARGEST:
        raise BadEvent(f"a compressed part is said to have {size:,} bytes")
    opened = zlib.decompressobj()
    found = opened.decompress(data[1 + width :], size + 1)
    if len(found) != size:
        raise BadEvent(f"a compressed part has {len(found):,} bytes in place of {size:,}")
    return found
