"""Faults in the middle of a step's work: what was being done is done after them, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import ClassVar

import pytest

from sorbus.conformance.sample_type import NAME
from sorbus.connector import Batch, Change
from tests.producers.step import memory_topic
from tests.producers.step.memory_topic import Thing
from tests.producers.step.test_stateful import (
    GroupMachine,
    SingleMachine,
    StepMachine,
    small_batches,
    state,
)

__all__ = ["small_batches", "state"]


def thing(count: int = 20, amount: str = "2.0000", name: str = "a") -> Thing:
    return {"name": name, "count": count, "amount": Decimal(amount), "note": None}


def test_what_a_person_asks_for_is_made_again_although_kafka_fails() -> None:
    machine = SingleMachine()
    for number in range(5):
        machine.say(str(number), thing())
    machine.bus.settle()
    machine.bus.producer().reread(NAME, [b"3"])
    machine.log.faults = 1
    before = machine.bus.states["3"]
    machine.bus.settle()
    assert machine.bus.states["3"] > before


def test_what_a_person_asks_for_is_made_again_although_everything_is_being_read() -> None:
    machine = SingleMachine()
    for number in range(9):
        machine.say(str(number), thing())
    machine.bus.settle()
    machine.bus.producer().resnapshot([NAME])
    machine.bus.step()  # has passed some of them
    passed = min(id for id, (version, _) in machine.bus.states.items() if version > machine.bus.events)
    machine.bus.producer().reread(NAME, [passed.encode()])
    before = machine.bus.states[passed]
    machine.bus.settle()
    assert machine.bus.states[passed] > before


@pytest.mark.parametrize("machine", [SingleMachine, GroupMachine])
@pytest.mark.parametrize("steps", range(5))
def test_everything_is_made_again_although_the_step_dies_meanwhile(machine: type[StepMachine], steps: int) -> None:
    one = machine()
    for number in range(9):
        one.say(str(number), thing(name=f"n{number}"))
    one.bus.settle()
    before = dict(one.bus.states)
    one.bus.producer().resnapshot([NAME])
    for _ in range(steps):
        one.bus.step()
    if one.bus.position is not None and one.bus.position["is_reading_all"]:
        one.bus.crash()
    one.bus.settle()
    assert all(one.bus.states[id] > state for id, state in before.items())
    events = one.bus.events
    one.bus.crash()
    one.bus.settle()
    assert one.bus.events == events, "and once is enough"


def test_what_is_searched_for_is_not_older_than_what_was_read_meanwhile() -> None:
    machine = SingleMachine()
    for number in range(5):
        machine.say(str(number), thing(amount="1.0000"))
    machine.bus.settle()
    producer = machine.bus.producer()
    producer.reread(NAME, [b"0", b"1", b"2", b"3", b"4"])
    machine.bus.step()  # a part of them
    for number in range(5):
        machine.say(str(number), thing(amount="2.0000"))
    producer.resnapshot([NAME])
    machine.bus.settle()
    producer.reread(NAME, [b"4"])
    machine.bus.settle()
    assert {one["amount"] for one in machine.bus.live().values()} == {Decimal(2)}


@pytest.mark.parametrize("machine", [SingleMachine, GroupMachine])
def test_the_first_reading_reports_no_change_also_after_a_restart(machine: type[SingleMachine]) -> None:
    one = machine()
    for number in range(9):
        one.say(str(number), thing(name=f"n{number}"))
    told: list[bool] = []
    for number, batch in enumerate(batches(one)):
        told += [batch.copied is not None] * len(batch.changes)
        one.bus.publish(batch)
        if number == 1:
            one.bus.crash()
    assert told == [True] * 9
    one.bus.settle()
    one.say("10", thing(name="new"))
    (batch,) = [batch for batch in batches(one) if batch.changes]
    assert batch.copied is None


def batches(machine: StepMachine) -> Iterator[Batch]:
    """Until nothing is left."""
    while (batch := machine.bus.read()) is not None:
        yield batch


def test_a_letter_of_a_record_that_is_gone_is_closed_also_where_what_is_made_is_kept() -> None:
    class Keep(SingleMachine):
        options: ClassVar[dict[str, object]] = {**SingleMachine.options, "on_leave": "keep"}

    machine = Keep()
    machine.say("1", thing())
    machine.say("2", {**thing(), "count": None})
    machine.bus.settle()
    machine.say("2", None)
    machine.log.compact(tombstones=True)
    machine.bus.crash()
    machine.bus.producer().resnapshot([NAME])
    machine.bus.settle()
    assert machine.bus.rejected == {}
    assert machine.bus.live().keys() == {"1"}


def test_a_record_that_can_not_be_read_any_more_holds_its_sum() -> None:
    machine = GroupMachine()
    for number in range(3):
        machine.say(str(number), thing())
    machine.bus.settle()
    before = machine.bus.states["a"]
    machine.log.append("1", b"nonsense", [])
    machine.say("2", thing(amount="0.1000"))
    machine.bus.settle()
    assert machine.bus.states["a"] == before
    assert "thing 1 can't be added to it: the event at offset" in machine.bus.rejected["a"]
    machine.say("1", thing(amount="0.1000"))
    machine.bus.settle()
    assert machine.bus.live()["a"]["amount"] == Decimal("2.2")
    assert machine.bus.rejected == {}


def test_amounts_that_no_sum_holds_are_dead_letters() -> None:
    class Cubes(GroupMachine):
        options: ClassVar[dict[str, object]] = {
            **GroupMachine.options, "sum": {"amount": "(note | decimal) * (note | decimal) * (note | decimal)"}
        }  # fmt: skip

    machine = Cubes()
    machine.say("1", {**thing(), "note": "1e99"})
    machine.say("2", {**thing(), "note": "1e-99"})
    machine.say("3", {**thing(name="b"), "note": "2"})
    machine.bus.settle()
    assert "can't be added up exactly" in machine.bus.rejected["a"]
    assert machine.bus.live().keys() == {"b"}
    machine.say("1", {**thing(), "note": "1"})
    machine.say("2", {**thing(), "note": "1"})
    machine.bus.settle()
    assert machine.bus.live()["a"]["amount"] == 2


def test_a_group_is_not_taken_for_a_record_without_one() -> None:
    machine = GroupMachine()
    machine.say("1", thing(name="a"))
    machine.say("2", thing(name="(no group) 1"))
    machine.bus.settle()
    assert machine.bus.live().keys() == {"a"}
    assert "field name" in machine.bus.rejected["(no group) 2"]
    machine.say("1", thing(name="b"))
    machine.bus.settle()
    assert machine.bus.live().keys() == {"b"}
    machine.say("2", thing(name="c"))
    machine.bus.settle()
    assert machine.bus.live().keys() == {"b", "c"}
    assert machine.bus.rejected == {}


@pytest.mark.parametrize("machine", [SingleMachine, GroupMachine])
def test_what_is_made_again_happened_when_its_last_change_did(machine: type[SingleMachine]) -> None:
    one = machine()
    for number in range(3):
        one.say(str(number), thing())
    one.bus.settle()
    made = list(one.bus.live())
    one.bus.producer().reread(NAME, [id.encode() for id in made])
    changes = [change for batch in batches(one) for change in batch.changes]
    assert sorted(change.id.decode() for change in changes) == sorted(made)
    assert all(one.log.version - 3 < change.occurred_at <= one.log.version for change in changes)


def test_everything_is_made_again_without_what_was_replaced() -> None:
    """A record that didn't fit once is not deleted to be made again, which its targets would do as well."""
    machine = SingleMachine()
    for counts in ((5, 20), (20, 30), (20, 5), (20, None), (5, 20, None)):
        for count in counts:
            machine.say(str(counts), {**thing(), "count": count})
        machine.bus.settle()
    before = machine.bus.live()
    machine.bus.producer().resnapshot([NAME])
    made = [(change.id, change.data) for batch in read_and_published(machine) for change in batch.changes]
    assert len(made) == len(dict(made)) == len(before)
    assert None not in dict(made).values()
    assert machine.bus.live() == before


def test_a_first_reading_that_is_begun_again_deletes_nothing() -> None:
    machine = SingleMachine()
    for number in range(9):
        for count in (20, 5, 30):
            machine.say(str(number), thing(count))
    machine.bus.step()
    machine.bus.crash()
    changes = [change for batch in read_and_published(machine) for change in batch.changes]
    assert all(change.data is not None for change in changes)
    assert len(machine.bus.live()) == 9


@pytest.mark.parametrize("machine", [SingleMachine, GroupMachine])
def test_what_a_snapshot_of_the_source_makes_reports_no_change(machine: type[StepMachine]) -> None:
    """Also one that begins after the step has: owner and step are started together."""
    one = machine()
    one.bus.settle()
    for number in range(9):
        one.say(str(number), thing(name=f"n{number}"), historical=number not in (3, 4, 8))
    told = {change.id: batch.copied is not None for batch in read_and_published(one) for change in batch.changes}
    ids = {number: b"n%d" % number if machine is GroupMachine else b"%d" % number for number in range(9)}
    assert told == {id: number not in (3, 4, 8) for number, id in ids.items()}


def read_and_published(machine: StepMachine) -> Iterator[Batch]:
    for batch in batches(machine):
        machine.bus.publish(batch)
        yield batch


@pytest.mark.parametrize("machine", [SingleMachine, GroupMachine])
def test_an_older_event_in_another_partition_counts_for_nothing(machine: type[SingleMachine]) -> None:
    """As where the topic got more partitions: a restart reads the newer one first."""
    one = machine()
    one.say("1", thing(amount="1.0000"))
    one.say("2", thing(amount="0.1000", name="b"))
    one.say("2", None)
    one.log.moved = True
    one.say("1", thing(amount="2.0000"))
    one.say("2", thing(amount="2.0000", name="b"))
    one.bus.settle()
    assert {made["amount"] for made in one.bus.live().values()} == {Decimal(2)}
    one.bus.producer().reread(NAME, [b"1", b"2", b"a", b"b"])
    one.bus.settle()
    assert {made["amount"] for made in one.bus.live().values()} == {Decimal(2)}
    scanned = [change for part in one.make()._scan() for change in part if isinstance(change, Change)]
    assert {change.id: change.data for change in scanned} == {
        id.encode(): data for id, (_, data) in one.bus.states.items() if data
    }


@pytest.mark.parametrize("partitions", [1, 2])
@pytest.mark.parametrize("is_wrong", [False, True])
def test_a_restart_says_nothing_of_states_in_which_a_record_had_no_group_or_had_one(
    monkeypatch: pytest.MonkeyPatch, partitions: int, is_wrong: bool
) -> None:
    monkeypatch.setattr(memory_topic, "PARTITIONS", partitions)
    machine = GroupMachine()
    for was_wrong in (not is_wrong, is_wrong):
        machine.say("1", thing(name="(no group) x" if was_wrong else "a"))
        for number in range(9):
            machine.say(f"x{number}", thing())
        machine.bus.settle()
    rejected = dict(machine.bus.rejected)
    assert rejected.keys() == ({"(no group) 1"} if is_wrong else set())
    machine.bus.crash()
    told: list[object] = []
    while (batch := machine.bus.read()) is not None:
        told += [*([] if is_wrong else batch.rejects), *batch.resolved, *batch.changes]
        machine.bus.publish(batch)
    assert told == []
    assert machine.bus.rejected == rejected


@pytest.mark.parametrize("machine", [SingleMachine, GroupMachine])
def test_a_person_who_asks_for_what_is_not_made_is_told_that_it_is_gone(machine: type[StepMachine]) -> None:
    """A target that was restored has it, and heals by that."""
    one = machine()
    one.say("1", thing())
    one.say("2", thing(count=1))
    one.bus.settle()
    before = dict(one.bus.states)
    asked = [b"2", b"never there"]
    for _ in range(2):
        events = one.bus.events
        one.bus.producer().reread(NAME, [*asked, *(id.encode() for id in before)])
        one.bus.settle()
        assert one.bus.events == events + 2 + len(before)
        for id in asked:
            assert one.bus.states[id.decode()][1] is None
        assert one.bus.live().keys() == before.keys()
        one.bus.crash()
        one.bus.settle()
