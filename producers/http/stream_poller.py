"""One data type's polls: what is due is read, one answered question at a time, and its part of the position."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime

from pydantic import JsonValue

from sorbus.abilities import PublishedState
from sorbus.connector import BoundSource
from sorbus.drift.watch import DriftWatch
from sorbus.errors import AuthError, PermanentError, SorbusError, TransientError, Unfinished
from sorbus.http_api.description import ApiResource
from sorbus.http_api.interface import Api
from sorbus.producers.http.drift import RecordWatch
from sorbus.producers.http.options import HttpSource
from sorbus.producers.http.own_states import OwnStates, Published
from sorbus.producers.http.poll_position import PollPosition
from sorbus.producers.http.poll_run import TRIES, PollPace, PollRun
from sorbus.producers.http.poll_schedule import Job, PollSchedule
from sorbus.producers.http.reader import ListReader
from sorbus.producers.http.request_pool import Answer, RequestPool, answer_of
from sorbus.producers.http.rules import fingerprint, rules_of, updated_of
from sorbus.producers.http.second_looks import SecondLooks
from sorbus.producers.http.shape import application_shape
from sorbus.producers.polling.change_detector import ChangeDetector
from sorbus.producers.polling.list_report import ListReport
from sorbus.producers.polling.poll_state import UNREADABLE, AskRecord, PageResult, PollState
from sorbus.telemetry.metrics import PollMetrics

_MANY = 200
_log = logging.getLogger(__name__)


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
        chosen_by: str = "",
        own: OwnStates | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """MapError where the mapping doesn't fit. Talks to nobody before `step`. `chosen_by`: see `fingerprint`.

        `own`: of a two-way data type, what Sorbus itself writes into the application.
        """
        options = source.options
        assert isinstance(options, HttpSource)
        self.name, self.resource, self.own = source.name, options.resource, own
        self._options, self._system, self._now, self._clock = options, system, monotonic, clock
        self._what = f"{options.resource} of {system}"
        self._lists_by_changes = resource.list is None
        rules = rules_of(options, resource, self._what)
        shape = application_shape(source, system, resource)
        self._watch = RecordWatch(source.name, options.resource, shape.assignments, source.schema)
        self.is_done = False
        self._lists = self._lists_wanted = 0
        """How many lists have been read to their end, and how many have to be."""
        self._memory = ChangeDetector(
            source.name, self._watch.watched(shape.encode), updated_of(resource), can_look=rules.can_look
        )
        self._reader = ListReader(rules, self._memory, PollState(), lambda: int(clock() * 1_000_000), own)
        self._schedule = PollSchedule(options, clock, monotonic)
        self._report = ListReport(self._what, source.name, options.resource, resource.updated)
        self._shape, self._listed_shape = fingerprint(source, resource, chosen_by), ""
        self._runs: dict[Job, PollRun] = {}
        self._is_lists_turn = False
        self._look: PollRun | None = None
        self._paces = {"poll": PollPace(), "look": PollPace()}
        self._lost_pages = Counter[str]()
        """Way to read -> lists in a row that ended at a page which can't be read."""
        self._answer: Future[Answer] | None = None
        self._asking: PollRun | None = None
        self._told: dict[str, bool] = {}
        self._said_gone: frozenset[str] = frozenset()
        self._second_looks = SecondLooks(resource.settle.total_seconds())
        self._always: tuple[str, ...] = ()
        self._metrics: PollMetrics | None = None
        self._floor: int | None = None

    def take_over(self, floor: int) -> None:
        """With the next `restore` it begins anew, above this version; what the list lacks needs proof to be deleted."""
        self._floor = floor

    def remember(self, published: Iterable[PublishedState]) -> None:
        """What is on the topic."""
        self._memory.remember(published if self.own is None else self.own.remember(published))

    def restore(self, stored: JsonValue) -> None:
        """Resumes where `position` said; None: from the beginning."""
        self._metrics = PollMetrics(
            self._system, self.name, period=self._options.polls.longest_pause(datetime.now(UTC))
        )
        position = PollPosition.from_json(stored if self._floor is None else None)
        state = self._reader.state = position.state
        self._memory.deleted_version = position.deleted_version
        self._floor = position.floor if self._floor is None else self._floor
        if self._floor is not None:
            self._memory.begin_above(self._floor)
            if self.own is not None:
                self.own.restore(None)
        self._listed_shape, self._always = position.shape, position.always
        self._second_looks.end(state.looks, self._now())
        is_listed = state.compared_at is not None and not state.timeless and not state.is_short
        if is_listed and state.compared_at is not None and self._polls_changes and self._listed_shape == self._shape:
            self._schedule.compared(state.compared_at / 1_000_000)
        if state.is_again:
            self.resnapshot()

    def begin(self, drift: DriftWatch) -> None:
        """From now on records are compared with how they looked before; called after `restore`."""
        self._report.begin(drift)
        self._watch.begin(drift, self._always)

    def position(self) -> JsonValue:
        """Where to resume, as JSON."""
        always = tuple(sorted(self._watch.always)) or self._always
        deleted_version = self._memory.deleted_version
        return PollPosition(self._reader.state, deleted_version, self._floor, self._listed_shape, always).to_json()

    def resnapshot(self) -> None:
        """Publishes every record again, with the next list."""
        self._reader.state.is_again = True
        self._memory.doubt_all()
        self.list_anew()

    def list_anew(self) -> None:
        """Reads every record, sooner than it would: from the beginning, also where a list is under way."""
        self._lists_wanted = self._lists + (2 if "everything" in self._runs else 1)
        self._schedule.at_once("everything")

    def poll_now(self) -> None:
        """Asks what has changed, sooner than it would."""
        self._schedule.at_once("changes")

    def hear(self, id: str, *, deleted: bool) -> None:
        """A record is said to have changed, or to be gone."""
        self._told[id] = deleted

    def own_writes(self) -> Published | None:
        """What Sorbus has written since the last call, as it is published; has records looked at that are told of.

        None: nothing. TransientError.
        """
        assert self.own is not None
        published, looks = self.own.news(self._memory, int(self._clock() * 1_000_000))
        for id in looks:
            self.hear(id, deleted=False)
        return published if published.changes or published.rejects else None

    def translated(self, found: Sequence[PageResult]) -> Published:
        """What polls have found, as it is published."""
        made = [change for one in found for change in one.changes]
        rejects = [reject for one in found for reject in one.rejects]
        return Published(made, rejects, {}) if self.own is None else self.own.translate(made, rejects, self._memory)

    def reread(self, ids: Sequence[bytes]) -> None:
        """Publishes what these records are now, changed or not; very many are read by the list.

        That a record is gone is an answer, also where it isn't published.
        """
        ids = ids if self.own is None else self.own.external(ids)
        self._memory.doubt(ids)
        if len(ids) > _MANY:
            self.list_anew()
            return
        for text in (id.decode(errors="replace") for id in ids):
            self._reader.asked.add(text)
            self._told.setdefault(text, False)

    @property
    def is_told(self) -> bool:
        """Whether there are records to look at."""
        return bool(self._told) or self._look is not None

    @property
    def owes_list(self) -> bool:
        """Whether only a list that has not been read yet can tell what `hear`, `reread` or `list_anew` asked."""
        return self._lists < self._lists_wanted

    def is_too_many(self, deletes: int) -> bool:
        """Whether so many records that look deleted are rather a right that was taken away: only a list can tell."""
        return self._reader.deletes.is_too_many(deletes, len(self._memory))

    @property
    def holds_deletes(self) -> bool:
        """Whether a person is asked about deletes."""
        return self._reader.deletes.held is not None

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
        return self._paces["poll"].problem or self._paces["look"].problem or self._reader.problem

    def due_at(self) -> float:
        """When there is something to do (monotonic), but for an answer that has to come first."""
        look = max(self._paces["look"].not_before, 0.0 if self.is_told else self._second_looks.due_at)
        if self._report.confirmed_deletes():
            self._schedule.at_once("everything")
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
            if (chosen := self._next_run()) is None:
                return None
            run = chosen
            found = None if run.question is not None else self._send(run, None)
        if run.is_over:
            self._ended(run)
            return found
        may_ask = self._paces[run.pace].not_before <= self._now()
        if (question := run.asks) is not None and found is None and not self._answer and may_ask:
            self._asking = run
            self._answer = asker.ask(lambda: answer_of(api, self.resource, question, by_changes=self._lists_by_changes))
        return found

    def _next_run(self) -> PollRun | None:
        """What to go on with: what somebody named first, then changes, so that a long list keeps neither waiting.

        Between two polls for changes the list gets a page, also where the second is due at once.
        """
        now = self._now()
        for id in self._second_looks.begin(now) if self._look is None else ():
            self._told.setdefault(id, True)
        if self.is_told and self._paces["look"].not_before <= now:
            if self._look is None:
                self._look = PollRun(self._reader.records(list(self._told.items())), now, "look")
                self._said_gone = frozenset(id for id, is_gone in self._told.items() if is_gone)
                self._told = {}
            return self._look
        if self._paces["poll"].not_before > now:
            return None
        if "changes" not in self._runs and self._due("changes") <= now:
            self._runs["changes"] = PollRun(self._reader.changes(), now, "changes")
        if "everything" not in self._runs and self._due("everything") <= now:
            self._watch.begin_list()
            if (confirmed := self._report.confirmed_deletes()) is not None:
                self._reader.deletes.confirmed = confirmed
            self._runs["everything"] = PollRun(self._reader.everything(), now, "everything")
        if "everything" in self._runs and ("changes" not in self._runs or self._is_lists_turn):
            self._is_lists_turn = False
            return self._runs["everything"]
        return self._runs.get("changes")

    def _taken(self, run: PollRun, answer: Future[Answer]) -> PageResult | None:
        """What an answer brings. TransientError, AuthError."""
        pace = self._paces[run.pace]
        try:
            taken = answer.result()
            if run.is_probing:
                run.probed()
                return None
            found = self._send(run, taken)
        except Unfinished as error:  # the rate limit
            pace.postpone(self._now(), error.retry_after)
            return None
        except TransientError as error:
            return self._failed(run, error)
        except AuthError:
            raise
        except PermanentError as error:
            if isinstance(run.question, AskRecord):
                _log.warning("%s: %s can't be looked at: %s", self._what, run.question.id, error)
                self._reader.why_unread = str(error)
                return self._send(run, UNREADABLE)
            return self._failed(run, self._refused(run, error))
        except Exception as error:  # noqa: BLE001 - one answer must never end the others' polls
            if not isinstance(error, SorbusError):
                _log.exception("%s: an answer can't be taken", self._what)
            return self._failed(run, self._refused(run, error))
        pace.backoff.reset()
        run.tries, pace.gives_up_at_once = 0, False
        pace.problem = None if run.pace == "look" else pace.problem
        return found

    def _send(self, run: PollRun, answer: Answer) -> PageResult | None:
        if isinstance(run.question, AskRecord) and isinstance(answer, dict) and answer is not UNREADABLE:
            try:
                self._reader.rules.id_of(answer)
            except PermanentError as error:
                raise TransientError(f"{self._what}: {run.question.id} isn't as described: {error}") from error
        return run.send(answer)

    def _failed(self, run: PollRun, error: TransientError) -> PageResult | None:
        """Waits by itself; a record that can't be read again and again is given up, for it holds up all others."""
        pace, question = self._paces[run.pace], run.question
        if run.failed(self._lost_pages[run.name]):
            self._lost_pages[run.name] += 1
            error = self._refused(run, error)
        error.retry_after = pace.backoff.next(error.retry_after)
        # Where one record couldn't be read, and nothing else since, the others are tried once only.
        tries = 1 if pace.gives_up_at_once else TRIES
        if isinstance(question, AskRecord) and not run.is_over and run.tries >= tries:
            _log.warning("%s: %s can't be fetched: %s; the next poll will pick it up", self._what, question.id, error)
            run.tries, pace.gives_up_at_once, self._reader.why_unread = 0, True, str(error)
            if run.pace == "look":
                if self._polls_changes and question.id not in self._said_gone:
                    self.poll_now()
                else:  # a poll for changes never shows a delete
                    self.list_anew()
            return self._send(run, UNREADABLE)
        pace.not_before, pace.problem = self._now() + error.retry_after, str(error)
        if run.is_over:  # the list wasn't believed, or one of its pages can't be read
            if run.name == "look":
                self._look = None
                self._second_looks.end((), self._now())
                self.list_anew()
            else:
                self._runs.pop(run.name, None)
                self._schedule.polled(run.name)
            run.is_over = False
        raise error

    def _ended(self, run: PollRun) -> None:
        if run.name == "look":
            self._look = None
            self._reader.wants_list |= self._second_looks.end(self._reader.still_shown, self._now())
            self._reader.state.looks = self._second_looks.waiting
            self._reader.still_shown.clear()
        else:
            self._done(run.name, run)
            self.is_done = True
        if self._reader.wants_list:
            self._reader.wants_list = False
            self.list_anew()

    @property
    def _polls_changes(self) -> bool:
        return self._reader.rules.has_changes and self._reader.state.cursor is not None

    def _due(self, job: Job) -> float:
        return float("inf") if job == "changes" and not self._polls_changes else self._schedule.due(job)

    def _done(self, job: Job, run: PollRun) -> None:
        del self._runs[job]
        self._schedule.polled(job)
        self._paces["poll"].problem, self._lost_pages[job] = None, 0
        self._is_lists_turn = job == "changes"
        if job == "everything":
            self._lists += 1
            self._watch.end_list()
            self._report.tell(self._reader.deletes, self._reader.state.timeless)
            again = self._reader.again
            if again is None:
                self._listed_shape = self._shape
                self._floor = None  # what was left is ours, or a question to a person
                if self._polls_changes:
                    self._schedule.listed(run.began)
            self._reader.state.is_again &= again is not None or self.owes_list
            if again or self.owes_list:
                self._schedule.at_once(job)
        seconds = self._now() - run.began
        assert self._metrics is not None
        self._metrics.polled(run.read, seconds)
        way = "polled" if job == "changes" else "listed"
        _log.info("%s: %s, %d read, %d published, %.1f s", self._what, way, run.read, run.published, seconds)

    def _refused(self, run: PollRun, error: Exception) -> TransientError:
        """A list that can't go on is begun again: its pages may have been forgotten."""
        self._give_up(run)
        said = str(error) if isinstance(error, SorbusError) else f"its answer can't be read ({type(error).__name__})"
        return TransientError(f"{self._what} can't be listed: {said}")

    def _give_up(self, run: PollRun) -> None:
        run.is_over = True
        if run.pace == "poll":
            self._reader.state.copying = None
