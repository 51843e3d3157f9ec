"""Joining makes records of what systems hold by then, whatever happened before, and again after something was lost."""

from __future__ import annotations

from pathlib import Path

import pytest
import stamina

from sorbus.conflict.store import Conflicts
from sorbus.errors import LostPosition, TransientError
from sorbus.producers.merge.producer import MergeProducer
from tests.producers.merge.two_systems import Proposals, proposals
from tests.topics import led_by_another

__all__ = ["proposals"]


@pytest.mark.parametrize("first", ["crm", "books"])
def test_only_what_systems_show_last_is_joined(proposals: Proposals, first: str) -> None:
    proposals.position = None
    proposals.show(first, "9", name="z")  # the topic that is read first
    for id, ours in (("1", "0"), ("2", None)):
        proposals.show("crm", id, name="a", email="before")
        proposals.show("crm", id, name="a", email=ours)
        for theirs in ("1", "2"):
            proposals.show("books", id, name="a", email=theirs)
    proposals.merge(until=2)
    assert {id: values["email"] for id, values in proposals.records().items() if id != "9"} == {"1": "0", "2": "2"}
    (overruled,) = Conflicts(proposals.state).page(("overwritten",))
    assert (overruled.id, overruled.theirs) == ("1", "2")


def test_joining_again_asks_nothing_that_is_over_and_sends_nothing_that_is_there(proposals: Proposals) -> None:
    proposals.says(merges={"name": "ask", "email": "ask"})
    proposals.show("crm", "1", name="a", email="0")
    (made,) = proposals.merge()
    proposals.show("books", "1", delivered=made.changes[0].version, name="a", email="0")
    proposals.show("books", "1", name="a", email="1")
    (made,) = proposals.merge()
    proposals.show("crm", "1", delivered=made.changes[0].version, name="a", email="1")
    proposals.show("crm", "1", name="a", email="2")
    (made,) = proposals.merge()
    proposals.show("books", "1", delivered=made.changes[0].version, name="a", email="2")
    proposals.quiet()
    proposals.join_again()
    assert not [change for batch in proposals.quiet() for change in batch.changes]
    assert Conflicts(proposals.state).page() == []
    assert proposals.records() == {"1": {"name": "a", "email": "2"}}


def test_joining_again_takes_what_the_system_of_record_changed_while_its_topic_was_lost(proposals: Proposals) -> None:
    proposals.show("crm", "1", name="a", email="old")
    (made,) = proposals.merge()
    proposals.show("books", "1", delivered=made.changes[0].version, name="a", email="old")
    proposals.quiet()
    proposals.lose("crm")
    proposals.show("crm", "1", name="b", email="new")
    proposals.join_again()
    for attempt in stamina.retry_context(on=TransientError, timeout=30):
        with attempt:
            proposals.merge()
    assert proposals.records() == {"1": {"name": "b", "email": "new"}}


def test_a_question_that_joining_again_answers_is_over(proposals: Proposals) -> None:
    proposals.says(merges={"name": "ask", "email": "ask"})
    proposals.show("crm", "1", name="a", email="o")
    (made,) = proposals.merge()
    proposals.show("books", "1", delivered=made.changes[0].version, name="a", email="o")
    proposals.show("crm", "1", name="a", email="c")
    proposals.merge()
    proposals.show("books", "1", name="a", email="b")
    proposals.quiet()
    assert len(Conflicts(proposals.state).page()) == 1
    proposals.show("books", "1", name="a", email="c")
    proposals.join_again()
    proposals.quiet()
    assert Conflicts(proposals.state).page() == []
    proposals.show("crm", "1", name="a", email="later")
    (batch,) = proposals.merge()
    assert [change.id for change in batch.changes] == [b"1"]


def test_a_topic_that_was_cut_off_and_filled_up_since_stops_the_merge_until_systems_are_joined_again(
    proposals: Proposals,
) -> None:
    proposals.show("crm", "1", name="a", email="old")
    proposals.merge()
    proposals.quiet()
    proposals.position = led_by_another(proposals.position)
    with pytest.raises(LostPosition, match=r"was cut off behind what was read last.*two-way join customer --again"):
        proposals.merge()


def test_an_older_state_of_sorbuss_database_stops_the_merge_until_systems_are_joined_again(
    proposals: Proposals, tmp_path: Path
) -> None:
    tables = ("merged_record", "system_view")
    proposals.show("crm", "1", name="a", email="old")
    (made,) = proposals.merge()
    proposals.show("books", "1", delivered=made.changes[0].version, name="a", email="old")
    proposals.quiet()
    backup = {name: proposals.state.run(f"select json_agg(t)::text from {name} t".encode())[0] for name in tables}
    proposals.show("crm", "1", name="new", email="old")
    proposals.merge()
    for name, rows in backup.items():
        proposals.state.run(f"delete from {name}".encode())
        filled = f"insert into {name} select * from json_populate_recordset(null::{name}, %s)"
        proposals.state.run(filled.encode(), rows)
    proposals.show("books", "1", name="a", email="x")
    with pytest.raises(LostPosition, match="two-way join customer --again"):
        proposals.merge()
    proposals.join_again()
    proposals.merge()
    assert proposals.records() == {"1": {"name": "new", "email": "old"}}


def test_a_merge_that_kafka_knows_nothing_of_any_more_stops_until_it_is_joined_again(proposals: Proposals) -> None:
    for id in ("1", "2"):
        proposals.show("crm", id, name="a", email="old")
    proposals.merge(until=2)
    proposals.lose("crm")
    proposals.lose("books")
    proposals.position = None
    proposals.show("crm", "1", name="a", email="old")  # the other was deleted meanwhile
    with pytest.raises(LostPosition, match=r"Kafka knows nothing of this merge.*two-way join customer --again"):
        proposals.merge()
    proposals.join_again()
    proposals.merge(until=2)
    assert proposals.records() == {"1": {"name": "a", "email": "old"}}


def test_what_is_changed_while_many_records_are_joined_is_merged_after_it(
    proposals: Proposals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sorbus.producers.merge.producer._MOST", 1)
    for id in ("1", "2", "3"):
        proposals.show("crm", id, name="a")
    proposals.position = None
    merge = proposals.opened()
    while (batch := merge.read(0.5)) is None or not batch.changes:
        pass
    assert [change.id for change in batch.changes] == [b"1"]
    proposals.show("crm", "1", name="later")
    while merge._joining is not None:
        if (batch := merge.read(0.5)) is not None:
            proposals.position = batch.position
            merge.confirm(batch.position)
    merge.close()
    proposals.merge()
    assert proposals.records()["1"]["name"] == "later"


def test_of_a_system_that_is_added_later_only_what_it_shows_last_is_joined(proposals: Proposals) -> None:
    accepts(proposals, "crm")
    proposals.show("crm", "1", name="a", email="c")
    proposals.show("crm", "2", name="a")
    proposals.quiet()
    for email in ("first", "second"):
        for id in ("1", "2"):
            proposals.show("books", id, name="a", email=email)
    proposals.quiet()
    accepts(proposals, "crm", "books")
    proposals.show("crm", "3", name="meanwhile")
    proposals.merge(until=3)
    assert {id: values["email"] for id, values in proposals.records().items()} == {"1": "c", "2": "second", "3": None}
    (overruled,) = Conflicts(proposals.state).page(("overwritten",))
    assert (overruled.id, overruled.theirs) == ("1", "second")
    proposals.show("books", "1", name="a", email="changed")
    proposals.merge()
    assert proposals.records()["1"]["email"] == "changed"


def test_nothing_that_was_loaded_before_systems_are_joined_again_is_saved_after_it(proposals: Proposals) -> None:
    proposals.show("crm", "1", name="a")
    proposals.quiet()
    merge = proposals.opened()
    stored = merge._opened.load([b"1"])
    proposals.join_again()
    with pytest.raises(TransientError, match="joined again"):
        merge._opened.save(list(stored.values()))
    merge.close()
    assert not proposals.state.run(b"select from system_view")


def test_a_record_that_no_system_shows_when_systems_are_joined_again_is_deleted(proposals: Proposals) -> None:
    for id in ("1", "2"):
        proposals.show("crm", id, name="a")
    proposals.quiet()
    proposals.lose("crm")
    proposals.show("crm", "1", name="a")
    proposals.show("crm", "3", name="made since a person looked")
    proposals.join_again()
    for attempt in stamina.retry_context(on=TransientError, timeout=30):
        with attempt:
            found = proposals.merge(until=3)
    assert {change.id: change.data is None for batch in found for change in batch.changes} == {
        b"1": False,
        b"2": True,
        b"3": False,
    }
    assert proposals.records().keys() == {"1", "3"}


def accepts(proposals: Proposals, *systems: str) -> None:
    proposals.state.run(b"update joined_type set systems = %s", (sorted(systems),))


def test_a_data_type_that_was_one_way_in_between_is_joined_again(proposals: Proposals) -> None:
    proposals.show("crm", "1", name="a", email="old")
    (made,) = proposals.merge()
    proposals.show("books", "1", delivered=made.changes[0].version, name="a", email="old")
    proposals.quiet()
    proposals.show("crm", "1", name="a", email="crm's, which owned it")
    proposals.show("books", "1", name="a", email="written over by the next delivery")
    merge = MergeProducer(proposals.system, [proposals.source])
    merge.succeed("customer", "crm")
    merge.take_over({"customer": 1000})
    with pytest.raises(LostPosition, match=r"one-way.*two-way join customer --again"):
        merge.open(proposals.position)
    merge.close()
    proposals.join_again()
    merge.open(proposals.position)
    merge.close()
    proposals.merge()
    assert proposals.records()["1"]["email"] == "crm's, which owned it"


def test_a_system_that_leaves_the_map_and_comes_back_is_joined_like_a_new_one(proposals: Proposals) -> None:
    for id in ("1", "2"):
        proposals.show("crm", id, name="a")
        (made,) = proposals.merge()
        proposals.show("books", id, delivered=made.changes[0].version, name="a")
    proposals.show("crm", "1", name="a", email="c")
    proposals.quiet()
    both, fields = proposals.source.options, ["name", "email"]
    proposals.says(proposes={"crm": fields})
    proposals.quiet()
    proposals.show("books", "1", name="a", email="b")
    proposals.says(**dict(both))
    assert not proposals.quiet()
    merge = proposals.opened()
    assert "books isn't joined yet" in str(merge.problem)
    merge.close()
    accepts(proposals, "crm", "books")
    proposals.quiet()
    assert proposals.records()["1"]["email"] == "c"


def test_a_system_that_a_newer_map_has_stays_accepted(proposals: Proposals) -> None:
    accepts(proposals, "crm", "books", "support")
    proposals.opened().close()
    assert proposals.state.run(b"select systems from joined_type") == [(["books", "crm", "support"],)]
