"""One data type's polls: when to read what, one answered question at a time, and its part of the position."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, cast

from pydantic import JsonValue

from sorbus.abilities import PublishedState
from sorbus.backoff import Backoff
from sorbus.calendar_limits import EPOCH
from sorbus.connector import BoundSource
from sorbus.drift.watch import DriftWatch
from sorbus.errors import AuthError, PermanentError, SorbusError, TransientError, Unfinished
from sorbus.http_api.description import ApiResource
from sorbus.http_api.interface import Api, Page, Record, Shows
from sorbus.mapfile.timing import longest_pause
from sorbus.producers.http.change_detector import ChangeDetector
from sorbus.producers.http.drift import RecordWatch
from sorbus.producers.http.options import HttpSource
from sorbus.producers.http.poll_state import (
    UNREADABLE,
    AskPage,
    AskRecord,
    Copying,
    PageResult,
    PollState,
    Quiet,
    Steps,
)
from sorbus.producers.http.reader import ListReader
from sorbus.producers.http.request_pool import Answer, RequestPool
from sorbus.producers.http.rules import fingerprint, rules_of, updated_of
from sorbus.producers.http.shape import RecordShape
from sorbus.telemetry.metrics import PollMetrics

TRIES = 3
"""How often a record that a webhook named is asked for before it is left to the polls."""
_SOONEST = 0.5
"""Seconds after which what failed once is tried again; twice as long after each further time, up to `_LONGEST`."""
_LONGEST = 60.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Run:
    """A way to read, under way: the question that waits for its answer, and what has come of it so far."""

    steps: Steps
    began: float
    name: Literal["look", "changes", "everything"]
    question: AskPage | AskRecord | None = None
    is_over: bool = False
    read: int = 0
    published: int = 0
    tries: int = 0
    """Faults of the question that is open."""

    @property
    def pace(self) -> Literal["look", "poll"]:
        """Whose faults these are: records may be readable where lists aren't, and the other way round."""
        return "look" if self.name == "look" else "poll"

    def go_on(self, answer: Page | Record | None) -> PageResult | None:
        """Gives the answer; what was found, or None with the next question in place, or when it is over."""
        self.question = None
        try:
            said = self.steps.send(answer)
        except StopIteration:
            self.is_over = True
            return None
        except Exception:
            self.is_over = True  # a generator that has raised gives nothing any more
            raise
        if isinstance(said, PageResult):
            self.read += said.read
            self.published += len(said.changes)
            return said
        self.question = said
        return None


@dataclass(slots=True)
class _Pace:
    """When to try again (seconds, monotonic), and what is wrong."""

    backoff: Backoff = field(default_factory=lambda: Backoff(_SOONEST, _LONGEST, limit=_LONGEST))
    not_before: float = 0.0
    problem: str | None = None


class StreamPoller:
    """Polls one resource for one data type.

    When to look is in seconds of a clock that doesn't jump (`monotonic`); ours (`clock`, Unix seconds) is asked only
    for what schedules and the position say by it.
    """

    def __init__(
        self,
        source: BoundSource,
        system: str,
        resource: ApiResource,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """MapError where the mapping doesn't fit. Talks to nobody before `step`."""
        options = source.options
        assert isinstance(options, HttpSource)
        self.name, self.resource = source.name, options.resource
        self._options, self._clock, self._now = options, clock, monotonic
        self._what = f"{options.resource} of {system}"
        self._lists_by_changes = resource.list is None
        rules = rules_of(options, resource, self._what)
        shape = RecordShape(source, system, resource)
        self._watch = RecordWatch(source.name, options.resource, shape.assignments, source.schema)
        self.is_done = False
        self._memory = ChangeDetector(
            source.name, self._watch.watched(shape.encode), updated_of(resource), can_look=rules.can_look
        )
        self._reader = ListReader(rules, self._memory, PollState(), lambda: int(clock() * 1_000_000))
        self._shape, self._listed_shape = fingerprint(source, resource), ""
        self._runs: dict[str, _Run] = {}
        self._next: dict[str, float] = {"changes": 0.0, "everything": 0.0}
        self._paces = {"poll": _Pace(), "look": _Pace()}
        self._answer: Future[Answer] | None = None
        self._asking: _Run | None = None
        self._gives_up_at_once = False
        self._drift: DriftWatch | None = None
        self._told: dict[str, bool] = {}
        self._updated, self._has_told_timeless = resource.updated, False
        self._always: list[JsonValue] = []
        self._look: _Run | None = None
        self._metrics: PollMetrics | None = None
        self._system = system
        self._floor: int | None = None

    def take_over(self, floor: int) -> None:
        """With the next `restore` it begins anew, above this version; what the list lacks needs proof to be deleted."""
        self._floor = floor

    def remember(self, published: Iterable[PublishedState]) -> None:
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
        quiet = found.get("quiet")
        state.quiet = (
            Quiet(*(_whole(each) or 0 for each in quiet)) if isinstance(quiet, list) and len(quiet) == 4 else None
        )
        state.timeless = _whole(found.get("timeless")) or 0
        is_listed = state.compared_at is not None and not state.timeless
        if is_listed and state.compared_at is not None and self._polls_changes and self._listed_shape == self._shape:
            self._next["everything"] = self._next_compare(state.compared_at / 1_000_000)

    def begin(self, drift: DriftWatch) -> None:
        """From now on records are compared with how they looked before; called after `restore`."""
        self._drift = drift
        self._watch.begin(drift, map(str, self._always))

    def position(self) -> JsonValue:
        """Where to go on, as JSON."""
        state, copying = self._reader.state, self._reader.state.copying
        return {
            "cursor": state.cursor,
            "compared_at": state.compared_at,
            "newest": state.newest,
            "copying": None if copying is None else [copying.after, copying.newest, copying.records],
            "quiet": None if state.quiet is None else list(state.quiet),
            "timeless": state.timeless,
            "deleted_version": self._memory.deleted_version,
            "floor": self._floor,
            "shape": self._listed_shape,
            "always": list(sorted(self._watch.always) or self._always),
        }

    def resnapshot(self) -> None:
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

    @property
    def is_busy(self) -> bool:
        """Whether a question waits for its answer."""
        return self._answer is not None

    @property
    def is_answered(self) -> bool:
        """Whether the answer has come."""
        return self._answer is not None and self._answer.done()

    @property
    def problem(self) -> str | None:
        """What is wrong with this data type just now, None for nothing."""
        return self._paces["poll"].problem or self._paces["look"].problem

    def due_at(self) -> float:
        """When there is something to do (monotonic), but for an answer that has to come first."""
        look = self._paces["look"].not_before if self.is_told else float("inf")
        if self._drift is not None and self._drift.confirmed_deletes(self.name, self.resource):
            self._next["everything"] = min(self._next["everything"], 0.0)
        soonest = 0.0 if self._runs else min(self._due("changes"), self._due("everything"))
        return min(look, max(soonest, self._paces["poll"].not_before))

    def step(self, api: Api, asker: RequestPool) -> PageResult | None:
        """Takes an answer that has come, begins what is due and asks on; waits for nothing.

        None where nothing was found: `is_done` says whether a poll has ended, `is_busy` whether it has asked.
        TransientError, once, where it can't be read for now: it is asked again by itself. AuthError.
        """
        self.is_done = False
        if self._answer is not None:
            if not self._answer.done():
                return None
            run, answer, self._answer = self._asking, self._answer, None
            assert run is not None
            found = self._taken(run, answer)
        else:
            chosen = self._next_run()
            if chosen is None:
                return None
            run = chosen
            found = None if run.question is not None else self._went_on(run, None)
        if run.is_over:
            self._ended(run)
        elif run.question is not None and found is None and not self._answer and self._may_ask(run):
            question = run.question
            self._asking, self._answer = run, asker.ask(lambda: self._ask(api, question))
        return found

    def _next_run(self) -> _Run | None:
        """What to go on with: what somebody named first, then changes, so that a long list keeps neither waiting."""
        now = self._now()
        if self.is_told and self._paces["look"].not_before <= now:
            if self._look is None:
                self._look = _Run(self._reader.records(list(self._told.items())), now, "look")
                self._told = {}
            return self._look
        if self._paces["poll"].not_before > now:
            return None
        if "changes" not in self._runs and self._due("changes") <= now:
            self._runs["changes"] = _Run(self._reader.changes(), now, "changes")
        if "everything" not in self._runs and self._due("everything") <= now:
            self._watch.begin_list()
            if self._drift is not None:
                confirmed = self._drift.confirmed_deletes(self.name, self.resource)
                self._reader.deletes.confirmed = frozenset(id.encode() for id in confirmed)
            self._runs["everything"] = _Run(self._reader.everything(), now, "everything")
        return self._runs.get("changes") or self._runs.get("everything")

    def _may_ask(self, run: _Run) -> bool:
        return self._paces[run.pace].not_before <= self._now()

    def _taken(self, run: _Run, answer: Future[Answer]) -> PageResult | None:
        """What an answer brings. TransientError, AuthError."""
        pace = self._paces[run.pace]
        try:
            found = self._went_on(run, answer.result())
        except Unfinished as error:  # the rate limit: no fault, only later
            pace.not_before = self._now() + min(error.retry_after, _LONGEST)
            return None
        except TransientError as error:
            return self._failed(run, error)
        except AuthError:
            raise
        except PermanentError as error:
            if isinstance(run.question, AskRecord):
                _log.warning("%s: %s can't be looked at: %s", self._what, run.question.id, error)
                return self._went_on(run, UNREADABLE)
            return self._failed(run, self._refused(run, error))
        except SorbusError as error:
            return self._failed(run, self._refused(run, error))
        except Exception as error:  # noqa: BLE001 - one answer must never end the others' polls
            _log.exception("%s: an answer can't be taken", self._what)
            return self._failed(run, self._refused(run, error))
        pace.backoff.reset()
        run.tries = 0
        if run.pace == "look":
            pace.problem, self._gives_up_at_once = None, False
        return found

    def _went_on(self, run: _Run, answer: Answer) -> PageResult | None:
        if isinstance(run.question, AskRecord) and isinstance(answer, dict) and answer is not UNREADABLE:
            try:
                self._reader.rules.id_of(answer)
            except PermanentError as error:
                raise TransientError(f"{self._what}: {run.question.id} isn't as described: {error}") from error
        return run.go_on(answer)

    def _failed(self, run: _Run, error: TransientError) -> PageResult | None:
        """Waits by itself; a record that can't be read again and again is given up, for it holds up all others."""
        pace, question = self._paces[run.pace], run.question
        error.retry_after = pace.backoff.next(error.retry_after)
        run.tries += 1
        if isinstance(question, AskRecord) and not run.is_over and (run.tries >= TRIES or self._gives_up(run)):
            _log.warning("%s: %s can't be fetched: %s; the next poll will pick it up", self._what, question.id, error)
            run.tries, self._gives_up_at_once = 0, run.pace == "look"
            if run.pace == "look":
                self._next["changes" if self._polls_changes else "everything"] = 0.0
            return self._went_on(run, UNREADABLE)
        pace.not_before, pace.problem = self._now() + error.retry_after, str(error)
        if run.is_over:  # the list wasn't believed, or its page is no longer known
            self._runs.pop(run.name, None)
            if run.pace == "look":
                self._look = None
                self._next["everything"] = 0.0
            else:
                self._next[run.name] = self._next_poll()
            run.is_over = False
        raise error

    def _gives_up(self, run: _Run) -> bool:
        """Where one named record couldn't be read, and nothing else since, the others are tried once only."""
        return run.pace == "look" and self._gives_up_at_once

    def _ended(self, run: _Run) -> None:
        if run.pace == "look":
            self._look = None
        else:
            self._done(run.name, run)
            self.is_done = True
        if self._reader.wants_list:
            self._reader.wants_list, self._next["everything"] = False, 0.0

    @property
    def _polls_changes(self) -> bool:
        return self._reader.rules.has_changes and self._reader.state.cursor is not None

    def _due(self, job: str) -> float:
        return float("inf") if job == "changes" and not self._polls_changes else self._next[job]

    def _done(self, job: str, run: _Run) -> None:
        del self._runs[job]
        self._next[job] = self._next_poll()
        self._paces["poll"].problem = None
        if job == "everything":
            self._watch.end_list()
            self._tell_held()
            again = self._reader.again
            if again:
                self._next[job] = 0.0
            elif again is None:
                self._listed_shape = self._shape
                self._floor = None  # what was left is ours, or a question to a person
                if self._polls_changes:
                    self._next[job] = self._next_compare(self._clock() - (self._now() - run.began))
        seconds = self._now() - run.began
        assert self._metrics is not None
        self._metrics.polled(run.read, seconds)
        way = "polled" if job == "changes" else "listed"
        _log.info("%s: %s, %d read, %d published, %.1f s", self._what, way, run.read, run.published, seconds)

    def _tell_held(self) -> None:
        """What a list that was read to its end says of deletes, and of update times, told to people."""
        deletes, drift, state = self._reader.deletes, self._drift, self._reader.state
        if state.timeless and not self._has_told_timeless:
            self._has_told_timeless = True
            _log.warning(
                "%s: %d listed records have no update time (%s), and a poll for changes may never show such a one."
                " Name more fields in the API's description, such as `updated: [updated_at, created_at]`, or compare"
                " more often (`compare: every 1h`)",
                self._what,
                state.timeless,
                ", ".join(self._updated) or "none is described",
            )
        if drift is None:
            return
        held = deletes.held
        ids = [id.decode() for id in held.ids] if held else []
        drift.look_deleted(self.name, self.resource, ids, held.known if held else 0, held.why if held else "")
        if deletes.confirmed:
            drift.deletes_applied(self.name, self.resource)
            deletes.confirmed = frozenset()

    def _next_poll(self) -> float:
        now = datetime.fromtimestamp(self._clock(), UTC)
        moment = self._options.polls.next_after(now)
        assert moment is not None
        return self._now() + (moment - now).total_seconds()

    def _next_compare(self, compared_at: float) -> float:
        """`compared_at`: by our clock; if that was ahead then, no more than one step from now."""
        compares = self._options.compares
        if compares is None:
            return float("inf")
        now = self._clock()
        before = datetime.fromtimestamp(min(compared_at, now), UTC)
        if compares.every is not None:  # not at the same hour for all
            return self._now() + before.timestamp() + compares.every.total_seconds() - now
        moment = compares.next_after(before)
        assert moment is not None
        return self._now() + moment.timestamp() - now

    def _ask(self, api: Api, question: AskPage | AskRecord) -> Answer:
        """Asks, in a thread of its own: nothing of ours is changed here."""
        if isinstance(question, AskRecord):
            found = (
                api.look(self.resource, question.id) if isinstance(api, Shows) else api.get(self.resource, question.id)
            )
            return None if found is None else found.record
        since = question.since if question.since is not None or not self._lists_by_changes else 0
        moment = None if since is None else EPOCH + timedelta(microseconds=since)
        return api.page(self.resource, since=moment, after=question.after)

    def _refused(self, run: _Run, error: Exception) -> TransientError:
        """A list that can't go on is begun again: its pages may have been forgotten."""
        run.is_over = True
        if run.pace == "poll":
            self._reader.state.copying = None
        said = str(error) if isinstance(error, SorbusError) else f"its answer can't be read ({type(error).__name__})"
        return TransientError(f"{self._what} can't be listed: {said}")


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
