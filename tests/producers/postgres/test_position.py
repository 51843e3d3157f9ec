"""What a person may cancel of a source's snapshots, and what a position keeps of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sorbus.producers.postgres.position import PostgresPosition, SnapshotProgress
from sorbus.producers.postgres.tables import TableMemory
from sorbus.snapshot_control import SnapshotAction

READ = PostgresPosition("server", 1, 1, copied=("item", "thing"))


def test_a_snapshot_that_a_person_asked_for_can_be_cancelled() -> None:
    asked = READ.controlled("item", "start")
    under_way = replace(asked, copying=SnapshotProgress("item", 2, beside=True))
    for state in (asked, under_way):
        assert PostgresPosition.from_position(state.to_position()) == state
        assert state.controlled("item", "cancel") == READ


@pytest.mark.parametrize("asks_first", [True, False])
def test_a_snapshot_that_is_needed_cannot_be_cancelled(asks_first: bool) -> None:
    state = READ.controlled("item", "start") if asks_first else READ
    needed = (state.copying_again(["item"]), state.untold(["item"]), state.copying_all(), state.above({"item": 9}))
    for one in needed:
        again = one if asks_first else one.controlled("item", "start")
        assert "item" in again.controlled("item", "cancel").resnapshot


def test_a_snapshot_during_which_the_stream_could_not_tell_all_is_due_again() -> None:
    under_way = replace(READ.controlled("item", "start"), copying=SnapshotProgress("item", 2, beside=True))
    stale = under_way.untold(["item"])
    assert stale.copying is not None
    again = PostgresPosition.from_position(stale.to_position()).finished(stale.copying)
    assert (again.copying, again.resnapshot) == (None, ("item",))
    assert not again.has_published("item", 0)
    assert again.finished(SnapshotProgress("item", 3, beside=True)).resnapshot == ()


def test_a_paused_snapshot_holds_up_no_other_and_is_still_owed() -> None:
    state = replace(READ.controlled("item", "start"), copying=SnapshotProgress("item", 2, ("5",), 5, beside=True))
    state = state.controlled("item", "pause").controlled("thing", "start")
    assert [(each.data_type, each.is_paused) for each in state.turn(())] == [("thing", False), ("item", True)]
    assert not state.has_published("item", 0)
    resumed = PostgresPosition.from_position(state.to_position()).controlled("item", "resume")
    (first, *_) = resumed.turn(("item", "thing"))
    assert (first.data_type, first.after, first.records) == ("item", ("5",), 5)
    assert state.controlled("item", "cancel").controlled("thing", "cancel") == READ


def test_what_waits_can_be_paused_before_it_begins() -> None:
    joining = replace(READ, copied=("thing",))
    paused = joining.controlled("item", "pause")
    assert [(each.data_type, each.is_paused) for each in paused.turn(("item", "thing"))] == [("item", True)]
    assert [each.is_paused for each in paused.controlled("item", "resume").turn(("item", "thing"))] == [False]
    assert not paused.has_published("item", 0)


def test_a_paused_snapshot_that_the_stream_made_stale_is_due_again() -> None:
    paused = replace(READ.controlled("item", "start"), copying=SnapshotProgress("item", 2, beside=True))
    (stale,) = paused.controlled("item", "pause").untold(["item"]).controlled("item", "resume").turn(())
    assert stale.is_stale
    assert paused.finished(stale).resnapshot == ("item",)


@pytest.mark.parametrize("action", ["cancel", "pause"])
def test_a_snapshot_with_a_condition_stands_for_no_whole_one(action: SnapshotAction) -> None:
    state = READ.controlled("item", "start", "size > 3").controlled("item", "start", "size > 3")
    (asked,) = state.turn(())
    assert (asked.where, asked.sweep) == ("size > 3", False)
    begun = state.begin(asked, replace(asked, version=2))
    assert begun.has_published("item", 0)
    assert begun.untold(["item"]).resnapshot == ("item",)
    assert begun.controlled("item", action).copying is None
    assert begun.copying is not None
    ended = begun.finished(begun.copying)
    assert (ended.copied, ended.resnapshot, ended.turn(())) == (READ.copied, (), [])
    assert PostgresPosition.from_position(ended.to_position()) == ended


def test_a_position_of_before_snapshots_could_wait_is_understood() -> None:
    stored = replace(READ, copying=SnapshotProgress("item", 2, beside=True, is_paused=True)).to_position()
    del stored["waiting"]
    (paused,) = PostgresPosition.from_position(stored).waiting
    assert (paused.data_type, paused.is_paused) == ("item", True)


@pytest.mark.parametrize(("xid", "is_from_before"), [(99, True), (100, False), (101, False), (2**32 - 5, True)])
def test_what_a_partition_had_before_it_was_attached_again_is_known_after_a_restart(
    xid: int, *, is_from_before: bool
) -> None:
    state = replace(READ, tables={"item": {"items": TableMemory(1, attached={"7": [500, 100]})}})
    memory = PostgresPosition.from_position(state.to_position()).tables["item"]["items"]
    assert memory.had_rows_before(7, xid) == is_from_before
    assert not memory.had_rows_before(8, xid)
