"""One data type's polls: when to read what, one answered question at a time, and its part of the position."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, cast

from pydantic import JsonValue

from sorbus.api.description import ApiResource
from sorbus.api.interface import Api, Page, Record
from sorbus.avro.encode import EPOCH
from sorbus.connector import BoundSource, Published, Sweep
from sorbus.drift.watch import DriftWatch
from sorbus.errors import AuthError, PermanentError, SorbusError, TransientError, Unfinished
from sorbus.map.timing import longest_pause
from sorbus.producers.http.drift import RecordWatch
from sorbus.producers.http.memory import Memory
from sorbus.producers.http.options import HttpSource
from sorbus.producers.http.poll import UNREADABLE, AskPage, AskRecord, Copying, Found, PollState, Steps
from sorbus.producers.http.reader import Reader
from sorbus.producers.http.rules import fingerprint, rules_of, updated_of
from sorbus.producers.http.shape import RecordShape
from sorbus.telemetry.metrics import PollMetrics

TRIES = 3
"""How often a record that a webhook named is asked for before it is left to the polls."""
_SOONEST = 0.5
"""Seconds after which what failed once is tried again; twice as long after each further time, up to `_LONGEST`."""
_LONGEST = 60.0
_SHOW_LIFE = 0.5
"""Seconds after which the loop gets its turn, answered or not."""
_log = logging.getLogger(__name__)
Job = Literal["changes", "everything"]


@dataclass(slots=True)
class _Run:
    """A way to read, under way: the question that waits for its answer, and what has come of it so far."""

    steps: Steps
    began: float
    question: AskPage | AskRecord | None = None
    is_over: bool = False
    read: int = 0
    published: int = 0

    def go_on(self, answer: Page | Record | None) -> Found | None:
        """Gives the answer; what was found, or None with the next question in place, or when it is over."""
        self.question = None
        try:
            said = self.steps.send(answer)
        except StopIteration:
            self.is_over = True
            return None
        except TransientError:
            self.is_over = True
            raise
        if isinstance(said, Found):
            self.read += said.read
            self.published += len(said.changes)
            return said
        self.question = said
        return None


class Track:
    """Polls one resource for one data type. Times are Unix seconds by our clock: they only say when to look."""

    def __init__(
        self, source: BoundSource, system: str, resource: ApiResource, *, clock: Callable[[], float] = time.time
    ) -> None:
        """MapError where the mapping doesn't fit. Talks to nobody before `step`."""
        options = source.options
        assert isinstance(options, HttpSource)
        self.name, self.resource = source.name, options.resource
        self._options, self._clock = options, clock
        self._what = f"{options.resource} of {system}"
        self._lists_by_changes = resource.list is None
        rules = rules_of(options, resource, self._what)
        shape = RecordShape(source, system, resource)
        self._watch = RecordWatch(source.name, options.resource, shape.assignments, source.schema)
        self.is_done = False
        self._memory = Memory(
            source.name, self._watch.watched(shape.encode), updated_of(resource), can_look=rules.can_look
        )
        self._reader = Reader(rules, self._memory, PollState(), lambda: int(clock() * 1_000_000))
        self._shape, self._listed_shape = fingerprint(source, resource), ""
        self._runs: dict[Job, _Run] = {}
        self._next: dict[Job, float] = {"changes": 0.0, "everything": 0.0}
        self._not_before, self._faults = 0.0, 0
        self._told: dict[str, bool] = {}
        self._always: list[JsonValue] = []
        self._look: _Run | None = None
        self._tries = 0
        self._metrics: PollMetrics | None = None
        self._system = system
        self._floor: int | None = None
        self._is_swept = False

    def take_over(self, floor: int) -> None:
        """With the next `restore` it begins anew, above this version; once all is listed, the rest is swept."""
        self._floor = floor

    def sweep(self) -> Sweep | None:
        """What is to be swept, once, after the list that was to come first."""
        if self._floor is None or not self._is_swept:
            return None
        sweep = Sweep(self.name, self._floor + 1, int(self._clock() * 1_000_000), spares_rejected=True)
        self._memory.deleted_version = max(self._memory.deleted_version, sweep.version)
        self._floor, self._is_swept = None, False
        return sweep

    def remember(self, published: Iterable[Published]) -> None:
        """What is on the topic."""
        self._memory.remember(published)

    def restore(self, stored: JsonValue) -> None:
        """Goes on where `position` said; None: from the beginning."""
        self._metrics = PollMetrics(self._system, self.name, period=longest_pause(self._options.every))
        found = cast("dict[str, object]", stored) if isinstance(stored, dict) and self._floor is None else {}
        copying = cast("list[object] | None", found.get("copying"))
        state = self._reader.state
        state.cursor, state.compared_at = _whole(found.get("cursor")), _whole(found.get("compared_at"))
        state.newest = _whole(found.get("newest"))
        state.copying = Copying(str(copying[0]), _whole(copying[1]), _whole(copying[2]) or 0) if copying else None
        self._memory.deleted_version = _whole(found.get("deleted_version")) or 0
        self._floor = _whole(found.get("floor")) if self._floor is None else self._floor
        if self._floor is not None:
            self._memory.begin_above(self._floor)
        self._listed_shape = str(found.get("shape", ""))
        self._always = [str(path) for path in cast("list[JsonValue]", found.get("always") or [])]
        if state.compared_at is not None and self._polls_changes and self._listed_shape == self._shape:
            self._next["everything"] = self._next_compare(state.compared_at / 1_000_000)

    def begin(self, drift: DriftWatch) -> None:
        """From now on records are compared with how they looked before; called after `restore`."""
        self._watch.begin(drift, map(str, self._always))

    def position(self) -> JsonValue:
        """Where to go on, as JSON."""
        state, copying = self._reader.state, self._reader.state.copying
        return {
            "cursor": state.cursor,
            "compared_at": state.compared_at,
            "newest": state.newest,
            "copying": None if copying is None else [copying.after, copying.newest, copying.records],
            "deleted_version": self._memory.deleted_version,
            "floor": self._floor,
            "shape": self._listed_shape,
            "always": list(sorted(self._watch.always) or self._always),
        }

    def recopy(self) -> None:
        """Publishes every record again, with the next list."""
        self._memory.doubt_all()
        self._next["everything"] = 0.0

    def list_anew(self) -> None:
        """Reads every record, sooner than it would."""
        self._next["everything"] = 0.0

    def hear(self, id: str, *, deleted: bool) -> None:
        """A record is said to have changed, or to be gone."""
        self._told[id] = deleted

    @property
    def is_told(self) -> bool:
        """Whether there are records to look at."""
        return bool(self._told) or self._look is not None

    def due_at(self) -> float:
        """When there is something to do."""
        soonest = 0.0 if self._runs else min(self._due("changes"), self._due("everything"))
        return max(soonest, self._not_before)

    def look(self, api: Api) -> Found | None:
        """Looks at a record that it was told of; None when it takes long: call again. Errors as in `step`.

        What can't be read, again and again, is left to the polls, which don't rely on having been told.
        """
        if self._look is None:
            self._look = _Run(self._reader.records(list(self._told.items())), self._clock())
            self._told = {}
        try:
            found = self._answered(api, self._look)
        except TransientError as error:
            self._tries += 1
            if self._tries < TRIES:
                self._pause(error)
                raise
            question = self._look.question
            assert isinstance(question, AskRecord)
            _log.warning("%s: %s, which a webhook named, can't be read; a poll will show it", self._what, question.id)
            self._next["changes" if self._polls_changes else "everything"] = 0.0
            found = self._look.go_on(UNREADABLE)
        if found is not None:
            self._tries = 0
        if self._look.is_over:
            self._look, found = None, found or Found()
            if self._reader.wants_list:
                self._reader.wants_list, self._next["everything"] = False, 0.0
        return found

    def step(self, api: Api) -> Found | None:
        """Reads on until something is found; None when it takes long, or a poll is done: `is_done` says which.

        TransientError, Unfinished (both go on from there when it is called again), AuthError.
        """
        job = self._job()
        run = self._runs[job]
        try:
            found = self._answered(api, run)
        except TransientError as error:
            self._not_before = self._clock() + self._pause(error)
            if run.is_over:  # the list wasn't believed, or its page is no longer known
                del self._runs[job]
                self._next[job] = self._next_poll()
            raise
        self.is_done = run.is_over
        if run.is_over:
            self._done(job, run)
        return found

    @property
    def _polls_changes(self) -> bool:
        return self._reader.rules.has_changes and self._reader.state.cursor is not None

    def _due(self, job: Job) -> float:
        return float("inf") if job == "changes" and not self._polls_changes else self._next[job]

    def _job(self) -> Job:
        """What to go on with: changes first, so that a long list doesn't keep them waiting."""
        now = self._clock()
        if "changes" not in self._runs and self._due("changes") <= now:
            self._runs["changes"] = _Run(self._reader.changes(), now)
        if "everything" not in self._runs and self._due("everything") <= now:
            self._watch.begin_list()
            self._runs["everything"] = _Run(self._reader.everything(), now)
        return "changes" if "changes" in self._runs else "everything"

    def _done(self, job: Job, run: _Run) -> None:
        del self._runs[job]
        self._next[job] = self._next_poll()
        if job == "everything":
            self._watch.end_list()
            again = self._reader.again
            if again:
                self._next[job] = 0.0
            elif again is None:
                self._listed_shape = self._shape
                self._is_swept = True
                if self._polls_changes:
                    self._next[job] = self._next_compare(run.began)
        seconds = self._clock() - run.began
        assert self._metrics is not None
        self._metrics.polled(run.read, seconds)
        way = "polled" if job == "changes" else "listed"
        _log.info("%s: %s, %d read, %d published, %.1f s", self._what, way, run.read, run.published, seconds)

    def _next_poll(self) -> float:
        moment = self._options.polls.next_after(datetime.fromtimestamp(self._clock(), UTC))
        assert moment is not None
        return moment.timestamp()

    def _next_compare(self, compared_at: float) -> float:
        compares = self._options.compares
        if compares is None:
            return float("inf")
        if compares.every is not None:  # not at the same hour for all
            return compared_at + compares.every.total_seconds()
        moment = compares.next_after(datetime.fromtimestamp(compared_at, UTC))
        assert moment is not None
        return moment.timestamp()

    def _answered(self, api: Api, run: _Run) -> Found | None:
        """Answers questions until something is found; None when it is over, or after a while."""
        until = time.monotonic() + _SHOW_LIFE
        found = None if run.question is not None else run.go_on(None)
        while found is None and run.question is not None and time.monotonic() < until:
            answer = self._ask(api, run)
            self._faults = 0
            found = run.go_on(answer)
        return found

    def _pause(self, error: TransientError) -> float:
        """Seconds to wait after a fault, said to the loop too: only faults with no answer in between make it longer."""
        self._faults += 1
        growing = _SOONEST * 2.0 ** min(self._faults - 1, 7) * (1 + random.random()) / 2  # noqa: S311
        error.retry_after = min(error.retry_after or growing, _LONGEST)
        return error.retry_after

    def _ask(self, api: Api, run: _Run) -> Page | Record | None:
        question = run.question
        assert question is not None
        try:
            if isinstance(question, AskRecord):
                itself = api.get(self.resource, question.id)
                if itself is None:
                    return None
                self._reader.rules.id_of(itself.record)  # without an id it isn't as described, and is asked for again
                return itself.record
            since = question.since if question.since is not None or not self._lists_by_changes else 0
            moment = None if since is None else EPOCH + timedelta(microseconds=since)
            return api.page(self.resource, since=moment, after=question.after)
        except (TransientError, AuthError, Unfinished):
            raise
        except PermanentError as error:
            if isinstance(question, AskRecord):
                _log.warning("%s: %s can't be looked at: %s", self._what, question.id, error)
                return UNREADABLE
            raise self._refused(run, error) from error
        except SorbusError as error:
            raise self._refused(run, error) from error

    def _refused(self, run: _Run, error: SorbusError) -> TransientError:
        """A list that can't go on is begun again: its pages may have been forgotten."""
        run.is_over = True
        self._reader.state.copying = None
        return TransientError(f"{self._what} can't be listed: {error}")


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
