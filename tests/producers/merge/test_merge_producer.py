"""What becomes of a merge's dead letters, and of what it can't read, when it ends between its database and Kafka."""

from __future__ import annotations

import time

import pytest
import stamina
from confluent_kafka import KafkaException, Producer

from sorbus.conflict.store import Conflicts
from sorbus.errors import LostPosition, TransientError
from sorbus.event import event_encoder
from sorbus.ops.forget.stored import Stored
from sorbus.producers.merge.loops import TURNS
from sorbus.producers.merge.producer import MergeProducer
from tests.producers.merge.two_systems import Proposals, proposals
from tests.topics import delete_topic

__all__ = ["proposals"]


def test_what_was_decided_before_a_crash_is_published_after_it_once(proposals: Proposals) -> None:
    proposals.show("crm", "1", name="a")
    (lost,) = proposals.merge(ends_before_kafka=True)
    (again,) = proposals.merge()
    assert again.changes == lost.changes
    proposals.show("crm", "2", name="b")
    (only,) = proposals.merge()
    assert [change.id for change in only.changes] == [b"2"]


def test_a_refused_value_is_a_dead_letter_however_the_merge_ends(proposals: Proposals) -> None:
    proposals.show("crm", "1", name="a")
    proposals.merge()
    proposals.show("books", "1", delivered=2, name="a", email=None)
    proposals.show("books", "1", name=None, email="e")
    for ends in (True, False):
        found = proposals.merge(ends_before_kafka=ends, until=2)  # the other field's change, and this
        (reject,) = [reject for batch in found for reject in batch.rejects]
        assert (reject.id, reject.error.field) == (b"1", "name")
        assert "books has null in name of customer 1" in str(reject.error)
    proposals.show("books", "1", name="a", email="e")
    (batch,) = proposals.merge()
    assert batch.resolved == [("customer", b"1")]


def test_a_message_that_cant_be_read_is_a_dead_letter_and_stops_nothing(proposals: Proposals) -> None:
    proposals.out.produce(proposals.topics["books"], b"nonsense", b"7")
    unknown, _ = event_encoder(b"\xc3\x01" + bytes(8), "books", "customer-proposals-books")(b"8", 5, 0, 0, b"a")
    proposals.out.produce(proposals.topics["books"], unknown, b"8")
    proposals.out.flush(30)
    proposals.show("crm", "1", name="a")
    found = proposals.merge(until=3)
    rejects = [reject for batch in found for reject in batch.rejects]
    assert sorted(reject.id for reject in rejects) == [b"7", b"8"]
    assert any(change.id == b"1" for batch in found for change in batch.changes)


def test_a_record_that_its_owner_lacks_is_told_of_however_the_merge_ends(proposals: Proposals) -> None:
    proposals.show("books", "9", name="a")
    proposals.show("crm", "1", name="a")
    proposals.merge()
    long_ago = b"update merged_record set unlinked_since = now() - interval '2 hours' where unlinked_since is not null"
    proposals.state.run(long_ago)
    for ends in (True, False):
        (batch,) = proposals.merge(ends_before_kafka=ends)
        (reject,) = batch.rejects
        assert (reject.id, reject.error.reason) == (b"9", "not at its owner")
    proposals.show("crm", "9", name="b")
    (batch,) = proposals.merge()
    assert [(change.id, not change.data) for change in batch.changes] == [(b"9", False)]
    assert not batch.rejects


@pytest.mark.parametrize("shows_delete", [True, False])
def test_a_record_that_comes_back_elsewhere_after_its_owner_deleted_it_is_told_of(
    proposals: Proposals, *, shows_delete: bool
) -> None:
    """But not one that a system keeps when it is deleted."""
    proposals.show("crm", "1", name="a")
    proposals.show("crm", "2", name="kept")
    published = [change.version for batch in proposals.merge(until=2) for change in batch.changes]
    proposals.show("books", "1", delivered=published[0], name="a")
    proposals.show("books", "2", delivered=published[1], name="kept")
    if not shows_delete:  # a person was faster than Sorbus there
        proposals.show("books", "1")
    proposals.merge(until=9, quiet=True)
    proposals.show("crm", "1")
    proposals.show("crm", "2")
    gone = {change.id: change for batch in proposals.merge(until=2) for change in batch.changes}
    assert not gone[b"1"].data
    assert not gone[b"2"].data
    if shows_delete:
        proposals.show("books", "1", delivered=gone[b"1"].version)
    proposals.show("books", "1", name="made again")
    proposals.show("books", "2", name="kept, and changed")
    proposals.show("crm", "3", name="b")
    proposals.merge(until=9, quiet=True)
    long_ago = b"update merged_record set unlinked_since = now() - interval '2 hours' where unlinked_since is not null"
    proposals.state.run(long_ago)
    for ends in (True, False):
        (batch,) = proposals.merge(ends_before_kafka=ends)
        assert [(reject.id, reject.error.reason) for reject in batch.rejects] == [(b"1", "not at its owner")]
    proposals.show("books", "1")
    found = proposals.merge()
    assert ("customer", b"1") in [one for batch in found for one in batch.resolved]


@pytest.mark.parametrize("id", [b"a\0b", b"\xff\xfe"])
def test_an_id_that_no_database_holds_as_text_is_a_dead_letter_and_stops_nothing(
    proposals: Proposals, id: bytes
) -> None:
    """Also when a person asks for it again, or it is deleted."""
    proposals.show("crm", id, name="odd")
    proposals.show("crm", "1", name="a")
    proposals.out.produce(proposals.topics["crm"], None, id, headers=[("ce_id", b"customer/x@99")])
    proposals.out.flush(30)
    found = proposals.merge(until=3)
    assert [change.id for batch in found for change in batch.changes] == [b"1"]
    rejects = [reject for batch in found for reject in batch.rejects]
    assert {reject.id for reject in rejects} == {id}
    assert "correct it in crm" in str(rejects[0].error)
    merge = MergeProducer(proposals.system, [proposals.source])
    merge.open(proposals.position)
    merge.reread("customer", [id, b"1"])
    assert merged(merge) is not None
    merge.close()


def test_a_topic_that_was_made_again_stops_the_merge(proposals: Proposals) -> None:
    proposals.show("crm", "1", name="a")
    proposals.merge()
    delete_topic(proposals.admin, proposals.topics["books"])
    for attempt in stamina.retry_context(on=(KafkaException, TransientError), timeout=30):
        with attempt:  # Kafka takes a moment to forget the old one, and to find a leader for the new one
            if proposals.topics["books"] not in proposals.admin.list_topics(timeout=10).topics:
                proposals.make(proposals.topics["books"])
            with pytest.raises(LostPosition, match="two-way join customer --again"):
                proposals.merge()


def test_a_quiet_topic_that_was_read_to_its_end_is_not_lost_after_days(
    proposals: Proposals, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposals.show("crm", "1", name="a")
    transaction = Producer({"bootstrap.servers": proposals.kafka, "transactional.id": proposals.prefix})
    transaction.init_transactions(30)
    transaction.begin_transaction()
    transaction.produce(proposals.topics["books"], None, b"nobody")  # its end is a marker, which is no message
    transaction.commit_transaction(30)
    monkeypatch.setattr("sorbus.producers.merge.producer._IDLE_STORE", 0.0)
    proposals.merge(until=2)
    proposals.show("crm", "2", name="b")
    proposals.merge(until=9, quiet=True)
    merge = MergeProducer(proposals.system, [proposals.source])
    assert proposals.position is not None
    topics = proposals.position["topics"]
    assert isinstance(topics, dict)
    for topic in topics.values():
        assert isinstance(topic, dict)
        topic["read_at"] = [time.time() - 30 * 86400]
    merge.open(proposals.position)
    merge.close()


def test_forgetting_a_record_leaves_nothing_of_what_systems_showed(proposals: Proposals) -> None:
    proposals.show("crm", "1", name="Ada Lovelace")
    proposals.show("books", "1", name="Ada Lovelace")
    proposals.merge()
    proposals.show("crm", "1")  # the books keep it: a soft delete
    proposals.merge()
    erased = {one.what: one.count for one in Stored(proposals.state, "customer", "1").erase(dry_run=False)}
    rows = proposals.state.run(b"select coalesce(m::text, '') || v::text from merged_record m, system_view v")
    assert rows
    assert not any(b"Ada Lovelace".hex() in str(row) or "Ada" in str(row) for row in rows)
    assert 1 in erased.values()


def test_two_systems_that_answer_each_delivery_are_stopped_and_both_are_named(proposals: Proposals) -> None:
    proposals.show("crm", "1", name="a", email="0")
    merge, told = MergeProducer(proposals.system, [proposals.source]), Conflicts(proposals.state)
    merge.open(None)
    try:
        for turn in range(3 * TURNS):
            version = merged(merge)
            if version is None:
                break
            system = ("books", "crm")[turn % 2]
            proposals.show(system, "1", delivered=version, name="a", email=str(turn))
            proposals.show(system, "1", name="a", email=str(turn + 1))
    finally:
        merge.close()
    (held,) = told.page()

    assert (held.id, held.field, {held.system, str(held.in_turn_with)}) == ("1", "email", {"crm", "books"})
    assert turn < 2 * TURNS + 2


def merged(merge: MergeProducer) -> int | None:
    """The version of the record's next event; None once it is held."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        batch = merge.read(0.5)
        if batch is not None and batch.changes:
            return batch.changes[-1].version
        if batch is not None and merge.problem:
            return None
    raise AssertionError("neither an event nor a stop within 20 s")
