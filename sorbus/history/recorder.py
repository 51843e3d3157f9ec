"""Counts what a loop does, and writes it in the background, a window a minute.

The loop never waits: it adds to counters in memory, and a thread writes them. While the database is away windows
pile up, the oldest joined with the next once there are many. A crash loses what was counted since the last window
was written, at most a minute; the run then has no end, which shows.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections import defaultdict
from types import TracebackType
from typing import Self

from sorbus.drift.watch import has_state
from sorbus.errors import SorbusError
from sorbus.history.store import HistoryStore, HistoryWindow, RunName
from sorbus.settings import Settings
from sorbus.state.database import State

EVERY = 60.0
"""Seconds of one window."""
MOST = 1440
"""Windows that are kept in memory while they can't be written."""
_DELETE_EVERY = 3600.0
_ENDING = 3.0
_log = logging.getLogger(__name__)


class HistoryRecorder:
    """One run of one process; begin and end it as a context. `store` None: nothing is kept."""

    def __init__(self, activity: str, subject: str, store: HistoryStore | None, *, every: float = EVERY) -> None:
        now = time.time()
        instance = f"{socket.gethostname()}:{os.getpid()}"
        self._run = RunName(uuid.uuid4().hex, activity, subject, instance, now)
        self._store, self._every = store, every
        self._lock = threading.Lock()
        self._began = now
        self._counts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._waiting: list[HistoryWindow] = []
        self._is_ending = threading.Event()
        self._delete_at = 0.0
        self._reason = ""
        self._thread = threading.Thread(target=self._write_on, name="history", daemon=True)

    @classmethod
    def of(cls, activity: str, subject: str, topic_prefix: str) -> Self:
        """With the state that SORBUS_DATABASE names, if it names one."""
        return cls(activity, subject, HistoryStore(State.of(topic_prefix)) if has_state(Settings()) else None)

    def add(self, data_type: str, **counts: float) -> None:
        """Counts: the names of `sorbus.history.store.COUNTS`. Returns at once and raises nothing."""
        if self._store is None:
            return
        with self._lock:
            sums = self._counts[data_type]
            for name, count in counts.items():
                if count:
                    sums[name] += count

    def __enter__(self) -> Self:
        if self._store is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_ending.set()
        if self._store is not None:
            self._thread.join(_ENDING)

    def _write_on(self) -> None:
        while not self._is_ending.wait(self._every):
            self._write(is_over=False)
        self._write(is_over=True)

    def _write(self, *, is_over: bool) -> None:
        assert self._store is not None
        now = time.time()
        with self._lock:
            self._waiting += [
                HistoryWindow(data_type, self._began, now, dict(sums)) for data_type, sums in self._counts.items()
            ]
            self._counts.clear()
            self._began = now
            while len(self._waiting) > MOST:
                self._join_oldest()
            windows = list(self._waiting)
        try:
            self._store.put(self._run, windows, now, is_over=is_over)
        except SorbusError as error:
            if str(error) != self._reason:  # once per reason
                _log.warning("history is not written for now: %s", error)
            self._reason = str(error)
            return
        except Exception:  # noqa: BLE001 - counts are never worth a flow
            _log.exception("history can't be written")
            return
        self._reason = ""
        del self._waiting[: len(windows)]
        if not is_over and time.monotonic() >= self._delete_at:
            self._delete_at = time.monotonic() + _DELETE_EVERY
            self._delete_outdated()

    def _delete_outdated(self) -> None:
        """What the state keeps for a while only. Some process always runs; one that can't leaves it to the next."""
        assert self._store is not None
        try:
            self._store.delete_outdated(self._is_ending.is_set)
        except SorbusError as error:
            _log.info("what is outdated in the state database stays for now: %s", error)
        except Exception:  # noqa: BLE001 - as above
            _log.exception("what is outdated in the state database can't be deleted")

    def _join_oldest(self) -> None:
        first = self._waiting.pop(0)
        place = next((at for at, one in enumerate(self._waiting) if one.data_type == first.data_type), None)
        if place is None:
            self._waiting.append(first)
            return
        later = self._waiting[place]
        names = first.counts.keys() | later.counts.keys()
        sums = {name: first.counts.get(name, 0) + later.counts.get(name, 0) for name in names}
        self._waiting[place] = HistoryWindow(first.data_type, first.began, later.ended, sums)


NO_HISTORY = HistoryRecorder("delivery", "", None)
