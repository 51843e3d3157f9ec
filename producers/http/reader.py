"""How a poll reads an application without losing a record, whatever it does meanwhile; no I/O of its own.

The ways to read are generators: they yield what they ask for (`AskPage`, `AskRecord`) and are sent the answer, and they
yield what is to be published (`Found`): after the last of an answer, `state` has moved past it. A question whose answer
failed is asked again; nothing found waits for it meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence

from sorbus.api.interface import Page, Record
from sorbus.connector import Change, Reject
from sorbus.errors import TransientError
from sorbus.producers.http.memory import Judged, Memory, Verdict
from sorbus.producers.http.poll import UNREADABLE, AskPage, AskRecord, Copying, Found, PollState, Rules, Steps

_DAY = 86_400_000_000
_PASSES = 10
_FEW = 20
_Taking = Generator["AskPage | AskRecord | Found", "Page | Record | None", Found]


class _Pages:
    """Whether a pass was a single request, or as good as one: behind a page that was not full nothing can shift."""

    def __init__(self, size: int) -> None:
        self._size, self._count, self._is_full = size, 0, False

    def add(self, page: Page) -> None:
        if self._count == 0:
            self._is_full = len(page.records) >= self._size
        if self._count == 0 or page.records or self._is_full:
            self._count += 1

    @property
    def is_one(self) -> bool:
        return self._count == 1


class Reader:
    """Reads one data type. `again`: when the list wants to be read again, at once or with the next poll."""

    def __init__(self, rules: Rules, memory: Memory, state: PollState, now: Callable[[], int]) -> None:
        self.rules, self.memory, self.state, self._now = rules, memory, state, now
        self.again: bool | None = None
        """After `everything`: True at once, False with the next poll, None when it is due."""
        self.wants_list = False
        self._ascends = rules.ascending
        self._passes = 0
        self._lacking: set[bytes] = set()
        self._older: set[bytes] = set()

    def changes(self) -> Steps:
        """Everything that changed since the cursor."""
        if self._ascends:
            yield from self._from_time_to_time()
        if not self._ascends:
            yield from self._page_by_page()

    def everything(self) -> Steps:
        """Every record there is, compared with what is published: finds what was missed, and what is gone.

        TransientError for a list that can't be believed; nothing has been deleted then.
        """
        state, first = self.state, self.state.compared_at is None
        began, resumed = self._now(), state.copying if first else None
        known = self.memory.ids()
        unseen, older, missed = set(known), set[bytes](), False
        newest, count = (resumed.newest, resumed.records) if resumed else (None, 0)
        after: str | None = resumed.after if resumed else None
        pages = _Pages(self.rules.page_size)
        while True:
            page = yield from self._ask(None, after)
            ids = [self.rules.id_of(record) for record in page.records]
            pages.add(page)
            count += len(ids)
            records = zip(ids, page.records, strict=True)
            late = [id for id, record in records if id not in self.memory and self._is_late(record)]
            unseen.difference_update(ids)
            newest = self._newest(page.records, newest)
            found = yield from self._take(page.records, older)
            missed = missed or any(id in self.memory for id in late)
            after = page.after
            if first:
                found.copied = count, max(count, page.total or len(known))
                state.copying = None if after is None else Copying(after, newest, count)
            yield found
            if after is None:
                break
        if resumed is None:
            yield from self._settle([id for id in sorted(unseen) if id in self.memory], len(known))
        self._older = older
        self._listed(began, newest, is_whole=resumed is None, is_one=pages.is_one, missed=missed)

    def records(self, ids: Iterable[tuple[str, bool]]) -> Steps:
        """Records that somebody says have changed, each with whether it is said to be gone.

        What one brings is yielded before the next is asked for: whoever gives a question up loses no other's answer.
        """
        for id, is_gone in ids:
            found = Found()
            if self.rules.can_look:
                record = yield AskRecord(id)
                assert not isinstance(record, Page)
                if record is not UNREADABLE:
                    found.read = 1
                    self._take_told(found, id, record)
            elif is_gone:
                _add(found, self.memory.gone(id.encode(), self._now()))
            else:
                self.wants_list = True
            yield found

    def _take_told(self, found: Found, id: str, record: Record | None) -> None:
        key = id.encode() if record is None else self.rules.id_of(record)
        if record is None or self.rules.is_deleted(record):
            _add(found, self.memory.gone(key, self._now()))
            return
        judged = self.memory.judge(key, record, self._now())
        if judged is Verdict.DOUBTFUL and key not in self.memory:  # deleted before, and back again
            judged = self.memory.judge(key, record, self._now(), trusted=True)
        _add(found, judged)

    def _from_time_to_time(self) -> Steps:
        """Oldest first: each page is asked for anew from the last record's update time, so that none can shift away.

        Within one moment that fills a page, page by page, again and again until a pass brings nothing unseen.
        """
        state, rules = self.state, self.rules
        since, cursor = self._begin(), self.state.cursor
        seen: set[tuple[bytes, int | None]] = set()
        while True:
            after: str | None = None
            pages, passes, fresh, ended = _Pages(rules.page_size), 0, False, False
            while True:
                page = yield from self._ask(since, after)
                pages.add(page)
                times = [rules.updated(record) for record in page.records]
                known = [time for time in times if time is not None]
                if known != sorted(known):
                    self._ascends, state.cursor = False, cursor  # not as described: read it all the other way
                    return
                last = known[-1] if known else since
                begins = max(since, self._written(last))
                for record, time in zip(page.records, times, strict=True):
                    mark = rules.id_of(record), time
                    fresh = fresh or (mark not in seen and (time is None or self._written(time) <= since))
                    seen.add(mark)
                found = yield from self._take(page.records)
                if (newest := self._newest(page.records, state.cursor)) is not None:
                    state.cursor = newest
                yield found
                after, ended = page.after, page.after is None
                if ended or begins > since:
                    if pages.is_one or not fresh or (passes := passes + 1) >= _PASSES:
                        break
                    after, pages, fresh = None, _Pages(rules.page_size), False
            if ended:
                return
            since = begins

    def _page_by_page(self) -> Steps:
        """In any order: to the end, and again until a pass brings nothing unseen; then the cursor moves.

        It moves to what was newest before the last pass began: later changes come again next time.
        """
        since, newest = self._begin(), self.state.cursor
        seen: set[tuple[bytes, int | None]] = set()
        for _ in range(_PASSES):
            after: str | None = None
            pages, fresh, now_newest = _Pages(self.rules.page_size), False, newest
            while True:
                page = yield from self._ask(since, after)
                pages.add(page)
                marks = {(self.rules.id_of(record), self.rules.updated(record)) for record in page.records}
                fresh = fresh or not marks <= seen
                seen |= marks
                now_newest = self._newest(page.records, now_newest)
                yield (yield from self._take(page.records))
                after = page.after
                if after is None:
                    break
            if pages.is_one or not fresh:
                self.state.cursor = now_newest if pages.is_one else newest
                yield Found()
                return
            newest = now_newest

    def _ask(self, since: int | None, after: str | None) -> Generator[AskPage, Page | Record | None, Page]:
        page = yield AskPage(since, after)
        assert isinstance(page, Page)
        return page

    def _take(self, records: Sequence[Record], older: set[bytes] | None = None) -> _Taking:
        """What a page's records mean. `older`: of a whole list, those that are older there than published."""
        found = Found(read=len(records))
        doubtful: list[tuple[bytes, Record]] = []
        for record in records:
            id, now = self.rules.id_of(record), self._now()
            if self.rules.is_deleted(record):
                _add(found, self.memory.gone(id, now, self.rules.updated(record)))
                continue
            judged = self.memory.judge(id, record, now)
            if judged is not Verdict.DOUBTFUL:
                _add(found, judged)
            elif self.rules.can_look:
                doubtful.append((id, record))
            elif older is not None:
                older.add(id)
                if id in self._older:  # twice in a row: the application means it
                    _add(found, self.memory.judge(id, record, now, trusted=True))
        for id, record in doubtful:
            found = yield from _out(found)
            itself = yield AskRecord(id.decode())
            assert not isinstance(itself, Page)
            self.memory.looked_at(id, record, self._now())
            self._take_one(found, id, itself)
        return found

    def _take_one(self, found: Found, id: bytes, record: Record | None) -> None:
        """What a record's own address says."""
        if record is UNREADABLE:
            return
        if record is None or self.rules.is_deleted(record):
            _add(found, self.memory.gone(id, self._now()))
        else:
            _add(found, self.memory.judge(id, record, self._now(), trusted=True))

    def _settle(self, lacking: Sequence[bytes], known: int) -> Steps:
        """Deletes what a whole list lacks: if its own address says so, or else the list before lacks it too."""
        is_odd = len(lacking) > _FEW and 2 * len(lacking) > known and not self.rules.may_vanish
        if not self.rules.can_look:
            if is_odd:
                raise self._unbelievable(len(lacking), known, "and there is no way to ask for one alone")
            found = Found()
            for id in lacking:
                if id in self._lacking:
                    _add(found, self.memory.gone(id, self._now()))
            self._lacking = {id for id in lacking if id in self.memory}
            yield found
            return
        confirmed: list[tuple[bytes, int]] = []
        found = Found()
        for id in lacking:
            found = yield from _out(found)
            record = yield AskRecord(id.decode())
            assert not isinstance(record, Page)
            is_gone = record is None or self.rules.is_deleted(record)
            if is_odd and not is_gone:
                raise self._unbelievable(len(lacking), known, f"and {id.decode()} is there when asked for alone")
            found.read += 1
            if is_odd:
                confirmed.append((id, self.memory.version(id)))
            else:
                self._take_one(found, id, record)
        for id, version in confirmed:
            if self.memory.version(id) == version:  # nobody has heard since that it is back
                _add(found, self.memory.gone(id, self._now()))
        yield found

    def _unbelievable(self, lacking: int, known: int, why: str) -> TransientError:
        return TransientError(
            f"the list of {self.rules.name} lacks {lacking} of {known} records, {why}; nothing is deleted: look into"
            " the application, and if they are really gone set `may_vanish: true` in the data type's `source:` for once"
        )

    def _listed(self, began: int, newest: int | None, *, is_whole: bool, is_one: bool, missed: bool) -> None:
        """After a list: where polls begin, and when the next list is due."""
        state = self.state
        if state.cursor is None and self.rules.has_changes:
            state.cursor = newest if is_one and is_whole else state.newest
        state.newest = newest if state.cursor is None and self.rules.has_changes else None
        self._passes += 1
        is_told = self.rules.has_changes or state.compared_at is None
        if not is_whole or (missed and not is_one and is_told and self._passes < _PASSES):
            self.again = True
            return
        self._passes = 0
        self.again = False if self._lacking or self._older else None
        if self.again is None and is_told:
            state.compared_at = began

    def _begin(self) -> int:
        """Since when to ask: some time before the cursor, since changes may become visible late."""
        return self._written((self.state.cursor or 0) - self.rules.overlap)

    def _written(self, time: int) -> int:
        """The {since} that brings everything from `time` on, as it will be written."""
        return max(0, time - time % self.rules.grain - (0 if self.rules.inclusive else self.rules.grain))

    def _newest(self, records: Sequence[Record], newest: int | None) -> int | None:
        """The newest update time; one from far in the future is a slip, and would hide all that is true."""
        latest = self._now() + _DAY
        times = [time for record in records if (time := self.rules.updated(record)) is not None and time <= latest]
        return max(times, default=None) if newest is None else max([newest, *times])

    def _is_late(self, record: Record) -> bool:
        """Whether a record that nobody knew should have come before."""
        cursor, updated = self.state.cursor, self.rules.updated(record)
        return cursor is None or updated is None or updated <= cursor - self.rules.overlap


def _out(found: Found) -> _Taking:
    """Yields what there is to publish before the next question; what to go on with.

    While that waits for its answer others read too: what they publish of the same record is newer, and must come after.
    """
    if not found.changes and not found.rejects:
        return found
    yield found
    return Found()


def _add(found: Found, judged: Judged | None) -> None:
    if isinstance(judged, Change):
        found.changes.append(judged)
    elif isinstance(judged, Reject):
        found.rejects.append(judged)
