"""The tests that every consumer connector must pass: subclass `ConsumerConformance` and give it a `target` fixture."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

import pytest

from sorbus.abilities import SupportsAppliedVersions
from sorbus.conformance.sample_type import (
    NEWER_SCHEMA,
    SCHEMA,
    UNICODE,
    Deliveries,
    Thing,
    difference,
    retained,
    sample,
    secrets_of,
)
from sorbus.conformance.target import Target
from sorbus.connector import Consumer, Delivery, RejectedDelivery
from sorbus.errors import PermanentError, TransientError, Unfinished
from sorbus.obsolete import still_needed

_GIVE_UP = 120.0
_make = Deliveries(SCHEMA).make
_make_newer = Deliveries(NEWER_SCHEMA).make


class Delivering:
    """A consumer running against a target, called as the loop calls it."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.consumer: Consumer | None = None

    def open(self) -> Consumer:
        if self.consumer is None:
            consumer = self.target.consumer()
            try:
                consumer.open()
            except BaseException:
                consumer.close()
                raise
            self.consumer = consumer
        return self.consumer

    def apply(
        self, deliveries: Sequence[Delivery], *, again: bool = False, alone: bool = False
    ) -> list[RejectedDelivery]:
        """Retries while it is unfinished; on a transient error the consumer is closed, as in the loop."""
        deadline = time.monotonic() + _GIVE_UP
        while True:
            try:
                refusals = self.open().apply(deliveries, again=again, alone=alone)
            except Unfinished as error:
                if time.monotonic() > deadline:
                    pytest.fail(f"still unfinished after {_GIVE_UP:.0f} s: {error}")
                time.sleep(max(0.0, min(error.retry_after, 0.2)))
                continue
            except TransientError:
                self.close()
                raise
            _check(refusals, deliveries)
            return refusals

    def things(self, version: int, things: Mapping[str, Thing | None], **how: bool) -> list[RejectedDelivery]:
        """Delivers these states in one batch, all with one version; None: deleted."""
        return self.apply([_make(id, version, one) for id, one in things.items()], **how)

    def until_through(self, version: int, things: Mapping[str, Thing | None]) -> list[RejectedDelivery]:
        """Like `things`, but retries transient errors."""
        deadline = time.monotonic() + _GIVE_UP
        while True:
            try:
                return self.things(version, things)
            except TransientError as error:
                if time.monotonic() > deadline:
                    pytest.fail(f"still a transient error after {_GIVE_UP:.0f} s: {error}")
                time.sleep(min(error.retry_after or 0.02, 0.5))

    def close(self) -> None:
        if self.consumer is not None:
            self.consumer.close()
            self.consumer = None

    def holds(self, things: Mapping[str, Thing]) -> None:
        """Fails unless the target holds exactly these."""
        fields = self.target.fields
        wrong = difference(retained(self.target.read(), fields), retained(things, fields))
        assert not wrong, wrong


def _check(refusals: Sequence[RejectedDelivery], deliveries: Sequence[Delivery]) -> None:
    places = [refusal.place for refusal in refusals]
    assert len(set(places)) == len(places), f"a delivery was rejected twice: {places}"
    assert all(0 <= place < len(deliveries) for place in places), f"rejected places {places} of {len(deliveries)}"
    for refusal in refusals:
        assert isinstance(refusal.error, PermanentError), f"rejected with {refusal.error!r}, not a PermanentError"
        assert refusal.error.reason, f"the rejection {refusal.error} has no reason to group it by"
        assert str(refusal.error), "a rejection without a message"


class ConsumerConformance:
    """Order, redelivery, deletes, poison, faults, replay, concurrency: what `sorbus.connector.Consumer` promises."""

    @pytest.fixture
    def target(self) -> Target:
        """An empty target; every subclass overrides this."""
        raise NotImplementedError("override the fixture `target`: it returns your Target")

    @pytest.fixture
    def line(self, target: Target) -> Iterator[Delivering]:
        """A consumer running against the target, which was prepared as by `sorbus apply`."""
        target.prepare()
        line = Delivering(target)
        yield line
        line.close()

    def _things(self, target: Target, count: int, **values: object) -> dict[str, Thing]:
        return {str(number): sample(number, target.fields, **values) for number in range(1, count + 1)}

    def _same(self, line: Delivering) -> str:
        return line.target.ids[0]

    def test_a_second_plan_finds_nothing_to_do(self, target: Target) -> None:
        target.prepare()
        todo = [step for step in target.connector.plan(target.flow()) if step.apply is not None]
        assert not todo, [f"{step.where}: {step.what}" for step in todo]

    def test_records_arrive_whole(self, line: Delivering) -> None:
        things = self._things(line.target, 40)
        assert line.things(1, things) == []
        line.holds(things)

    def test_nothing_delivered_changes_nothing(self, line: Delivering) -> None:
        assert line.apply([]) == []
        line.holds({})

    def test_ids_that_differ_stay_apart(self, line: Delivering) -> None:
        things = {id: sample(number, line.target.fields) for number, id in enumerate(line.target.ids)}
        assert line.things(1, things) == []
        line.holds(things)
        gone = line.target.ids[-1]
        assert line.things(2, {gone: None}) == []
        line.holds({id: one for id, one in things.items() if id != gone})

    def test_text_arrives_as_it_is(self, line: Delivering) -> None:
        fields = line.target.fields
        things = {str(number): sample(1, fields, name=text, note=text) for number, text in enumerate(UNICODE, 1)}
        assert line.things(1, things) == []
        line.holds(things)

    def test_long_text_arrives_whole(self, line: Delivering) -> None:
        long = "ü" * line.target.longest
        values = {"note": long} if "note" in line.target.fields else {"name": long}
        things = {self._same(line): sample(1, line.target.fields, **values)}
        assert line.things(1, things) == []
        line.holds(things)

    def test_a_newer_version_replaces_the_record(self, line: Delivering) -> None:
        id, fields = self._same(line), line.target.fields
        for version in (1, 2, 5, 1_000_000_000_000_000):
            newest = sample(version % 97, fields, name=f"version {version}")
            assert line.things(version, {id: newest}) == []
            line.holds({id: newest})

    def test_a_field_can_be_emptied(self, line: Delivering) -> None:
        id, fields = self._same(line), line.target.fields
        line.things(1, {id: sample(1, fields)})
        empty = {"name": "only a name"}
        assert line.things(2, {id: empty}) == []
        line.holds({id: empty})

    def test_an_older_version_changes_nothing(self, line: Delivering) -> None:
        id, fields = self._same(line), line.target.fields
        newest = sample(7, fields)
        line.things(7, {id: newest})
        assert line.things(3, {id: sample(3, fields)}) == []
        line.close()
        assert line.things(6, {id: sample(6, fields)}) == [], "after a restart"
        line.holds({id: newest})

    def test_an_older_version_changes_nothing_in_a_replay_either(self, line: Delivering) -> None:
        id, fields = self._same(line), line.target.fields
        newest = sample(7, fields)
        line.things(7, {id: newest})
        line.things(3, {id: sample(3, fields)}, again=True, alone=True)
        line.things(4, {id: None}, again=True, alone=True)
        line.holds({id: newest})

    def test_the_same_again_changes_nothing(self, line: Delivering) -> None:
        things = self._things(line.target, 20)
        line.things(1, things)
        line.things(1, things)
        line.close()
        line.things(1, things)
        line.holds(things)

    def test_the_same_again_writes_nothing(self, line: Delivering) -> None:
        things = self._things(line.target, 20)
        line.things(1, things)
        before = line.target.writes()
        line.things(1, things)
        line.close()
        line.things(1, things)
        assert line.target.writes() == before, "an equal version was written once more"

    def test_a_replay_heals_what_somebody_changed(self, line: Delivering) -> None:
        things = self._things(line.target, 5)
        line.things(1, things)
        line.target.damage("3")
        assert difference(retained(line.target.read(), line.target.fields), retained(things, line.target.fields)), (
            "damage() changed nothing"
        )
        line.things(1, things, again=True, alone=True)
        line.holds(things)

    def test_a_deleted_record_is_gone_and_stays_gone(self, line: Delivering) -> None:
        things = self._things(line.target, 3)
        line.things(1, things)
        assert line.things(5, {"2": None}) == []
        left = {id: one for id, one in things.items() if id != "2"}
        line.holds(left)
        assert line.things(3, {"2": things["2"]}) == [], "an older event after the delete"
        line.close()
        assert line.things(4, {"2": things["2"]}) == [], "an older event after a restart"
        line.holds(left)

    def test_a_deleted_record_may_come_back(self, line: Delivering) -> None:
        id, fields = self._same(line), line.target.fields
        line.things(1, {id: sample(1, fields)})
        line.things(2, {id: None})
        anew = sample(3, fields)
        assert line.things(3, {id: anew}) == []
        line.holds({id: anew})

    def test_deleting_what_was_never_there_is_no_fault(self, line: Delivering) -> None:
        things = self._things(line.target, 2)
        assert line.things(1, {**things, "never": None}) == []
        assert line.things(1, {"never": None}) == []
        line.holds(things)

    def test_a_delete_comes_again_without_harm(self, line: Delivering) -> None:
        things = self._things(line.target, 2)
        line.things(1, things)
        for _ in range(2):
            assert line.things(2, {"1": None}) == []
            line.close()
        line.holds({"2": things["2"]})

    def test_one_bad_record_never_holds_the_others(self, line: Delivering) -> None:
        bad = line.target.refused()
        things = self._things(line.target, 30)
        refusals = line.things(1, {**things, "17": bad})
        assert [refusal.place for refusal in refusals] == [16], "only the invalid record is rejected"
        line.holds({id: one for id, one in things.items() if id != "17"})
        assert [refusal.place for refusal in line.things(1, {**things, "17": bad})] == [16], "and again on redelivery"
        assert line.things(2, {"17": things["17"]}) == [], "its next valid state is applied"
        line.holds(things)

    def test_a_refused_state_older_than_the_targets_is_no_rejection(self, line: Delivering) -> None:
        bad, id = line.target.refused(), self._same(line)
        thing = sample(1, line.target.fields)
        assert line.things(5, {id: thing}) == []
        if not isinstance(line.open(), SupportsAppliedVersions):
            pytest.skip("it doesn't tell which versions its target has")
        for version, is_needed in ((4, False), (6, True)):
            delivery = [_make(id, version, bad)]
            left = still_needed(line.open(), delivery, line.apply(delivery), again=False)
            assert bool(left) is is_needed, f"version {version}, where the target has 5"
        line.holds({id: thing})

    def test_what_is_refused_leaves_the_older_state(self, line: Delivering) -> None:
        id, fields = self._same(line), line.target.fields
        good = sample(1, fields)
        line.things(1, {id: good})
        assert len(line.things(2, {id: line.target.refused()})) == 1
        line.holds({id: good})

    def test_nothing_but_bad_records_is_no_fault(self, line: Delivering) -> None:
        bad = line.target.refused()
        assert len(line.things(1, dict.fromkeys(("1", "2", "3"), bad))) == 3
        line.holds({})

    def test_a_target_that_is_away_is_a_transient_fault(self, line: Delivering) -> None:
        things = self._things(line.target, 10)
        line.things(1, things)
        newer = {id: {**one, "name": "newer"} for id, one in things.items()}
        with line.target.broken():
            for _ in range(2):
                with pytest.raises(TransientError):
                    line.things(2, newer)
        assert line.until_through(2, newer) == []
        line.holds(newer)

    def test_a_target_that_goes_away_at_work_loses_and_doubles_nothing(self, line: Delivering) -> None:
        things = self._things(line.target, line.target.many)
        line.things(1, {"0": sample(0, line.target.fields)})
        broke = threading.Event()

        def break_soon() -> None:
            time.sleep(0.01)
            with line.target.broken():
                broke.set()
                time.sleep(0.3)

        breaking = threading.Thread(target=break_soon)
        breaking.start()
        try:
            assert line.until_through(1, things) == [], "an unreachable target must not cause dead letters"
        finally:
            breaking.join()
        assert broke.is_set()
        line.holds({"0": sample(0, line.target.fields), **things})

    def test_whatever_the_batches_the_newest_state_wins(self, line: Delivering) -> None:
        chance = random.Random(9)  # noqa: S311 - only to shuffle
        newest: dict[str, tuple[int, Thing | None]] = {}
        for _ in range(25):
            batch: dict[str, Delivery] = {}
            for _ in range(chance.randint(1, 8)):
                id, version = str(chance.randint(1, 6)), chance.randint(1, 60)
                if id in batch:
                    continue
                # One version is one state, so the state has to follow from the version.
                state = None if version % 6 == 0 else sample(version, line.target.fields, name=f"{id} at {version}")
                batch[id] = _make(id, version, state)
                if version > newest.get(id, (0, None))[0]:
                    newest[id] = version, state
            assert line.apply(list(batch.values()), again=chance.random() < 0.2, alone=True) == []
            if chance.random() < 0.3:
                line.close()
            line.holds({id: state for id, (_, state) in newest.items() if state is not None})

    def test_many_records_in_many_batches(self, line: Delivering) -> None:
        count, chance = line.target.many, random.Random(4)  # noqa: S311 - only to shuffle
        final = self._things(line.target, count)
        for version in (1, 2, 3):
            todo = list(final)
            chance.shuffle(todo)
            size = max(1, count // 4)
            for begin in range(0, count, size):
                now = {id: {**final[id], "name": f"{id} at {version}"} for id in todo[begin : begin + size]}
                final.update(now)
                assert line.things(version, now) == []
        line.holds(final)

    def test_two_at_once_leave_the_newest_once(self, line: Delivering) -> None:
        """A replay beside the flow itself: both deliver the same records, each in its own order."""
        count = min(60, line.target.many)
        older = self._things(line.target, count)
        newer = {id: {**one, "name": f"{id} newer"} for id, one in older.items()}
        other = Delivering(line.target)
        failures: list[BaseException] = []

        def deliver(with_: Delivering, version: int, things: Mapping[str, Thing], order: int) -> None:
            ids = sorted(things, key=lambda one: order * int(one))
            try:
                for begin in range(0, count, 20):
                    part = {id: things[id] for id in ids[begin : begin + 20]}
                    for _ in range(50):
                        try:
                            assert with_.things(version, part, alone=True) == []
                            break
                        except TransientError as error:
                            last = error
                    else:
                        raise last
            except BaseException as error:  # noqa: BLE001 - raised in the test's own thread
                failures.append(error)

        threads = [
            threading.Thread(target=deliver, args=(line, 1, older, 1)),
            threading.Thread(target=deliver, args=(other, 2, newer, -1)),
        ]
        for one in threads:
            one.start()
        for one in threads:
            one.join(_GIVE_UP)
            assert not one.is_alive(), "two consumers wait for each other"
        other.close()
        assert failures == []
        line.holds(newer)

    def test_a_field_that_the_map_does_not_know_yet_does_no_harm(self, line: Delivering) -> None:
        things = self._things(line.target, 4)
        mixed = [
            (_make_newer if number % 2 else _make)(id, 1, {**one, "colour": "red"} if number % 2 else one)
            for number, (id, one) in enumerate(things.items())
        ]
        assert line.apply(mixed) == []
        line.holds(things)

    def test_closing_is_always_allowed(self, target: Target) -> None:
        consumer = target.consumer()
        consumer.close()
        target.prepare()
        consumer = target.consumer()
        consumer.open()
        consumer.close()
        consumer.close()

    def test_no_secret_is_shown(self, target: Target) -> None:
        shown = repr(target.flow())
        for name in secrets_of(target.connection):
            assert str(target.connection[name]) not in shown, f"{name} is shown: make it a pydantic SecretStr"
