"""However an application changes between two questions of a poll, its topic ends on the application's own state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from sorbus.abilities import PublishedState
from sorbus.connector import Change
from sorbus.errors import PermanentError
from sorbus.http_api.interface import Page, Record
from sorbus.producers.http.reader import ListReader
from sorbus.producers.polling.change_detector import ChangeDetector
from sorbus.producers.polling.poll_state import AskPage, AskRecord, PageResult, PollState, Rules, Steps
from tests.search import examples

SECOND = 1_000_000
NOON = 1_800_000_000 * SECOND


class State(NamedTuple):
    """A record as it was from `seen_at` on (the application's clock); no record: deleted."""

    seen_at: int
    record: Record | None


@dataclass
class Application:
    """Records in memory, listed as the rules say; `lag`: how old its lists are (records by id are not)."""

    size: int = 2
    ascending: bool = True
    lag: int = 0
    now: int = NOON
    inclusive: bool = True
    grain: int = 1
    states: dict[str, list[State]] = field(default_factory=dict)

    def write(self, id: str, name: str | None, *, archived: bool = False) -> None:
        stamp = self.now - self.now % self.grain
        record = None if name is None else {"id": id, "name": name, "updated": stamp, "archived": archived}
        self.states.setdefault(id, []).append(State(self.now, record))

    def at(self, id: str, moment: int) -> Record | None:
        for state in reversed(self.states.get(id, ())):
            if state.seen_at <= moment:
                return state.record
        return None

    def all_at(self, moment: int) -> dict[str, Record]:
        return {id: record for id in self.states if (record := self.at(id, moment))}

    def live(self) -> dict[str, str]:
        found = self.all_at(self.now)
        return {id: str(record["name"]) for id, record in found.items() if not record["archived"]}

    def listed(self, since: int | None) -> list[Record]:
        found = list(self.all_at(self.now - self.lag).values())
        if since is not None:
            found = [one for one in found if one["updated"] > since or (self.inclusive and one["updated"] == since)]
        if since is not None and self.ascending:
            found.sort(key=lambda one: (one["updated"], one["id"]))
        return found

    def page(self, asked: AskPage) -> Page:
        found = self.listed(asked.since)
        begin = int(asked.after or 0)
        more = begin + self.size < len(found)
        return Page(found[begin : begin + self.size], str(begin + self.size) if more else None, len(found))

    def answer(self, asked: AskPage | AskRecord) -> Page | Record | None:
        return self.page(asked) if isinstance(asked, AskPage) else self.at(asked.id, self.now)


@dataclass
class LargeApplication(Application):
    """One that changes by `write` alone: between two writes, each of its lists is made once for all pages and polls."""

    _newest: int = 0
    _all: dict[int, dict[str, Record]] = field(default_factory=dict)
    _lists: dict[tuple[int, int | None], list[Record]] = field(default_factory=dict)

    def write(self, id: str, name: str | None, *, archived: bool = False) -> None:
        super().write(id, name, archived=archived)
        self._newest = max(self._newest, self.now)
        self._all.clear()
        self._lists.clear()

    def all_at(self, moment: int) -> dict[str, Record]:
        moment = min(moment, self._newest)
        if moment not in self._all:
            self._all[moment] = super().all_at(moment)
        return self._all[moment]

    def listed(self, since: int | None) -> list[Record]:
        key = min(self.now - self.lag, self._newest), since
        if key not in self._lists:
            self._lists[key] = super().listed(since)
        return self._lists[key]


class Bus:
    """What a reader publishes, with the rules of all topics checked; and what a restart would be told."""

    def __init__(self) -> None:
        self.events: list[Change] = []
        self.last: dict[bytes, Change] = {}
        self.letters: set[bytes] = set()
        self.position = PollState()
        self.deleted_version = 0
        self._may_repeat: set[bytes] = set()

    def publish(self, found: PageResult, reader: ListReader) -> None:
        for change in found.changes:
            before = self.last.get(change.id)
            assert before is None or before.version < change.version, f"{change} after {before}"
            if change.id not in self._may_repeat:
                assert (before.data if before else None) != change.data, f"{change} twice"
            self._may_repeat.discard(change.id)
            self.letters.discard(change.id)
            self.last[change.id] = change
            self.events.append(change)
        for reject in found.rejects:
            self.letters.add(reject.id)
            self._may_repeat.add(reject.id)
        self.position = replace(reader.state)
        self.deleted_version = reader.memory.deleted_version

    def live(self) -> dict[str, str]:
        return {id.decode(): change.data.decode() for id, change in self.last.items() if change.data is not None}

    def remembered(self) -> list[PublishedState]:
        told = [
            PublishedState(c.id, c.version, c.occurred_at, b"" if c.id in self.letters else c.data)
            for c in self.last.values()
            if c.data is not None
        ]
        known = {one.id for one in told}
        return told + [PublishedState(id, 0, 0, b"") for id in sorted(self.letters - known)]


def encoded(record: Record) -> bytes:
    if str(record["name"]).startswith("bad"):
        raise PermanentError("it is bad", reason="not canonical")
    return str(record["name"]).encode()


def open_reader(app: Application, rules: Rules, bus: Bus, clock: Callable[[], int]) -> ListReader:
    memory = ChangeDetector("contact", encoded, rules.updated, can_look=rules.can_look)
    memory.deleted_version = bus.deleted_version
    memory.remember(bus.remembered())
    return ListReader(rules, memory, replace(bus.position), clock)


def rules_for(app: Application, *, has_changes: bool = True, can_look: bool = True, overlap: int = 0) -> Rules:
    return Rules(
        "contacts",
        lambda record: str(record["id"]).encode(),
        lambda record: record["updated"],
        lambda record: bool(record["archived"]),
        has_changes=has_changes,
        can_look=can_look,
        ascending=app.ascending,
        inclusive=app.inclusive,
        overlap=overlap,
        page_size=app.size,
    )


class Session:
    """A reader that goes on by one question at a time; while one waits for its answer, other ways to read go on."""

    def __init__(self, app: Application, rules: Rules, bus: Bus, skew: int = 0) -> None:
        self.app, self.bus = app, bus
        self.reader = open_reader(app, rules, bus, lambda: app.now + skew)
        self._runs: dict[str, tuple[Steps, AskPage | AskRecord]] = {}

    @property
    def is_busy(self) -> bool:
        return bool(self._runs)

    def reads(self, job: str) -> bool:
        return job in self._runs

    def begin(self, steps: Steps, job: str = "poll") -> None:
        self._go_on(job, steps, None)

    def answer_one(self, job: str = "poll") -> None:
        """The application answers what it is asked, now."""
        steps, question = self._runs[job]
        self._go_on(job, steps, self.app.answer(question))

    def overtake(self, id: str) -> None:
        """A webhook's word on a record, looked into at once, whatever waits for its answer."""
        self.begin(self.reader.records([(id, False)]), "told")
        if self.reads("told"):
            self.answer_one("told")

    def finish(self) -> None:
        while self.is_busy:
            self.answer_one(next(iter(self._runs)))

    def run(self, steps: Steps) -> None:
        self.begin(steps)
        self.finish()

    def list_all(self) -> None:
        """Lists until no list wants to be repeated."""
        for _ in range(5):
            self.run(self.reader.everything())
            if self.reader.again is None:
                return
        pytest.fail("the list wants to be read again and again")

    def _go_on(self, job: str, steps: Steps, answer: Page | Record | None) -> None:
        try:
            said = steps.send(answer)
            while isinstance(said, PageResult):
                self.bus.publish(said, self.reader)
                said = steps.send(None)
            self._runs[job] = steps, said
        except StopIteration:
            self._runs.pop(job, None)
            self.bus.publish(PageResult(), self.reader)


class AnyApplication(RuleBasedStateMachine):
    """Writes, questions and restarts in any order."""

    @initialize(
        ascending=st.booleans(),
        size=st.integers(1, 3),
        grain=st.sampled_from([1, SECOND, 60 * SECOND]),
        inclusive=st.booleans(),
        has_changes=st.booleans(),
        can_look=st.booleans(),
        lag=st.sampled_from([0, 3 * SECOND]),
        skew=st.sampled_from([0, 3600 * SECOND, -3600 * SECOND]),
        is_fresh=st.sampled_from([False, False, True]),
    )
    def start(
        self,
        ascending: bool,
        size: int,
        grain: int,
        inclusive: bool,
        has_changes: bool,
        can_look: bool,
        lag: int,
        skew: int,
        is_fresh: bool,
    ) -> None:
        self.app = Application(size, ascending, lag, inclusive=inclusive, grain=grain)
        self.rules = rules_for(self.app, has_changes=has_changes, can_look=can_look, overlap=10 * SECOND)
        self.bus, self.skew, self.names = Bus(), skew, 0
        self.session = Session(self.app, self.rules, self.bus, skew)
        if not is_fresh:  # or few examples would ever get past the initial snapshot
            for id in (1, 2, 3):
                self.write(id, is_bad=False)
            self.app.now += 60 * SECOND
            self.session.list_all()

    @rule(id=st.integers(1, 3), is_bad=st.sampled_from([False] * 5 + [True]))
    def write(self, id: int, is_bad: bool) -> None:
        self.names += 1
        self.app.write(str(id), f"bad {self.names}" if is_bad else f"name {self.names}")

    @rule(id=st.integers(1, 3))
    def delete(self, id: int) -> None:
        if self.app.at(str(id), self.app.now):
            self.app.write(str(id), None)

    @rule(id=st.integers(1, 3))
    def archive(self, id: int) -> None:
        if there := self.app.at(str(id), self.app.now):
            self.app.write(str(id), there["name"], archived=True)

    @rule(seconds=st.sampled_from([0.2, 1, 5]))
    def pass_time(self, seconds: float) -> None:
        self.app.now += int(seconds * SECOND)

    @rule(job=st.sampled_from(["told", "changes", "everything"]), answers=st.integers(1, 3))
    def go_on(self, job: str, answers: int) -> None:
        session = self.session
        if not session.reads(job):
            if job == "everything":
                session.begin(session.reader.everything(), job)
            elif job == "changes" and self.rules.has_changes and session.reader.state.cursor is not None:
                session.begin(session.reader.changes(), job)
        for _ in range(answers):
            if session.reads(job):
                session.answer_one(job)

    @precondition(lambda self: not self.session.reads("told"))
    @rule(id=st.integers(1, 3), deleted=st.booleans())
    def hear(self, id: int, deleted: bool) -> None:
        gone = deleted and not self.app.at(str(id), self.app.now)
        self.session.begin(self.session.reader.records([(str(id), gone)]), "told")

    @precondition(lambda self: self.session.is_busy and not self.session.reads("told"))
    @rule(id=st.integers(1, 3))
    def overtake(self, id: int) -> None:
        """A change that is heard of and answered at once, while a poll waits for its answer."""
        self.app.now += SECOND
        self.write(id, is_bad=False)
        self.session.overtake(str(id))

    @rule()
    def kill(self) -> None:
        self.session = Session(self.app, self.rules, self.bus, self.skew)

    def teardown(self) -> None:
        if not hasattr(self, "session"):
            return
        self.session.finish()
        self.app.now += 3600 * SECOND  # all that lags has caught up
        if self.rules.has_changes and self.session.reader.state.cursor is not None:
            self.session.run(self.session.reader.changes())
        self.session.list_all()
        if (held := self.session.reader.deletes.held) is not None:
            assert {id.decode() for id in held.ids} <= set(self.app.states) - set(self.app.live()), "it is there"
            self.session.reader.deletes.confirmed = frozenset(held.ids)
            self.session.list_all()
        there = self.app.live()
        good = {id: name for id, name in there.items() if not name.startswith("bad")}
        assert {id: name for id, name in self.bus.live().items() if id in good or id not in there} == good
        assert {id.decode() for id in self.bus.letters} == there.keys() - good.keys()
        count = len(self.bus.events)
        self.session.list_all()
        assert self.bus.events[count:] == [], "a poll of what is published already publishes again"


AnyApplication.TestCase.settings = settings(
    max_examples=examples(400), stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
pytest.mark.search(AnyApplication.TestCase)
test_whatever_happens_between_two_questions_the_topic_ends_on_the_applications_state = AnyApplication.TestCase


def polled(app: Application, *, overlap: int = 0, can_look: bool = True) -> tuple[Session, Bus]:
    """A session whose first list is done."""
    bus = Bus()
    session = Session(app, rules_for(app, can_look=can_look, overlap=overlap), bus)
    session.list_all()
    return session, bus


@pytest.mark.parametrize("ascending", [True, False])
def test_a_thousand_records_of_one_moment_all_come(ascending: bool) -> None:
    app = Application(100, ascending, grain=SECOND)
    app.write("first", "1")
    session, bus = polled(app)
    app.now += 60 * SECOND
    for number in range(1000):
        app.write(f"{number:04}", "1")
    session.run(session.reader.changes())
    assert bus.live() == app.live()
    asked = len(bus.events)
    session.run(session.reader.changes())
    assert len(bus.events) == asked


def test_pages_that_shift_skip_no_change_of_an_ordered_list() -> None:
    app = Application(10)
    for number in range(200):
        app.now += SECOND
        app.write(f"{number:04}", "old")
    session, bus = polled(app)
    for number in range(200):
        app.now += SECOND
        app.write(f"{number:04}", "new")
    session.begin(session.reader.changes())
    changed = 0
    while session.is_busy:  # what was read moves to the end, so that all behind it moves up
        session.answer_one()
        if changed < 60:
            app.now += SECOND
            app.write(f"{changed:04}", "newer")
            changed += 3
    assert bus.live() == app.live()


def test_records_that_leave_a_moment_while_it_is_read_hide_none_that_stay() -> None:
    app = Application(5, grain=3600 * SECOND)
    app.write("first", "old")
    session, bus = polled(app)
    app.now += 3600 * SECOND
    for number in range(40):
        app.write(f"{number:04}", "new")
    session.begin(session.reader.changes())
    for _ in range(4):
        session.answer_one()
    app.now += 3600 * SECOND
    for number in range(3):  # three places before the next page are free now
        app.write(f"{number:04}", "newer")
    session.finish()
    assert bus.live() == app.live()


@pytest.mark.parametrize("can_look", [True, False])
def test_a_list_that_lags_brings_back_neither_an_older_state_nor_what_was_deleted(can_look: bool) -> None:
    app = Application(5)
    app.write("a", "1")
    app.write("b", "1")
    session, bus = polled(app, overlap=60 * SECOND, can_look=can_look)
    app.now += 10 * SECOND
    app.write("a", "2")
    app.write("b", None)
    session.run(session.reader.changes())
    session.begin(session.reader.records([("a", False), ("b", True)]))
    session.finish()
    count = len(bus.events)
    app.now, app.lag = app.now + 15 * SECOND, 20 * SECOND  # lists are of before the second states
    for _ in range(3):
        session.run(session.reader.changes())
    assert bus.events[count:] == []
    assert bus.live() == {"a": "2"}


def test_an_application_that_sorts_otherwise_than_described_is_read_all_the_same() -> None:
    app = Application(5, ascending=False)
    app.write("0", "old")
    bus = Bus()
    session = Session(app, replace(rules_for(app), ascending=True), bus)
    session.list_all()
    for number in (5, 3, 9, 1, 7, 2, 8, 4, 6):
        app.now += SECOND
        app.write(str(number), "new")
    app.states = dict(sorted(app.states.items()))
    session.run(session.reader.changes())
    assert bus.live() == app.live()


CUTS = {
    "to 60%": lambda ids: ids[: len(ids) * 6 // 10],
    "nine of ten": lambda ids: ids[: len(ids) // 10],
    "to nothing": lambda ids: [],
    "to another account's": lambda ids: [f"other {id}" for id in ids],
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("count", [10, 100])
@pytest.mark.parametrize("way", ["hidden everywhere", "shown alone", "no address"])
def test_a_list_that_is_cut_short_again_and_again_deletes_nothing(cut: str, count: int, way: str) -> None:
    """Also where the records' own addresses say that there are none, as they do to those without the right."""
    app = Application(10)
    for number in range(count):
        app.write(f"{number:04}", "x")
    session, bus = polled(app, can_look=way != "no address")
    app.now += 86_400 * SECOND
    there = app.states
    shown = CUTS[cut](list(there))
    app.states = {id: there.get(id, [State(app.now, {**there["0000"][0].record, "id": id})]) for id in shown}
    answer = app.answer
    if way == "shown alone":
        app.answer = lambda asked: answer(asked) if isinstance(asked, AskPage) else there[asked.id][-1].record  # type: ignore[method-assign]
    for _ in range(5):
        session.run(session.reader.everything())
    assert set(there) <= set(bus.live()), "something was deleted"
    held = session.reader.deletes.held
    if way == "shown alone":
        assert held is None
        return
    assert held is not None
    assert {id.decode() for id in held.ids} == set(there) - set(shown), "a person isn't asked about the right ones"
    assert held.known >= count
    app.states = there  # the right is given back
    session.list_all()
    held = session.reader.deletes.held
    assert held is None or not {id.decode() for id in held.ids} & set(there), "only about the other account's"
    assert set(there) <= set(bus.live())


@pytest.mark.parametrize("can_look", [True, False])
def test_what_a_person_has_confirmed_is_deleted_and_nothing_else(can_look: bool) -> None:
    app = Application(10)
    for number in range(30):
        app.write(f"{number:04}", "x")
    session, bus = polled(app, can_look=can_look)
    app.now += 86_400 * SECOND
    for number in range(20):
        app.write(f"{number:04}", None)
    for _ in range(3):
        session.run(session.reader.everything())
    assert len(bus.live()) == 30
    held = session.reader.deletes.held
    assert held is not None
    assert len(held.ids) == 20
    session.reader.deletes.confirmed = frozenset(held.ids)
    for number in range(15, 25):
        app.write(f"{number:04}", None if number >= 20 else "back")
    session.list_all()
    assert set(bus.live()) == {f"{number:04}" for number in range(15, 30)}, (
        "20 to 24 are five more, of which nobody knew"
    )
    left = session.reader.deletes.held
    assert left is not None
    assert [id.decode() for id in left.ids] == [f"{number:04}" for number in range(20, 25)]


def test_a_right_that_comes_back_while_records_are_asked_for_deletes_none_of_them() -> None:
    app = Application(100)
    for number in range(30):
        app.write(f"{number:04}", "x")
    session, bus = polled(app)
    app.now += SECOND
    there, app.states = app.states, {id: states for id, states in app.states.items() if id >= "0012"}
    session.begin(session.reader.everything(), "everything")
    for _ in range(4):  # the list, and three addresses
        session.answer_one("everything")
    app.states = there
    session.finish()
    assert bus.live() == app.live()
    app.write("0001", None)
    session.list_all()
    assert bus.live() == app.live()


def test_records_that_lists_hide_for_good_keep_no_delete_waiting() -> None:
    app = Application(100)
    for number in range(30):
        app.write(f"{number:04}", "x")
    session, bus = polled(app)
    app.now += SECOND
    page = app.page
    app.page = lambda asked: page(asked)._replace(records=[one for one in page(asked).records if one["id"] >= "0010"])  # type: ignore[method-assign]
    session.list_all()
    assert bus.live() == app.live()
    app.write("0020", None)
    session.list_all()
    assert bus.live() == app.live()


def test_the_answer_that_a_record_is_gone_is_believed_when_the_list_lacks_it_too() -> None:
    """An application that answers 404 for what we may not see any more says so of a live record, too."""
    app = Application(10)
    for number in range(30):
        app.write(f"{number:04}", "x")
    session, bus = polled(app)
    app.now += SECOND
    app.write("0003", None)
    hidden, answer = {"0001", "0003"}, app.answer
    app.answer = lambda asked: None if isinstance(asked, AskRecord) and asked.id in hidden else answer(asked)  # type: ignore[method-assign]
    for id in sorted(hidden):
        session.begin(session.reader.records([(id, False)]))
        session.finish()
    assert {"0001", "0003"} <= set(bus.live()), "nothing but an address said that it is gone"
    assert session.reader.wants_list
    session.run(session.reader.everything())
    assert set(app.states) - set(bus.live()) == {"0003"}


@pytest.mark.parametrize(("total", "deleted"), [(10, False), (9, True), (None, True)])
def test_a_total_that_contradicts_a_list_keeps_what_it_lacks(total: int | None, deleted: bool) -> None:
    """Where a record has no address of its own, even one that two lists in a row lack."""
    app = Application(4)
    for number in range(10):
        app.write(f"{number:04}", "x")
    session, bus = polled(app, can_look=False)
    app.now += SECOND
    del app.states["0004"]
    page = app.page
    app.page = lambda asked: page(asked)._replace(total=total)  # type: ignore[method-assign]
    for _ in range(3):
        session.run(session.reader.everything())
    assert ("0004" not in bus.live()) is deleted


def bulk(app: Application, count: int, session: Session) -> None:
    app.now += 3600 * SECOND
    app.now -= app.now % SECOND
    for number in range(count):
        app.write(f"{number:06}", "bulk")
    session.run(session.reader.changes())


class Counting:
    """How many pages are asked for."""

    def __init__(self, app: Application) -> None:
        self.pages, self._page = 0, app.page
        app.page = self  # type: ignore[method-assign,assignment]

    def __call__(self, asked: AskPage) -> Page:
        self.pages += 1
        return self._page(asked)


@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize("inclusive", [True, False])
@pytest.mark.parametrize("grain", [1, 1000, SECOND])
def test_many_records_of_one_time_are_not_read_at_every_poll(ascending: bool, inclusive: bool, grain: int) -> None:
    app = LargeApplication(10, ascending, grain=grain, inclusive=inclusive)
    app.write("first", "1")
    bus = Bus()
    session = Session(app, replace(rules_for(app, overlap=2 * SECOND), grain=grain, inclusive=inclusive), bus)
    session.list_all()
    bulk(app, 1000, session)
    assert bus.live() == app.live()
    counting = Counting(app)
    for number in range(200):  # a poll every five seconds
        app.now += 5 * SECOND
        if number % 50 == 20:
            app.write(f"new {number}", "1")
        session.run(session.reader.changes())
        assert bus.live() == app.live()
        session = Session(app, session.reader.rules, bus)  # a restart doesn't begin anew
    assert counting.pages < 200 + 10 * 210, f"{counting.pages} requests for 200 polls of 4 new records"


def test_one_record_more_of_a_moment_that_was_read_already_comes_while_it_may() -> None:
    app = LargeApplication(10, grain=SECOND)
    app.write("first", "1")
    session, bus = polled(app, overlap=60 * SECOND)
    bulk(app, 1000, session)
    session.run(session.reader.changes())
    app.write("late", "1")  # of the same second
    late = app.states["late"][0]
    app.now += 1 * SECOND
    for _ in range(30):
        app.now += 5 * SECOND
        session.run(session.reader.changes())
    assert late.record is not None
    assert bus.live() == app.live()


def test_without_an_address_of_its_own_a_record_is_deleted_when_two_lists_lack_it() -> None:
    app = Application(10)
    for id in "abc":
        app.write(id, "x")
    session, bus = polled(app, can_look=False)
    app.now += SECOND
    app.write("b", None)
    session.run(session.reader.everything())
    assert session.reader.again is False
    assert set(bus.live()) == {"a", "b", "c"}
    session.run(session.reader.everything())
    assert session.reader.again is None
    assert set(bus.live()) == {"a", "c"}


def test_a_record_from_the_far_future_does_not_hide_what_comes_before_it() -> None:
    app = Application(10)
    app.write("a", "x")
    session, bus = polled(app)
    soon = app.now + 60 * SECOND
    app.now += 10**9 * SECOND
    app.write("slip", "x")
    app.states["slip"][0] = app.states["slip"][0]._replace(seen_at=soon)
    app.now = soon
    session.run(session.reader.changes())
    app.now += 60 * SECOND
    app.write("b", "x")
    session.run(session.reader.changes())
    assert set(bus.live()) == {"a", "b", "slip"}


def test_what_is_deleted_and_made_again_goes_on_from_the_deletes_version() -> None:
    app = Application(10)
    app.write("a", "x")
    session, bus = polled(app)
    session.reader.memory.gone(b"a", app.now + 3600 * SECOND)
    gone = session.reader.memory.deleted_version
    bus.last[b"a"] = Change("contact", b"a", gone, gone, None)
    bus.deleted_version = gone
    again = Session(app, session.reader.rules, bus)  # the delete's tombstone is compacted away
    app.now += SECOND
    app.write("a", "y")
    again.list_all()
    assert bus.last[b"a"].version > gone
    assert bus.live() == {"a": "y"}


def test_a_poll_that_waits_for_an_answer_holds_nothing_back_that_others_overtake() -> None:
    """On a compacted topic the older state would be the one that stays."""
    app = Application(5, ascending=False)
    app.write("a", "1")
    app.write("b", "1")
    session, bus = polled(app, overlap=60 * SECOND)
    app.now += 10 * SECOND
    app.write("a", "2")
    app.write("b", "2")
    session.run(session.reader.records([("b", False)]))
    app.now, app.lag = app.now + 15 * SECOND, 15 * SECOND
    app.states["b"][1] = app.states["b"][1]._replace(seen_at=app.now)  # a's change is listed already, b's not yet
    session.begin(session.reader.changes(), "changes")
    session.answer_one("changes")
    assert session.reads("changes"), "b's own address is asked"
    app.write("a", "3")
    session.overtake("a")
    session.finish()
    assert bus.live() == app.live()


def test_a_record_that_is_back_while_others_deletes_are_looked_into_stays() -> None:
    app = Application(5)
    for id in "abc":
        app.write(id, "1")
    session, bus = polled(app)
    app.now += SECOND
    app.write("a", None)
    app.write("b", None)
    session.begin(session.reader.everything(), "everything")
    session.answer_one("everything")  # the list
    session.answer_one("everything")  # a is gone, and b is asked for
    app.now += SECOND
    app.write("a", "2")
    session.overtake("a")
    session.finish()
    assert bus.live() == app.live()


def test_a_record_that_is_back_before_the_last_of_many_is_confirmed_to_be_gone_stays() -> None:
    app = Application(10)
    for number in range(30):
        app.write(f"{number:04}", "1")
    session, bus = polled(app)
    app.now += SECOND
    for number in range(30):
        app.write(f"{number:04}", None)
    session.reader.deletes.confirmed = frozenset(f"{number:04}".encode() for number in range(30))
    session.begin(session.reader.everything(), "everything")
    for _ in range(12):
        session.answer_one("everything")
    app.now += SECOND
    app.write("0003", "2")
    session.overtake("0003")
    session.finish()
    assert bus.live() == app.live() == {"0003": "2"}
