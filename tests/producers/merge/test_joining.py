"""Joining makes records of what systems hold by then, whatever happened before, and again after something was lost."""

from __future__ import annotations

from pathlib import Path

import pytest
import stamina
from confluent_kafka import KafkaException

from sorbus.conflict.store import Conflicts
from sorbus.errors import LostPosition, TransientError
from tests.producers.merge.two_systems import Proposals, proposals

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
    topic = proposals.topics["crm"]
    proposals.admin.delete_topics([topic])[topic].result(30)
    for attempt in stamina.retry_context(on=KafkaException, timeout=30):
        with attempt:  # Kafka takes a moment to forget the old one
            proposals.make(topic)
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
