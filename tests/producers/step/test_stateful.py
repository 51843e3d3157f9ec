"""Whatever comes, crashes, repeats or is compacted: what a step makes equals a ledger that shares no code with it."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from sorbus.conformance.sample_type import NAME, SCHEMA, rows
from sorbus.connector import BoundSource, BoundSystem
from sorbus.mapfile.model import DataType, System
from sorbus.producers.step import producer as step_producer
from sorbus.producers.step.options import StepConnection, StepSource
from sorbus.producers.step.producer import StepProducer
from sorbus.producers.step.source_event import SourceEvents
from sorbus.schema import RecordSchema
from sorbus.state import State
from tests.producers.step.memory_topic import MemoryLog, MemoryTopic, StepBus, Thing

IDS = st.sampled_from(["1", "2", "3", "4"])
THINGS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b"]),
        "count": st.sampled_from([1, 5, 20, 30, None]),  # above 10 fits; without one nobody can say
        "amount": st.sampled_from([Decimal("0.1000"), Decimal("2.0000"), Decimal("-7.3333")]),
        "note": st.sampled_from([None, "x", "y"]),  # nothing is made of it
    }
)
SINGLE = [("name", "thing.name", 'value ~ "!"'), ("amount", "thing.amount", ""), ("count", "thing.count", "")]
GROUPED = [("name", "thing.name", ""), ("amount", "thing.amount", ""), ("count", "thing.count", "")]


class Resolver:
    """Every event was written with the sample's schema."""

    def schema(self, prefix: bytes) -> RecordSchema:
        return SCHEMA


class StepMachine(RuleBasedStateMachine):
    """Events, reading, crashes, requeues, snapshots and compaction, in any order."""

    options: ClassVar[dict[str, object]] = {}
    mapping = SINGLE
    state: State | None = None

    def __init__(self) -> None:
        super().__init__()
        self.log = MemoryLog()
        self.now: dict[str, Thing] = {}
        self.history: list[tuple[str, Thing | None, bool]] = []
        self.name = f"s{uuid.uuid4().hex[:8]}"
        self.bus = StepBus(self.make)

    def make(self) -> StepProducer:
        written = {"from": "thing", "makes": NAME, "owner": "Sales", "name": self.name, **self.options}
        system = BoundSystem("source", System(kind="step"), StepConnection(), "x")
        source = BoundSource(
            NAME, DataType(), SCHEMA, rows("source", self.mapping, into=False), StepSource.model_validate(written),
            reads=SCHEMA,
        )  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(step_producer, "SourceTopic", lambda *_, **__: MemoryTopic(self.log))
            made = StepProducer(system, [source])
        made._reading = lambda: SourceEvents(SCHEMA, Resolver())  # type: ignore[assignment,arg-type,method-assign]
        if made._earlier is not None:
            assert self.state is not None
            made._earlier._state = self.state
        return made

    def say(self, id: str, thing: Thing | None, *, historical: bool = False) -> None:
        self.log.put(id, thing, historical=historical)
        self.history.append((id, thing, historical))
        if thing is None:
            self.now.pop(id, None)
        else:
            self.now[id] = thing

    @rule(id=IDS, thing=THINGS)
    def put(self, id: str, thing: Thing) -> None:
        self.say(id, thing)

    @rule(id=IDS)
    def delete(self, id: str) -> None:
        self.say(id, None)

    @rule(id=IDS)
    def snapshot(self, id: str) -> None:
        """The owner publishes a record again that it has published."""
        if id in self.now:
            self.say(id, self.now[id], historical=True)

    @rule()
    def read(self) -> None:
        self.bus.step()

    @rule()
    def read_and_die(self) -> None:
        """Between what is read and what is published."""
        self.bus.read()
        self.bus.crash()

    @rule()
    def die(self) -> None:
        self.bus.crash()

    @rule(count=st.integers(1, 3))
    def fail(self, count: int) -> None:
        """The next answers of Kafka are faults that pass."""
        self.log.faults = count

    @rule(id=IDS)
    def requeue(self, id: str) -> None:
        if id in self.bus.rejected:
            self.bus.producer().reread(NAME, [id.encode()])

    @rule()
    def make_everything_again(self) -> None:
        self.bus.producer().resnapshot([NAME])

    @rule()
    def settle(self) -> None:
        self.bus.settle()
        self.compare()
        events = self.bus.events
        self.bus.crash()
        self.bus.settle()
        assert self.bus.events == events or self.bus.rejected, "a restart publishes nothing"
        self.compare()

    @rule(tombstones=st.booleans())
    def compact(self, tombstones: bool) -> None:
        """After everything was read: states that are replaced before that are never seen."""
        self.settle()
        self.log.compact(tombstones=tombstones)

    def teardown(self) -> None:
        self.settle()

    def compare(self) -> None:
        raise NotImplementedError


def fits(thing: Thing | None) -> bool | None:
    """Whether it is inside; None: nobody can say."""
    count = None if thing is None else thing["count"]
    return False if thing is None else None if count is None else count > 10  # type: ignore[operator]


def single(thing: Thing) -> Thing:
    return {"name": f"{thing['name']}!", "amount": thing["amount"], "count": thing["count"]}


class SingleMachine(StepMachine):
    """One record each."""

    options: ClassVar[dict[str, object]] = {"where": "count > 10", "on_leave": "delete", "begin": "beginning"}

    def compare(self) -> None:
        made: dict[str, Thing] = {}
        unclear = set()
        for id, thing, _ in self.history:
            unclear.discard(id)
            if fits(thing) is None:
                unclear.add(id)
            elif fits(thing):
                assert thing is not None
                made[id] = single(thing)
            elif self.options["on_leave"] == "delete":
                made.pop(id, None)
        live = {id: {name: one[name] for name in ("name", "amount", "count")} for id, one in self.bus.live().items()}
        assert live == made
        assert self.bus.rejected.keys() == unclear


class KeepMachine(SingleMachine):
    """What a record made stays when it leaves."""

    options: ClassVar[dict[str, object]] = {"where": "count > 10", "on_leave": "keep", "begin": "beginning"}


class NowMachine(StepMachine):
    """What was there before makes nothing until it has left and comes again."""

    options: ClassVar[dict[str, object]] = {"where": "count > 10", "on_leave": "delete", "begin": "now"}
    began: int | None = None

    @initialize(things=st.dictionaries(IDS, THINGS), dies=st.booleans())
    def begin(self, things: dict[str, Thing], dies: bool) -> None:
        for id, thing in things.items():
            self.say(id, thing)
        batch = self.bus.read()
        assert batch is not None
        if dies:
            self.bus.crash()
        else:
            self.bus.publish(batch)
        self.began = len(self.history)

    def compare(self) -> None:
        assert self.began is not None
        before = {id: thing for id, thing, _ in self.history[: self.began]}
        old = {id for id, thing in before.items() if fits(thing) is not False}
        known = set(before)
        made: dict[str, Thing] = {}
        for id, thing, historical in self.history[self.began :]:
            if fits(thing):
                assert thing is not None
                if id not in known and historical:
                    old.add(id)
                known.add(id)
                if id not in old:
                    made[id] = single(thing)
            elif fits(thing) is False:
                known.add(id)
                old.discard(id)
                made.pop(id, None)
        live = {id: {name: one[name] for name in ("name", "amount", "count")} for id, one in self.bus.live().items()}
        assert live == made


class GroupMachine(StepMachine):
    """Sums and numbers per name. A record of which nobody can say whether it fits holds its group."""

    options: ClassVar[dict[str, object]] = {
        "where": "count > 10", "on_leave": "delete", "begin": "beginning", "per": ["name"],
        "sum": {"amount": "amount"}, "count": "count",
    }  # fmt: skip
    mapping = GROUPED

    def compare(self) -> None:
        wanted: dict[str, Thing] = {}
        held = {str(thing["name"]) for thing in self.now.values() if fits(thing) is None}
        members = defaultdict(list)
        for thing in self.now.values():
            if fits(thing):
                members[str(thing["name"])].append(thing["amount"])
        for name, amounts in members.items():
            wanted[name] = {"name": name, "amount": sum(amounts), "count": len(amounts)}
        live = {id: {name: one[name] for name in ("name", "amount", "count")} for id, one in self.bus.live().items()}
        assert {id: one for id, one in live.items() if id not in held} == {
            id: one for id, one in wanted.items() if id not in held
        }
        assert self.bus.rejected.keys() == held


def at_most(examples: int, steps: int) -> settings:
    """Without shrinking: it would take minutes, and what failed is short."""
    return settings(max_examples=examples, stateful_step_count=steps, phases=[Phase.generate])


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_producer, "_AT_ONCE", 2)
    monkeypatch.setenv("SORBUS_DATABASE", "postgresql://nowhere")


@pytest.fixture
def state(database: str) -> Iterator[State]:
    """With the tables that keep which records were there before."""
    opened = State(database)
    yield opened
    opened.close()


@pytest.mark.parametrize("machine", [SingleMachine, KeepMachine, GroupMachine])
def test_what_is_made_equals_the_ledger(machine: type[StepMachine]) -> None:
    run_state_machine_as_test(machine, settings=at_most(12, 20))


@pytest.mark.slow
@pytest.mark.parametrize("machine", [SingleMachine, KeepMachine, GroupMachine])
def test_what_is_made_equals_the_ledger_in_the_long_run(machine: type[StepMachine]) -> None:
    run_state_machine_as_test(machine, settings=at_most(200, 40))


@pytest.mark.slow
def test_what_is_made_from_now_on_equals_the_ledger(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NowMachine, "state", state)
    run_state_machine_as_test(NowMachine, settings=at_most(40, 20))
