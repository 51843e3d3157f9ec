"""The server's binary log as it comes: a connection that is a replica's, read by a thread into a bounded queue.

The protocol is COM_BINLOG_DUMP (MariaDB: from @slave_connect_state) or COM_BINLOG_DUMP_GTID (MySQL). The server sends
a heartbeat while nothing happens, so that a connection without answers is known to be broken.
"""

from __future__ import annotations

import queue
import struct
import threading
import time
from typing import cast
from zlib import crc32

from sorbus.errors import AuthError, LostPosition, TransientError
from sorbus.mysql.connection import MysqlConnection, Session, mysql_errors
from sorbus.mysql.faults import as_error, number_of, words_of
from sorbus.producers.mysql.gtids import Gtids, MysqlGtids
from sorbus.producers.mysql.log_events import BadEvent, Format, LogEvent, read_event

_DUMP, _DUMP_GTID = 0x12, 0x1E
_THROUGH_GTID = 4
_HEARTBEAT = 5
"""Seconds without events after which the server says that it is there."""
_SILENCE = 30
"""Seconds without anything after which the connection counts as broken."""
_MOST_BYTES = 16_000_000
"""Bytes that wait to be taken."""
_MASTER_FATAL = 1236
"""The server can't send the log from there: purged, unknown, or it isn't a log at all."""


class LogStream:
    """Events from behind `gtids` on. Closing ends it at once."""

    def __init__(self, connection: MysqlConnection, system: str, topic_prefix: str, gtids: Gtids) -> None:
        """TransientError, AuthError."""
        self._session = Session(connection, "produce", answer_within=_SILENCE)
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(20_000)
        self._bytes, self._taken = 0, threading.Condition()
        self._is_closed = False
        number = connection.replica_id or (1_000_000_000 + crc32(f"{topic_prefix}/{system}".encode()) % 3_000_000_000)
        try:
            with mysql_errors(f"reading the log of {system}"):
                self._begin(gtids, number)
        except BaseException:
            self._session.close()
            raise
        self._system = system
        self._thread = threading.Thread(target=self._read, name=f"log of {system}", daemon=True)
        self._thread.start()

    def _begin(self, gtids: Gtids, number: int) -> None:
        session = self._session
        session.execute("set @master_heartbeat_period = %s", [_HEARTBEAT * 1_000_000_000])
        session.execute("set @source_heartbeat_period = %s", [_HEARTBEAT * 1_000_000_000])
        session.execute(
            "set @master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = @@global.binlog_checksum"
        )
        self._has_checksums = session.value("select @@global.binlog_checksum") == "CRC32"
        if isinstance(gtids, MysqlGtids):
            encoded = gtids.encoded()
            body = struct.pack("<HII", _THROUGH_GTID, number, 0) + struct.pack("<QI", 4, len(encoded)) + encoded
            self._send(_DUMP_GTID, body)
            return
        session.execute("set @mariadb_slave_capability = 4")
        session.execute("set @slave_connect_state = %s", [str(gtids)])
        session.execute("set @slave_gtid_strict_mode = 1, @slave_gtid_ignore_duplicates = 0")
        self._send(_DUMP, struct.pack("<IHI", 4, 0, number))

    def _send(self, command: int, body: bytes) -> None:
        raw = self._session.raw
        raw._write_bytes(struct.pack("<I", len(body) + 1) + bytes([command]) + body)
        raw._next_seq_id = 1

    def _read(self) -> None:
        raw = self._session.raw
        try:
            while not self._is_closed:
                data = cast("bytes", raw._read_packet().get_all_data())
                if data[:1] == b"\xfe" and len(data) < 9:
                    raise TransientError(f"reading the log of {self._system}: the server has ended it")
                if data[:1] != b"\0":
                    raise BadEvent(f"a packet begins with {data[:1]!r}")
                with self._taken:
                    self._bytes += len(data)
                    while self._bytes > _MOST_BYTES and self._bytes > len(data) and not self._is_closed:
                        self._taken.wait(1.0)
                self._put(data[1:])
        except BaseException as error:  # noqa: BLE001 - whatever it is, the reading side has to know
            self._put(error)

    def _put(self, what: bytes | BaseException) -> None:
        while not self._is_closed:
            try:
                return self._queue.put(what, timeout=1.0)
            except queue.Full:
                continue
        return None

    def next(self, wait: float) -> LogEvent | None:
        """The next event; None where none came within `wait` seconds.

        TransientError, AuthError; LostPosition: the server hasn't got the log from there on. BadEvent.
        """
        deadline = time.monotonic() + wait
        while True:
            try:
                found = (
                    self._queue.get(timeout=max(0.0, deadline - time.monotonic())) if wait else self._queue.get_nowait()
                )
            except queue.Empty:
                return None
            if isinstance(found, bytes):
                with self._taken:
                    self._bytes -= len(found) + 1
                    self._taken.notify()
                event = read_event(found, has_checksum=self._has_checksums)
                if isinstance(event.body, Format):
                    self._has_checksums = event.body.has_checksums
                return event
            raise self._fault(found)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be taken."""
        return self._queue.empty()

    def _fault(self, error: BaseException) -> BaseException:
        if isinstance(error, TransientError | BadEvent):
            return error
        doing = f"reading the log of {self._system}"
        if number_of(error) == _MASTER_FATAL:
            words = words_of(error)
            if "server_id" in words or "server_uuid" in words:
                return TransientError(
                    f"{doing}: {words}: give it another `replica_id:` in its connection, or end the other reader"
                )
            return LostPosition(f"{doing}: {words}")
        if isinstance(error, (OSError, ValueError, AttributeError, IndexError)) or number_of(error) == 0:
            return TransientError(f"{doing}: the connection broke: {error}")
        found = as_error(error, doing)
        return found if isinstance(found, AuthError | TransientError) else TransientError(str(found))

    def close(self) -> None:
        """Disconnects; what waits is dropped."""
        self._is_closed = True
        self._session.close()
        with self._taken:
            self._taken.notify_all()
        self._thread.join(5.0)
