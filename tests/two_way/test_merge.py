"""Any interleaving of people, deliveries, faults and repeats ends with all systems equal, each field by its rule.

The model is a company in miniature: systems with logs, a merge that reads them in any order and now and then again,
deliveries that come late. One system rounds and trims what it is given. What is right is computed from what people
did, never from what the merge keeps.
"""

from __future__ import annotations

from itertools import count
from math import nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sorbus.producers.merge.loops import TURNS, LoopBreaker
from sorbus.two_way.merge import Merging, Proposal, Verdict
from sorbus.two_way.merged_record import MergedRecord, View, same
from sorbus.two_way.rules import MergeRules
from tests.search import examples

SECOND = 1_000_000
SYSTEMS = ("crm", "books", "support")
FIELDS = ("name", "email", "rate", "tags", "credit")
RULES = MergeRules(
    "crm",
    {"crm": frozenset(FIELDS), "books": frozenset(FIELDS) - {"name"}, "support": frozenset(FIELDS) - {"name"}},
    {"credit": "books"},
    {"email": "latest", "rate": "latest", "tags": "union"},
    tolerance=0,
)
WRITTEN = {"crm": ("email", "rate", "tags", "credit"), "books": ("name", "email", "rate", "tags"), "support": FIELDS}
"""What Sorbus writes into each: not what the system owns."""


def kept(system: str, name: str, value: object) -> object:
    """What a system makes of a value that it is given."""
    if system != "books":
        return value
    return round(value, 0) if isinstance(value, float) else value.strip() if isinstance(value, str) else value


class Company(RuleBasedStateMachine):
    """One record in three systems."""

    def __init__(self) -> None:
        super().__init__()
        self.versions = count(1)
        self.merging = Merging(RULES, lambda: next(self.versions))
        self.record = MergedRecord(b"1")
        self.clock = 0
        self.logs: dict[str, list[Proposal]] = {name: [] for name in SYSTEMS}
        self.read: dict[str, int] = dict.fromkeys(SYSTEMS, 0)
        self.rows: dict[str, dict[str, object] | None] = dict.fromkeys(SYSTEMS)
        self.applied: dict[str, int] = dict.fromkeys(SYSTEMS, 0)
        self.events: list[tuple[int, dict[str, object]]] = []
        self.edits: dict[str, list[tuple[int, str, object]]] = {name: [] for name in FIELDS}
        self.tags: set[str] = set()
        self.gone: set[str] = set()
        self.fresh = count(1)
        self.merges = 0

    @initialize()
    def create(self) -> None:
        self.rows["crm"] = {"name": "a", "email": "e", "rate": 1.0, "tags": [], "credit": None}
        self.edits["email"].append((0, "crm", "e"))
        self.edits["rate"].append((0, "crm", 1.0))
        self.edits["name"].append((0, "crm", "a"))
        self.note("crm", None)

    def note(self, system: str, delivered: int | None) -> None:
        """The system's log shows its row."""
        self.clock += SECOND
        row = self.rows[system]
        shown = None if row is None else {name: row[name] for name in RULES.proposes[system]}
        log = self.logs[system]
        log.append(Proposal(system, len(log) + 1, self.clock, shown, delivered))

    @rule(
        system=st.sampled_from(SYSTEMS), name=st.sampled_from(("name", "email", "rate", "credit")), blank=st.booleans()
    )
    def edit(self, system: str, name: str, blank: bool) -> None:
        """A person changes a field."""
        row = self.rows[system]
        if row is None or name not in RULES.proposes[system]:
            return
        number = next(self.fresh)
        value: object = number + 0.4 if name in ("rate", "credit") else f"{system}{number}{' ' * blank}"
        row[name] = kept(system, name, value)
        self.note(system, None)
        self.edits[name].append((self.clock, system, row[name]))

    @rule(system=st.sampled_from(SYSTEMS), adds=st.booleans())
    def tag(self, system: str, adds: bool) -> None:
        """A person adds a tag or takes one away."""
        row = self.rows[system]
        if row is None:
            return
        tags = row["tags"]
        assert isinstance(tags, list)
        if adds:
            tag = f"{system}{next(self.fresh)}"
            row["tags"] = [*tags, tag]
            self.tags.add(tag)
        elif tags:
            row["tags"] = tags[1:]
            self.gone.add(tags[0])
        self.note(system, None)

    @rule(system=st.sampled_from(("books", "support")))
    def delete_elsewhere(self, system: str) -> None:
        """A person deletes the record where it isn't owned."""
        if self.rows[system] is not None:
            self.rows[system] = None
            self.note(system, None)

    @rule(system=st.sampled_from(SYSTEMS), most=st.integers(1, 5))
    def merge(self, system: str, most: int) -> None:
        """The merge reads on in one system's log."""
        for proposal in self.logs[system][self.read[system] :][:most]:
            before = self.record.version
            self.merging.take(self.record, proposal)
            self.read[system] += 1
            if self.record.version != before:
                self.publish()

    @rule(system=st.sampled_from(SYSTEMS), back=st.integers(1, 8))
    def read_again(self, system: str, back: int) -> None:
        """After a crash the merge reads again what it has read."""
        self.read[system] = max(0, self.read[system] - back)

    def publish(self) -> None:
        if self.record.may_go:
            assert self.record.values is not None
            self.events.append((self.record.version, dict(self.record.values)))
            self.merges += 1

    @rule(system=st.sampled_from(SYSTEMS), skipped=st.integers(0, 2))
    def deliver(self, system: str, skipped: int) -> None:
        """A flow delivers the next event, or a later one that replaces it."""
        waiting = [event for event in self.events if event[0] > self.applied[system]]
        if not waiting:
            return
        version, values = waiting[min(skipped, len(waiting) - 1)]
        self.applied[system] = version
        row = self.rows[system]
        if row is None:
            if system == "crm":
                return
            row = {name: [] if name == "tags" else None for name in FIELDS} | {"credit": 100.0}
            if system == "books":
                self.edits["credit"].append((self.clock + SECOND, "books", 100.0))
        self.rows[system] = row | {name: kept(system, name, values[name]) for name in WRITTEN[system]}
        self.note(system, version)

    @rule(system=st.sampled_from(SYSTEMS))
    def show_again(self, system: str) -> None:
        """The producer publishes the record's state once more, and can't say who wrote it."""
        if all(proposal.delivered is None for proposal in self.logs[system][-1:]) and self.logs[system]:
            self.note(system, None)

    @invariant()
    def it_ends(self) -> None:
        assert self.merges < 2000, "it turns for ever"

    def teardown(self) -> None:
        """When all is quiet, all agree."""
        for _ in range(200):
            before = [len(log) for log in self.logs.values()], self.record.version, dict(self.applied)
            for system in SYSTEMS:
                self.merge(system, 1000)
                self.deliver(system, 2)
            if before == ([len(log) for log in self.logs.values()], self.record.version, dict(self.applied)):
                break
        else:
            raise AssertionError("it never gets quiet")
        crm, books, support = (self.rows[system] for system in SYSTEMS)
        assert crm is not None
        if not self.events:
            return
        assert books is not None
        assert support is not None
        values = self.events[-1][1]
        assert {name: crm[name] for name in FIELDS} == values
        assert support == values
        assert {name: kept("books", name, values[name]) for name in WRITTEN["books"]} == {
            name: books[name] for name in WRITTEN["books"]
        }
        assert books["credit"] == values["credit"]
        owned = [value for _, system, value in self.edits["name"] if system == "crm"]
        assert values["name"] == owned[-1]
        credits = [value for _, system, value in self.edits["credit"] if system == "books"]
        assert values["credit"] == credits[-1]
        for name in ("email", "rate"):
            assert values[name] == max(self.edits[name])[2], (name, self.edits[name])
        tags = values["tags"]
        assert isinstance(tags, list)
        assert len(tags) == len(set(tags))
        assert set(tags) == self.tags - self.gone


TestCompany = Company.TestCase
TestCompany.settings = settings(max_examples=examples(300), stateful_step_count=40, deadline=None)


def record_of(rules: MergeRules, **values: object) -> tuple[Merging, MergedRecord]:
    versions = count(1)
    merging, record = Merging(rules, lambda: next(versions)), MergedRecord(b"1")
    merging.take(record, Proposal("crm", 1, 0, dict(values)))
    return merging, record


ASK = MergeRules("crm", {"crm": frozenset({"phone"}), "books": frozenset({"phone"})}, {}, {"phone": "ask"})


def test_two_changes_at_a_time_are_asked_and_the_record_waits() -> None:
    merging, record = record_of(ASK, phone="1")
    merging.take(record, Proposal("books", 1, 0, {"phone": "1"}, delivered=record.version))
    merging.take(record, Proposal("crm", 2, 5, {"phone": "2"}))
    record.is_owed = False
    (ruling,) = merging.take(record, Proposal("books", 2, 6, {"phone": "3"}))
    assert (ruling.verdict, ruling.theirs, ruling.ours) == (Verdict.ASKED, "3", "2")
    merging.take(record, Proposal("crm", 3, 7, {"phone": "4"}))
    assert not record.may_go
    merging.decide(record, "phone", "books", keep=True)
    assert record.may_go
    assert record.values == {"phone": "3"}


def test_one_change_after_the_other_is_no_conflict() -> None:
    merging, record = record_of(ASK, phone="1")
    merging.take(record, Proposal("books", 1, 0, {"phone": "1"}, delivered=record.version))
    (ruling,) = merging.take(record, Proposal("books", 2, 6, {"phone": "3"}))
    assert ruling.verdict is Verdict.TAKEN


def test_a_clock_that_is_behind_loses_nothing_that_was_changed_later() -> None:
    rules = MergeRules("crm", ASK.proposes, {}, {"phone": "latest"})
    merging, record = record_of(rules, phone="1")
    merging.take(record, Proposal("crm", 2, 3600 * SECOND, {"phone": "2"}))
    merging.take(record, Proposal("books", 1, 0, {"phone": "2"}, delivered=record.version))
    (ruling,) = merging.take(record, Proposal("books", 2, 10, {"phone": "3"}))  # an hour behind, and it had seen 2
    assert (ruling.verdict, record.values) == (Verdict.TAKEN, {"phone": "3"})


def test_changes_within_the_tolerance_are_the_system_of_records() -> None:
    rules = MergeRules("crm", ASK.proposes, {}, {"phone": "latest"}, tolerance=5 * SECOND)
    merging, record = record_of(rules, phone="1")
    merging.take(record, Proposal("books", 1, 0, {"phone": "1"}, delivered=record.version))
    merging.take(record, Proposal("crm", 2, 10 * SECOND, {"phone": "2"}))
    (ruling,) = merging.take(record, Proposal("books", 2, 14 * SECOND, {"phone": "3"}))
    assert (ruling.verdict, ruling.system, record.values) == (Verdict.TIED, "books", {"phone": "2"})


def test_a_value_that_the_record_cant_have_is_refused_and_the_rest_is_taken() -> None:
    versions = count(1)
    rules = MergeRules("crm", {"books": frozenset({"a", "b"})}, {}, {"a": "latest", "b": "latest"})
    merging = Merging(rules, lambda: next(versions), lambda name, value: not (name == "a" and value is None))
    record = MergedRecord(b"1")
    merging.take(record, Proposal("crm", 1, 0, {"a": "x", "b": "y"}))
    merging.take(record, Proposal("books", 1, 1, {"a": "x", "b": "y"}))
    found = merging.take(record, Proposal("books", 2, 2, {"a": None, "b": "z"}))
    assert [one.verdict for one in found] == [Verdict.REFUSED, Verdict.TAKEN]
    assert record.values == {"a": "x", "b": "z"}


def test_joining_fills_gaps_and_replaces_nothing_but_as_rules_say() -> None:
    rules = MergeRules(
        "crm",
        {"books": frozenset({"gap", "theirs", "asked", "late", "list"})},
        {"theirs": "books"},
        {"gap": "latest", "asked": "ask", "late": "latest", "list": "union"},
    )
    merging, record = record_of(rules, gap=None, theirs="1", asked="1", late="1", list=["a"])
    found = merging.take(
        record, Proposal("books", 1, 9, {"gap": "g", "theirs": "2", "asked": "2", "late": "2", "list": ["b"]})
    )
    assert {one.field: one.verdict for one in found} == {
        "gap": Verdict.TAKEN, "theirs": Verdict.TAKEN, "asked": Verdict.ASKED, "late": Verdict.OVERRULED,
        "list": Verdict.TAKEN,
    }  # fmt: skip
    assert record.values == {"gap": "g", "theirs": "2", "asked": "1", "late": "1", "list": ["a", "b"]}


def test_a_record_that_is_deleted_as_often_as_it_is_sent_is_held_until_a_person_decides() -> None:
    merging, record = record_of(ASK, phone="1")
    breaker = LoopBreaker("crm", lambda: 0.0)
    for number in range(1, 2 * TURNS, 2):
        merging.take(record, Proposal("books", number, 0, {"phone": "1"}, delivered=record.version))
        (ruling,) = merging.take(record, Proposal("books", number + 1, 0, None))
        assert ruling.verdict is Verdict.OVERRULED
        if breaker.turns(record, ruling, breaker.shown(record)):
            break
    assert breaker.stopped == (b"1", "", "books", "crm")
    ruling = merging.hold(record, "", "books", "crm")
    assert (ruling.verdict, ruling.in_turn_with) == (Verdict.ASKED, "crm")
    assert not record.may_go
    merging.decide(record, "", "books", keep=True)
    assert record.may_go
    assert record.values == {"phone": "1"}


def test_the_newest_state_is_refused_again_and_an_older_one_is_not() -> None:
    rules = MergeRules("crm", {"books": frozenset({"a"})}, {}, {"a": "latest"})
    merging = Merging(rules, count(1).__next__, lambda _, value: value is not None)
    record = MergedRecord(b"1")
    merging.take(record, Proposal("crm", 1, 0, {"a": "x"}))
    merging.take(record, Proposal("books", 1, 1, {"a": "x"}))
    refused = Proposal("books", 2, 2, {"a": None})
    assert [one.verdict for one in merging.take(record, refused)] == [Verdict.REFUSED]
    assert [one.verdict for one in merging.take(record, refused)] == [Verdict.REFUSED]
    merging.take(record, Proposal("books", 3, 3, {"a": "x"}))
    assert merging.take(record, refused) == []


def test_what_a_system_owns_begins_anew_where_its_record_is_made_again_also_when_that_is_nothing() -> None:
    rules = MergeRules("crm", {"crm": frozenset({"credit"}), "books": frozenset({"credit"})}, {"credit": "books"})
    merging, record = Merging(rules, count(1).__next__), MergedRecord(b"1")
    merging.take(record, Proposal("crm", 1, 0, {"credit": None}))
    merging.take(record, Proposal("books", 1, 0, {"credit": 7}, record.version))
    assert record.values == {"credit": 7}
    merging.take(record, Proposal("books", 2, 0, None))
    merging.take(record, Proposal("books", 3, 0, {"credit": None}, record.version))
    assert record.values == {"credit": None}


BOTH = {name: frozenset({"name", "rate", "tags", "fax"}) for name in ("crm", "books")}
MERGED = MergeRules("crm", BOTH, {}, {"name": "latest", "rate": "latest", "tags": "union"}, tolerance=0)


def test_what_is_no_number_is_no_change_where_it_stays_so() -> None:
    merging, record = record_of(MERGED, rate=nan, name="a")
    merging.take(record, Proposal("books", 1, 1, {"rate": float("nan"), "name": "a"}, record.version))
    merging.take(record, Proposal("crm", 2, 2, {"rate": 5.0, "name": "a"}))
    merging.take(record, Proposal("books", 2, 3, {"rate": float("nan"), "name": "b"}))
    assert record.values == {"rate": 5.0, "name": "b"}


def test_what_a_system_takes_out_of_a_list_that_it_writes_its_own_way_is_told_as_overruled() -> None:
    merging, record = record_of(MERGED, tags=["a", "b"])
    merging.take(record, Proposal("books", 1, 1, {"tags": ["A", "b"]}, record.version))
    (ruling,) = merging.take(record, Proposal("books", 2, 2, {"tags": ["b"]}))
    assert (ruling.verdict, ruling.ours, record.values) == (Verdict.OVERRULED, ["a", "b"], {"tags": ["a", "b"]})
    merging.take(record, Proposal("crm", 2, 3, {"tags": []}))
    (ruling,) = merging.take(record, Proposal("books", 3, 4, {"tags": []}))  # who hasn't seen that takes it out, too
    assert (ruling.verdict, record.values) == (Verdict.EQUAL, {"tags": []})


def test_what_a_snapshot_shows_replaces_nothing_that_the_system_had_not_seen() -> None:
    merging, record = record_of(MERGED, name="a", rate=1.0)
    merging.take(record, Proposal("books", 1, 1, {"name": "a", "rate": 1.0}, record.version))
    merging.take(record, Proposal("crm", 2, 2, {"name": "b", "rate": 1.0}))
    shown = {"name": "x", "rate": 2.0}
    found = merging.take(record, Proposal("books", 2, 9 * SECOND, shown, is_copied=True))
    assert {one.field: one.verdict for one in found} == {"name": Verdict.OVERRULED, "rate": Verdict.TAKEN}
    assert record.values == {"name": "b", "rate": 2.0}


def test_a_record_that_a_soft_delete_leaves_is_not_there_again_until_somebody_makes_it() -> None:
    merging, record = record_of(MERGED, name="a")
    merging.take(record, Proposal("books", 1, 1, {"name": "a"}, record.version))
    merging.take(record, Proposal("crm", 2, 2, None))
    merging.take(record, Proposal("books", 2, 3, {"name": "a"}, record.version))
    assert not record.is_unlinked
    merging.take(record, Proposal("books", 3, 4, None))
    merging.take(record, Proposal("books", 4, 5, {"name": "made again"}))
    assert record.is_unlinked


@pytest.mark.parametrize("has_seen_the_delete", [False, True])
def test_a_record_that_is_made_again_gets_nothing_of_the_one_that_was_deleted(has_seen_the_delete: bool) -> None:
    rules = MergeRules("crm", BOTH, {"fax": "books"}, {"name": "latest", "rate": "ask", "tags": "union"})
    merging, record = Merging(rules, count(1).__next__), MergedRecord(b"1")
    merging.take(record, Proposal("crm", 1, 0, {"name": "a", "rate": None, "tags": [], "fax": None}))
    merging.take(record, Proposal("books", 1, 1, {"fax": None}, record.version))
    merging.take(record, Proposal("books", 2, 2, {"name": "old", "rate": 1.0, "tags": ["old"], "fax": "7"}))
    merging.take(record, Proposal("crm", 2, 3, None))
    if has_seen_the_delete:
        merging.take(record, Proposal("books", 3, 4, None, record.version))
    new = {"name": None, "rate": None, "tags": ["new"], "fax": None}
    rulings = merging.take(record, Proposal("crm", 3, 5, dict(new)))
    lost = [one.field for one in rulings if one.verdict is Verdict.OVERRULED]
    assert lost == ([] if has_seen_the_delete else ["name", "rate", "tags"])
    assert record.values == new | ({} if has_seen_the_delete else {"fax": "7"})
    assert record.may_go


def test_a_field_that_its_owner_has_not_shown_yet_is_held_like_any_other() -> None:
    merging, record = record_of(MERGED, name="a")
    breaker = LoopBreaker("crm", lambda: 0.0)
    merging.take(record, Proposal("books", 1, 1, {"fax": None}, record.version))
    for number in range(2, 2 + TURNS):
        shown = breaker.shown(record)
        (ruling,) = merging.take(record, Proposal("books", number, number, {"fax": str(number)}))
        assert ruling.verdict is Verdict.OVERRULED
        other = breaker.turns(record, ruling, shown)
    assert other == "crm"
    assert merging.hold(record, "fax", "books", other).verdict is Verdict.ASKED
    assert merging.decide(record, "fax", "books", keep=False)


STATES = st.fixed_dictionaries(
    {
        "name": st.sampled_from([None, "a", "b"]),
        "rate": st.sampled_from([None, 1.0, nan]),
        "tags": st.lists(st.sampled_from("xyz"), unique=True, max_size=2),
    }
)


@given(crm=STATES, books=STATES, before=st.none() | STATES)
def test_joining_twice_is_joining_once(
    crm: dict[str, object], books: dict[str, object], before: dict[str, object] | None
) -> None:
    """And whatever was merged before, it ends on the same."""
    found = []
    for known in (None, before):
        merging, record = (
            record_of(MERGED, **known) if known else (Merging(MERGED, count(1).__next__), MergedRecord(b"1"))
        )
        record.views = {"crm": View(7, crm), "books": View(7, books)}
        merging.join(record, {"crm": 1, "books": 2})
        values, version = record.values, record.version
        merging.take(record, Proposal("books", 8, 3, record.values, record.version))
        record.is_owed = False
        merging.join(record, {"crm": 1, "books": 2})
        assert same(record.values, values)
        if same(crm, values):
            assert (record.version, record.is_owed) == (version, False)
        found.append(values)
    assert same(*found)
