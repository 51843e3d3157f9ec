"""What a directory says of its changes while they happen (RFC 4533): a thread that keeps one search open.

It only says where to look: each entry named is read again by its identity, and what a refresh doesn't name is looked
for by a list with its proof. So neither a right that was taken away nor a server's own way to resume can delete.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from sorbus.backoff import Backoff
from sorbus.errors import SorbusError, TransientError
from sorbus.ldap.entry_set import EntrySet
from sorbus.ldap.results import REFRESH_REQUIRED
from sorbus.ldap.search import SCOPES, Raw
from sorbus.ldap.session import Directory
from sorbus.ldap.sync_messages import (
    REQUEST,
    EntryState,
    IdSet,
    PhaseEnd,
    SearchEnd,
    SyncMessage,
    message_length,
    read_message,
    request_value,
)

_UNABLE = frozenset({2, 12, 50, 53})
"""Results that say that the server, or our right, allows no such search at all."""
_LOOK_UP = 0.5
"""Seconds after which the thread looks whether it is to end."""
_log = logging.getLogger(__name__)


class Named(NamedTuple):
    """An entry that changed or was deleted, by its identity."""

    id: str
    is_deleted: bool


class ListWanted(NamedTuple):
    """Only a list of all can say what is gone."""

    why: str


class Heard(NamedTuple):
    """Everything before it has been said: the next search can resume here."""

    cookie: bytes


SyncEvent = Named | ListWanted | Heard


class ContentSync:
    """One data type's search. `wake` is called when something was heard."""

    def __init__(self, directory: Directory, entries: EntrySet, cookie: bytes | None, wake: Callable[[], None]) -> None:
        self._directory, self._entries, self._cookie, self._wake = directory, entries, cookie, wake
        self._heard: deque[SyncEvent] = deque()
        self._is_closing = threading.Event()
        self._what = f"{entries.name} of {directory.system}"
        self.is_listening = False
        """Whether changes are heard at once."""
        self._made: Raw | None = None
        self._thread = threading.Thread(target=self._run, name=f"sync {entries.name}", daemon=True)
        self._thread.start()

    def take(self) -> list[SyncEvent]:
        """What was heard since the last call, in order."""
        found: list[SyncEvent] = []
        while self._heard:
            found.append(self._heard.popleft())
        return found

    def close(self) -> None:
        """Ends the search."""
        self._is_closing.set()
        if (made := self._made) is not None:
            with suppress(Exception):  # it is gone either way
                made.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5 * _LOOK_UP)

    def _run(self) -> None:
        backoff = Backoff(0.5, 60.0, limit=60.0)
        while not self._is_closing.is_set():
            began = time.monotonic()
            try:
                if REQUEST not in self._directory.controls:
                    _log.info("%s: the server has no content synchronization; it is polled", self._what)
                    return
                end = self._search()
            except Exception as error:  # noqa: BLE001 - the polls go on whatever happens here
                level = logging.INFO if isinstance(error, SorbusError | OSError) else logging.ERROR
                _log.log(level, "%s: changes aren't heard for now: %s", self._what, error)
                end = None
            self.is_listening = False
            if end is not None and end.code == REFRESH_REQUIRED and self._cookie is not None:
                _log.info("%s: the server can't resume where it was; all is listed", self._what)
                self._cookie = None
                continue
            if end is not None and end.code in _UNABLE:
                _log.warning("%s: no content synchronization (%d %s); it is polled", self._what, end.code, end.words)
                return
            if time.monotonic() - began > 60:
                backoff.reset()
            self._is_closing.wait(backoff.next(None))

    def _search(self) -> SearchEnd | None:
        """Until it ends; None if this process does."""
        made = self._made = self._directory.connect()
        try:
            self._ask(made)
            return self._listen(made)
        finally:
            self._made = None
            with suppress(Exception):  # it is gone either way
                made.strategy.close()

    def _ask(self, made: Raw) -> None:
        from ldap3.operation.search import search_operation

        entries = self._entries
        scope = SCOPES[entries.scope]
        search = search_operation(entries.base, entries.filter, scope, "NEVER", ["1.1"], 0, 0, False, False, False)
        made.socket.begin(self._directory.options.timeout)
        made.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, seconds in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):
                made.socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)
        made.strategy.send("searchRequest", search, [(REQUEST, True, request_value(self._cookie))])

    def _listen(self, made: Raw) -> SearchEnd | None:
        data = bytearray()
        is_first, by_presence = self._cookie is None, False
        while not self._is_closing.is_set():
            length = message_length(bytes(data[:6]))
            if length is None or len(data) < length:
                try:
                    made.socket.begin(_LOOK_UP)
                    part = made.socket.recv(65_536)
                except TimeoutError:
                    continue
                if not part:
                    raise TransientError("the server closed the connection")
                data += part
                continue
            said = read_message(bytes(data[:length]))
            del data[:length]
            if isinstance(said, SearchEnd):
                return said
            if said is not None:
                by_presence |= isinstance(said, PhaseEnd) and said.by_presence
                self._take(said, is_first=is_first, by_presence=by_presence)
                if isinstance(said, PhaseEnd) and said.is_done:
                    is_first = by_presence = False
        return None

    def _take(self, said: SyncMessage, *, is_first: bool, by_presence: bool) -> None:
        """Notes a message. Of the first refresh only its end counts: the list of all is read anyway."""
        if isinstance(said, EntryState) and said.state != "present" and not is_first:
            self._heard.append(Named(said.id, said.state == "delete"))
        elif isinstance(said, IdSet) and said.are_deleted and not is_first:
            self._heard.extend(Named(id, is_deleted=True) for id in said.ids)
        elif isinstance(said, PhaseEnd) and said.is_done:
            self.is_listening = True
            if is_first or by_presence:
                why = "it is heard for the first time" if is_first else "the server names only what is still there"
                self._heard.append(ListWanted(why))
        # A cookie inside a refresh would resume without what that hasn't named yet.
        if (cookie := getattr(said, "cookie", None)) is not None and self.is_listening:
            self._cookie = cookie
            self._heard.append(Heard(cookie))
        self._wake()
