"""What the console knows of how everything is: measured by one thread, however many pages are open.

Pages read `measured`; browsers hear by server-sent events that something has changed, and fetch what they show.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable

from sorbus.errors import AuthError, SorbusError, TransientError
from sorbus.ops.console.template_filters import Point
from sorbus.ops.monitoring.measure import Measurement
from sorbus.ops.monitoring.problems import DEPENDENCIES, clock, moment_with_zone

FLOWS = "the flows"
"""What measuring is called among the troubles."""
_REFUSED_FOR = 900.0
"""Seconds until a refused login is tried again: every few seconds would lock the account."""
REMEMBERED = 200
"""Measurements of each flow, for its page."""

_log = logging.getLogger(__name__)


class Live:
    """Measures every few seconds while its `with` block lasts.

    `look` measures once. What `each_round` adds is done before it; what `after_each` adds, between measuring and
    showing what was measured: an index that pages read then has all that the figures count. Each has a name for people.
    """

    def __init__(self, look: Callable[[], Measurement], *, every: float = 3.0) -> None:
        self._look, self._every = look, every
        self._before: list[tuple[str, Callable[[], object]]] = []
        self._after: list[tuple[str, Callable[[], object]]] = []
        self._stop, self._soon = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._lock = threading.Lock()
        self._readers: set[tuple[asyncio.AbstractEventLoop, asyncio.Queue[int]]] = set()
        self._newest: Measurement | None = None
        self.measured: Measurement | None = None
        self.history: dict[str, tuple[Point, ...]] = {}
        """Flow -> the last measurements, oldest first."""
        self.troubles: dict[str, str] = {}
        """What could not be asked -> why, in plain words."""
        self.began: dict[str, float] = {}
        """Since when it could not (seconds since 1970)."""
        self._refused_until: dict[str, float] = {}
        self.missing: dict[str, str] = {}
        """What was missing for it, as a TransientError names it: kafka, registry, state."""
        self.version = 0
        """Grows with every round."""

    def each_round(self, name: str, work: Callable[[], object]) -> None:
        """Has `work` done in every round from now on; whatever it raises is shown as trouble with `name`."""
        self._before.append((name, work))

    def after_each(self, name: str, work: Callable[[], object]) -> None:
        """As `each_round`, once the figures are measured and before they are shown."""
        self._after.append((name, work))

    def is_refused(self) -> bool:
        """Whether a login was refused that is not tried again for now."""
        return any(time.monotonic() < until for until in self._refused_until.values())

    def look_again(self) -> None:
        """Asks for a round now: a person has done something and wants to see it."""
        self._soon.set()

    def is_alive(self) -> bool:
        """Whether it still measures; if not, the process isn't well."""
        return self._thread.is_alive()

    def __enter__(self) -> Live:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._soon.set()
        if self._thread.is_alive():
            self._thread.join(30)

    async def changes(self) -> AsyncIterator[int]:
        """The version after each round, until `end`; a slow reader gets the newest only."""
        reader = asyncio.get_running_loop(), asyncio.Queue[int](1)
        with self._lock:
            self._readers.add(reader)
        try:
            while (version := await reader[1].get()) >= 0:
                yield version
        finally:
            with self._lock:
                self._readers.discard(reader)

    def end(self) -> None:
        """Ends all `changes`: the server stops."""
        self._tell(-1)

    def _run(self) -> None:
        while not self._stop.is_set():
            for name, work in (*self._before, (FLOWS, self._measure), *self._after):
                self._do(name, work)
            self._show()
            self.version += 1
            self._tell(self.version)
            self._soon.wait(self._every)
            self._soon.clear()

    def _measure(self) -> None:
        self._newest = self._look()

    def _show(self) -> None:
        if (measured := self._newest) is None or measured is self.measured:
            return
        self.measured = measured
        for flow in measured.flows:
            points = self.history.setdefault(flow.flow, ())
            self.history[flow.flow] = (*points[1 - REMEMBERED :], Point(measured.at, flow.lag_records))

    def _do(self, name: str, work: Callable[[], object]) -> None:
        if time.monotonic() < self._refused_until.get(name, 0.0):
            return
        try:
            work()
        except SorbusError as error:
            self._note(name, error.dependency if isinstance(error, TransientError) else "")
            if isinstance(error, AuthError) and error.lockout:
                self._refused_until[name] = time.monotonic() + _REFUSED_FOR
            if self.troubles.get(name) != str(error):  # once per reason, not once per round
                _log.warning("the console can't read something", extra={"what": name, "reason": str(error)})
            self.troubles = {**self.troubles, name: str(error)}
        except Exception as error:  # noqa: BLE001  # whatever one round meets, the thread must outlive it
            self._note(name, "")
            said = f"the console failed ({type(error).__name__}); its log says where"
            if self.troubles.get(name) != said:
                _log.exception("the console failed at reading something", extra={"what": name})
            self.troubles = {**self.troubles, name: said}
        else:
            self.troubles = {known: why for known, why in self.troubles.items() if known != name}
            self.began.pop(name, None)

    def _note(self, name: str, missing: str) -> None:
        self.began.setdefault(name, time.time())
        self.missing[name] = missing

    def unknown(self, name: str) -> str:
        """What is wrong with `name`, for a small place: Kafka unreachable since 13:20 UTC. Empty if nothing is."""
        if (began := self.began.get(name)) is None:
            return ""
        if (missing := self.missing.get(name, "")) in DEPENDENCIES:
            return f"{DEPENDENCIES[missing].partition(' (')[0]} unreachable since {clock(began)}"
        return f"unknown since {clock(began)}: measuring fails"

    def told(self, name: str) -> str:
        """The same in whole words, with the reason where no measured problem gives it."""
        since = moment_with_zone(self.began.get(name, time.time()))
        if (missing := self.missing.get(name, "")) in DEPENDENCIES:
            is_measured = self.measured is not None and self.measured.problem(missing, "dependency") is not None
            why = "" if is_measured else f", because {self.troubles.get(name, '')}"
            return f"{DEPENDENCIES[missing]} is unreachable since {since}{why}"
        return f"{name} has been unavailable since {since}: {self.troubles.get(name, '')}"

    def _tell(self, version: int) -> None:
        with self._lock:
            readers = tuple(self._readers)
        for loop, queue in readers:
            try:
                loop.call_soon_threadsafe(_put_newest, queue, version)
            except RuntimeError:  # its loop has ended, and so has the reader
                with self._lock:
                    self._readers.discard((loop, queue))


def _put_newest(queue: asyncio.Queue[int], version: int) -> None:
    if queue.full() and queue.get_nowait() < 0:
        version = -1
    queue.put_nowait(version)
