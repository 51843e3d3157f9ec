"""How a poll reads an application without losing a record, whatever it does meanwhile; no I/O of its own.

The ways to read are generators: they yield what they ask for (`AskPage`, `AskRecord`) and are sent the answer, and they
yield what is to be published (`PageResult`): after the last of an answer, `state` has moved past it. A question whose
answer failed is asked again; nothing found waits for it meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from hashlib import blake2b

from sorbus.connector import Change
from sorbus.errors import PermanentError, TransientError
from sorbus.http_api.interface import Page, Record
from sorbus.producers.http.list_pass import ListPass, listing_problem
from sorbus.producers.http.lookback import Lookback
from sorbus.producers.http.own_states import OwnStates
from sorbus.producers.http.shared_ids import Named, SharedIds
from sorbus.producers.polling.change_detector import ChangeDetector, ChangeVerdict, raw_json
from sorbus.producers.polling.deletes import AbsenceCheck, Deletes
from sorbus.producers.polling.poll_state import (
    NO_ID,
    UNREADABLE,
    AskPage,
    AskRecord,
    Copying,
    NamelessRecord,
    PageResult,
    PollState,
    Rules,
    Steps,
    Taking,
    add,
    out,
)

_AHEAD = 1_000_000
"""Microseconds that a record's update time may be ahead of our clock in any case."""
_PASSES = 10
_MOST_WITHOUT_ID = 100
_SHORT_LISTS = 3
"""So many short lists in a row are what the application means; until then the next poll reads the list again."""


class ListReader:
    """Reads one data type. `again`: when the list wants to be read again, at once or with the next poll."""

    def __init__(
        self,
        rules: Rules,
        memory: ChangeDetector,
        state: PollState,
        now: Callable[[], int],
        own: OwnStates | None = None,
    ) -> None:
        """`own`: of a two-way data type, what Sorbus itself writes into the application."""
        self.rules, self.memory, self.state, self._now, self._own = rules, memory, state, now, own
        self.again: bool | None = None
        """After `everything`: True at once, False with the next poll, None when it is due."""
        self.wants_list = False
        self._ascends = rules.ascending
        self._passes, self._short_lists, self.why_unread = 0, 0, ""
        self._older: set[bytes] = set()
        self._without_id: set[bytes] = set()
        self.asked: set[str] = set()
        """Records of which a person has asked what they are now: their absence is an answer, too."""
        self.still_shown: set[str] = set()
        """Records that `records` was told are gone, and whose addresses show them."""
        self.short = {"changes": "", "everything": ""}
        """Way to read -> why its last list isn't whole; "" where it is."""
        self._reached: tuple[int, int] | None = None
        """When a list of changes that isn't whole ended first, and how far it came (microseconds, by each clock)."""
        self._shared = SharedIds(rules, memory.are_alike)
        self.deletes = Deletes(rules, memory, now, None if own is None else own.later)

    @property
    def problem(self) -> str | None:
        """What people are told of the last lists, None for nothing."""
        return listing_problem(self.rules.name, self.short, self.deletes.unread, self.why_unread)

    def changes(self) -> Steps:
        """Everything that changed since the cursor."""
        lookback = Lookback(self.rules, self.state, self._now())
        since = lookback.since
        if since is None:
            return
        if self._ascends:
            yield from self._from_time_to_time(since, lookback)
        if not self._ascends:
            yield from self._page_by_page(since, lookback)
        lookback.end(self._now())
        self.wants_list |= self._shared.wants_list(self._now())

    def everything(self) -> Steps:
        """Every record there is, compared with what is published: finds what was missed, and what is gone.

        TransientError for a list that can't be believed; nothing has been deleted then.
        """
        state, first = self.state, self.state.compared_at is None
        began, resumed = self._now(), state.copying if first else None
        self._shared.begin_list(began)
        known = self.memory.ids()
        unseen, older, missed = set(known), set[bytes](), False
        newest, count = (resumed.newest, resumed.records) if resumed else (None, 0)
        after: str | None = resumed.after if resumed else None
        pages, new, total, nameless, timeless = ListPass(self.rules.page_size), set[bytes](), None, 0, 0
        while True:
            page = yield from self._ask(None, after)
            found, records = self._named(page)
            ids = [id for id, _ in records]
            count += len(page.records)
            self._shared.again = {id for id in ids if id in known and id not in unseen}
            nameless += (without_id := len(page.records) - len(records))
            is_new = first and not known  # an initial snapshot of very many keeps no second list of them
            fresh = len(ids) if is_new else sum(id in unseen or (id not in known and id not in new) for id in ids)
            pages.add(page, fresh, without_id)
            total = page.total if page.total is not None else total
            late = [id for id, record in records if id not in self.memory and self._is_late(record)]
            unseen.difference_update(ids)
            if not is_new:
                new.update(id for id in ids if id not in known)
            timeless += sum(self.rules.updated(record) is None for _, record in records)
            newest = self._newest(records, newest)
            found = yield from self._take(records, found, older)
            missed = missed or any(id in self.memory for id in late)
            after = page.after
            if first:
                found.copied = count, max(count, page.total or len(known))
                state.copying = None if after is None else Copying(after, newest, count)
            yield found
            if after is None:
                break
        if resumed is None:
            self._without_id &= self.memory.ids() - unseen
            self.short["everything"] = pages.why_short
            is_short = bool(pages.why_short)
            listed = AbsenceCheck(len(known), len(known) - len(unseen) + len(new), total, nameless == 0, is_short)
            yield from self.deletes.settle([id for id in sorted(unseen) if id in self.memory], listed)
        yield from self.records([(id.decode(), False) for id in self._shared.end_list(self._now())])
        self._older, state.timeless = older, timeless if self.rules.has_changes else 0
        self._listed(began, newest, is_whole=resumed is None, is_one=pages.is_one, missed=missed)

    def records(self, ids: Iterable[tuple[str, bool]]) -> Steps:
        """Records that somebody says have changed, each with whether it is said to be gone.

        What one brings is yielded before the next is asked for: whoever gives a question up loses no other's answer.
        """
        for id, is_gone in ids:
            found = PageResult()
            if self.rules.can_look:
                record = yield from self._look(id)
                assert not isinstance(record, Page)
                if record is not UNREADABLE:
                    found.read = 1
                    self._take_told(found, id, record, is_gone=is_gone)
            elif is_gone:
                add(found, self.memory.gone(id.encode(errors="replace"), self._now()))
            else:
                self.wants_list = True
            yield found

    def _take_told(self, found: PageResult, id: str, record: Record | None, *, is_gone: bool) -> None:
        if record is not None and self.rules.is_other(id, record):
            self._take_told(found, id, None, is_gone=is_gone)
            if self._own is not None:  # asked for alone, so that no write of ours goes unnoticed
                self._own.later(self.rules.id_of(record))
                return
        is_asked = id in self.asked
        self.asked.discard(id)
        if record is None:
            key = id.encode(errors="replace")
            if key not in self.memory and is_asked:
                add(found, self.memory.absent(key, self._now()))
            elif is_gone or key not in self.memory or key.startswith(NO_ID):
                add(found, self.memory.gone(key, self._now()))
            else:  # it may be hidden from us: only a list that lacks it, too, proves that it is gone
                self.wants_list = True
            return
        key = self.rules.id_of(record)
        if self.rules.is_deleted(record):
            add(found, self.memory.gone(key, self._now()))
            return
        if is_gone and not self.rules.is_other(id, record):
            self.still_shown.add(id)
        judged = self.memory.judge(key, record, self._now(), trusted=self._own is not None)
        if judged is ChangeVerdict.DOUBTFUL and key not in self.memory:  # deleted before, and back again
            judged = self.memory.judge(key, record, self._now(), trusted=True)
        add(found, judged)

    def _from_time_to_time(self, since: int, lookback: Lookback) -> Steps:
        """Oldest first: each page is asked for anew from the last record's update time, so that none can shift away.

        Within one moment that fills a page, page by page, again and again until a pass brings nothing unseen.
        """
        state, rules = self.state, self.rules
        cursor = self.state.cursor
        seen: set[tuple[bytes, int | None]] = set()
        while True:
            after: str | None = None
            pages, passes, fresh, ended = ListPass(rules.page_size), 0, False, False
            while True:
                page = yield from self._ask(since, after)
                found, records = self._named(page)
                pages.add(page, pages.unseen(id for id, _ in records), len(page.records) - len(records))
                times = [rules.updated(record) for _, record in records]
                known = [time for time in times if time is not None]
                if known != sorted(known):
                    self._ascends, state.cursor = False, cursor  # not as described: read it all the other way
                    return
                last = known[-1] if known else since
                begins = max(since, rules.written(last))
                for (id, _), time in zip(records, times, strict=True):
                    mark = id, time
                    fresh = fresh or (mark not in seen and (time is None or rules.written(time) <= since))
                    seen.add(mark)
                found = yield from self._take(records, found, lookback=lookback)
                if (newest := self._newest(records, state.cursor)) is not None:
                    state.cursor = newest
                yield found
                after, ended = page.after, page.after is None
                if ended or begins > since:
                    if pages.is_one or not fresh or (passes := passes + 1) >= _PASSES:
                        break
                    after, pages, fresh = None, ListPass(rules.page_size), False
            if ended:
                self.short["changes"] = pages.why_short
                return
            since = begins

    def _page_by_page(self, since: int, lookback: Lookback) -> Steps:
        """In any order: to the end, and again until a pass brings nothing unseen; then the cursor moves.

        It moves to what was newest before the last pass began: later changes come again next time.
        """
        newest = self.state.cursor
        seen: set[tuple[bytes, int | None]] = set()
        pages: ListPass | None = None
        for _ in range(_PASSES):
            after: str | None = None
            pages, fresh, now_newest = ListPass(self.rules.page_size, pages), False, newest
            while True:
                page = yield from self._ask(since, after)
                found, records = self._named(page)
                pages.add(page, pages.unseen(id for id, _ in records), len(page.records) - len(records))
                marks = {(id, self.rules.updated(record)) for id, record in records}
                fresh = fresh or not marks <= seen
                seen |= marks
                now_newest = self._newest(records, now_newest)
                yield (yield from self._take(records, found, lookback=lookback))
                after = page.after
                if after is None:
                    break
            if pages.is_one or not fresh:
                self.short["changes"] = pages.why_short
                reached = now_newest if pages.is_one else newest
                if not pages.why_short:  # else what it kept back may be older than what it gave
                    self.state.cursor, self._reached = reached, None
                elif self._reached is None and reached is not None:
                    self._reached = self._now(), reached
                yield PageResult()
                return
            newest = now_newest

    def _ask(self, since: int | None, after: str | None) -> Generator[AskPage, Page | Record | None, Page]:
        page = yield AskPage(since, after)
        assert isinstance(page, Page)
        return page

    def _named(self, page: Page) -> tuple[PageResult, Named]:
        """A page's records by their ids; those without one are dead letters under a name of ours.

        TransientError where none has one, and none says why: the answer isn't as described, nothing follows from it.
        """
        found, named = PageResult(read=len(page.records)), Named()
        nameless: list[tuple[Record, PermanentError]] = []
        for record in page.records:
            try:
                named.append((self.rules.id_of(record), record))
            except PermanentError as error:
                nameless.append((record, error))
        if nameless and not named and not any(isinstance(why, NamelessRecord) for _, why in nameless):
            raise TransientError(
                f"no record among {self.rules.name} has an id: {nameless[0][1]}. The application may have changed, or"
                " another one answers; see its description. Nothing was taken from that answer"
            )
        for record, why in nameless:
            id = NO_ID + blake2b(raw_json(record), digest_size=8).hexdigest().encode()
            if id in self._without_id or len(self._without_id) < _MOST_WITHOUT_ID:
                self._without_id.add(id)
                add(found, self.memory.refuse(id, record, self._now(), why))
        return found, named

    def _take(
        self, records: Named, found: PageResult, older: set[bytes] | None = None, *, lookback: Lookback | None = None
    ) -> Taking:
        """What a page's records mean. `older`: of a whole list, those that are older there than published."""
        doubtful: Named = []
        named, records = records, self._shared.without(records, is_list=older is not None)
        if self._own is not None:
            records = self._without_own(records, doubtful)
        for id, record in records:
            now = self._now()
            if self.rules.is_deleted(record):
                add(found, self.memory.gone(id, now, self.rules.updated(record)))
                continue
            judged = self.memory.judge(id, record, now)
            if judged is not ChangeVerdict.DOUBTFUL:
                add(found, judged)
                if older is not None and isinstance(judged, Change):
                    self._shared.changed(id, record, (judged.data, self.rules.updated(record)))
            elif self.rules.can_look:
                doubtful.append((id, record))
            elif older is not None:
                older.add(id)
                if id in self._older:  # twice in a row: the application means it
                    add(found, self.memory.judge(id, record, now, trusted=True))
        for id, record, why in self._shared.refused(named):
            add(found, self.memory.refuse(id, record, self._now(), why))
        if lookback is not None:
            lookback.requests += 1
            lookback.found += len(found.changes) + len(found.rejects)
        for id, record in doubtful:
            found = yield from out(found)
            itself = yield from self._look(id.decode())
            assert not isinstance(itself, Page)
            if self._own is None:
                self.memory.looked_at(id, record, self._now())
            self._take_one(found, id, itself)
        return found

    def _without_own(self, records: Named, doubtful: Named) -> Named:
        """Those that a page tells the truth of: one that Sorbus writes may have been read before it wrote."""
        assert self._own is not None
        differing = {
            id for id, record in records if not self.rules.is_deleted(record) and self.memory.differs(id, record)
        }
        new = {id for id in differing if id not in self.memory}
        unsure = (differing - new) | self._own.touched(new, 0)
        doubtful += [(id, record) for id, record in records if id in unsure]
        return [(id, record) for id, record in records if id not in unsure]

    def _look(self, id: str) -> Generator[AskPage | AskRecord | PageResult, Page | Record | None, Page | Record | None]:
        """A record's own address; what it says doesn't count where Sorbus wrote the record meanwhile: then later."""
        own, key = self._own, id.encode()
        if own is None:
            return (yield AskRecord(id))
        before = own.applied
        if not own.touched([key], before):
            record = yield AskRecord(id)
            if not own.touched([key], before):
                return record
        own.later(key)
        return UNREADABLE

    def _take_one(self, found: PageResult, id: bytes, record: Record | None) -> None:
        """What a record's own address says of one that a list shows."""
        if record is UNREADABLE:
            return
        if record is None or self.rules.is_other(id.decode(), record):
            self.wants_list = True  # the list shows it, its address doesn't: one that lacks it has to prove it
        elif self.rules.is_deleted(record):
            add(found, self.memory.gone(id, self._now()))
        else:
            add(found, self.memory.judge(id, record, self._now(), trusted=True))

    def _listed(self, began: int, newest: int | None, *, is_whole: bool, is_one: bool, missed: bool) -> None:
        """After a list: where polls begin, and when the next list is due."""
        state = self.state
        is_short = bool(self.short["everything"])
        state.is_short = is_short or bool(self.deletes.unread)  # so that it is told again after a restart
        self._short_lists = self._short_lists + 1 if is_short else 0
        if self._reached and is_whole and not is_short and began >= self._reached[0]:  # the list has shown the rest
            state.cursor, self._reached = max(state.cursor or 0, self._reached[1]), None
        may_be_whole = 0 < self._short_lists < _SHORT_LISTS
        if state.cursor is None and self.rules.has_changes and not may_be_whole:
            state.cursor = newest if is_one and is_whole else state.newest
        state.newest = newest if state.cursor is None and self.rules.has_changes else None
        self._passes += 1
        is_told = self.rules.has_changes or state.compared_at is None
        if not is_whole or (missed and not is_one and is_told and self._passes < _PASSES):
            self.again = True
            return
        self._passes = 0
        self.again = False if self.deletes.waits_for_list or self._older or may_be_whole else None
        if self.again is None and is_told:
            state.compared_at = began

    def _newest(self, records: Named, newest: int | None) -> int | None:
        """The newest update time that moves the cursor: one ahead of our clock doesn't, lest a slip hide what is true.

        Where the application's clock is ahead, its last changes are read again until ours is there: nothing is missed.
        """
        latest = self._now() + max(self.rules.overlap, _AHEAD)
        times = [time for _, record in records if (time := self.rules.updated(record)) is not None and time <= latest]
        return max(times, default=None) if newest is None else max([newest, *times])

    def _is_late(self, record: Record) -> bool:
        """Whether a record that nobody knew should have come before."""
        cursor, updated = self.state.cursor, self.rules.updated(record)
        return cursor is None or updated is None or updated <= cursor - self.rules.overlap
