"""What a person may cancel of a source's snapshots, and what a position keeps of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sorbus.producers.postgres.position import PostgresPosition, SnapshotProgress

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
