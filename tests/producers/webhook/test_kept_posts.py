"""Posts that were answered 200 are never lost, and never older than what is known: whatever time, type or partition."""

from __future__ import annotations

import json
import time

import pytest
import stamina
from confluent_kafka.admin import NewPartitions

from sorbus.abilities import PublishedState
from sorbus.bus.inbox import InboxWriter
from sorbus.bus.kafka import admin
from sorbus.bus.record_inbox import PostedRecord
from sorbus.bus.sending import Single
from sorbus.connector import Change, RejectedRecord
from sorbus.errors import TransientError
from sorbus.producers.polling.change_detector import ChangeDetector
from sorbus.producers.webhook import producer, record_feed
from sorbus.producers.webhook.intake import RecordIntake
from sorbus.producers.webhook.producer import WebhookProducer
from sorbus.producers.webhook.record_feed import RecordFeed
from tests.producers.webhook.test_records import MICROS, MakeForm, make_form, source
from tests.topics import until_known
from tests.webhook.posting import RecordHouse

_ = make_form
LONG_AGO = ["0001-01-01T00:00:00", "1900-01-01T00:00:00Z", "1969-12-31T23:59:59Z"]
"""Such as .NET writes for a time that was never set."""


def _posted(id: str, at: str, kind: str = "record", name: object = "a") -> PostedRecord:
    body = json.dumps({"id": id, "name": name, "at": at}).encode()
    return PostedRecord("contact", id, kind, body, "", MICROS)  # type: ignore[arg-type]


def _put(house: RecordHouse, messages: list[Single]) -> None:
    """Writes them where they say; by a new client, since one that is open knows no new partitions."""
    client, topic = admin(house.settings), messages[0].topic
    most = max(message.partition for message in messages)
    until_known(client, topic, most + 1)
    for attempt in stamina.retry_context(on=TransientError, timeout=20):  # the broker told them to others only, so far
        with attempt:
            writer = InboxWriter(house.settings, house.names)
            try:
                while messages:
                    writer.send(messages[:1], "writing").result(10)
                    messages = messages[1:]
            finally:
                writer.close()


@pytest.mark.parametrize("at", LONG_AGO)
def test_a_new_record_whose_time_is_before_1970_is_published(make_form: MakeForm, at: str) -> None:
    form = make_form(source(updated="at"))
    assert form.house.post({"id": 1, "name": "Anna", "at": at}).status_code == 200
    assert form.drain().keys() == {"1"}


@pytest.mark.parametrize("at", LONG_AGO)
@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_refused_record_whose_time_is_before_1970_is_published_once_it_is_right(at: str, is_restarted: bool) -> None:
    feed = RecordFeed(RecordIntake(source(updated="at"), "form"))
    assert isinstance(feed.judge(_posted("1", at, name=[])), RejectedRecord)
    if is_restarted:
        feed = RecordFeed(RecordIntake(source(updated="at"), "form"))
        feed.remember([PublishedState(b"1", 0, 0, b"")])
    assert isinstance(feed.judge(_posted("1", at)), Change)
    assert isinstance(feed.judge(_posted("1", at, "delete")), Change)


def test_an_older_post_never_brings_back_one_of_many_deletes() -> None:
    feed = RecordFeed(RecordIntake(source(updated="at"), "form"))
    assert record_feed.MOST_DELETED > 10_001
    for id in range(10_001):
        assert isinstance(feed.judge(_posted(str(id), "2026-11-01T00:00:00Z")), Change)
    for id in range(10_001):
        assert isinstance(feed.judge(_posted(str(id), "2026-11-03T00:00:00Z", "delete")), Change)
    assert feed.judge(_posted("0", "2026-11-02T00:00:00Z")) is None, "an older state brought a deleted record back"


@pytest.mark.parametrize("way", ["method", "mark"])
def test_an_older_post_brings_no_record_back_after_a_restart_either(
    make_form: MakeForm, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(producer, "_REMEMBERED", 20)
    form = make_form(source(updated="at", deleted={"state": "left"}))
    form.house.post({"id": 1, "name": "a", "at": "2026-11-01T00:00:00Z"})
    if way == "method":
        form.house.post({"id": 1, "at": "2026-11-03T00:00:00Z"}, method="DELETE")
    else:
        form.house.post({"id": 1, "state": "left", "at": "2026-11-03T00:00:00Z"})
    form.drain()
    form.house.post([{"id": n, "name": "b", "at": "2026-11-04T00:00:00Z"} for n in range(2, 40)])
    form.drain()
    form.house.post({"id": 1, "name": "a", "at": "2026-11-02T00:00:00Z"})
    assert "1" not in form.drain(), "an older post brought it back"


def test_posts_of_a_type_that_the_producer_did_not_map_are_published_once_it_does(make_form: MakeForm) -> None:
    """The service runs with the new map already, the producer still with the old one, or the other way round."""
    both = [source("contact"), source("company")]
    form = make_form(*both)
    assert form.house.post({"id": 1, "name": "a"}, path="/contact").status_code == 200
    form.drain()
    form.sources = [both[1]]
    assert form.house.post({"id": 2, "name": "b"}, path="/contact").status_code == 200
    form.house.post({"id": 3, "name": "c"}, path="/company")
    form.drain()
    form.sources = both
    form.drain()
    assert set(form.state) == {("contact", "1"), ("contact", "2"), ("company", "3")}
    form.house.post({"id": 4, "name": "d"}, path="/contact")
    form.drain()
    assert form.events == 4, "nothing is published twice"


def test_an_inbox_with_more_partitions_loses_no_post_and_keeps_their_order(make_form: MakeForm) -> None:
    """Somebody added partitions, or the broker made the topic by itself; earlier releases wrote by key."""
    form = make_form()
    names = form.house.names
    client = admin(form.house.settings)
    for done in client.create_partitions([NewPartitions(names.inbox("form"), 3)]).values():
        done.result(10)
    earlier = [
        PostedRecord("contact", str(n), "record", b'{"id": "%d", "name": "old"}' % n, "", MICROS) for n in (1, 2)
    ]
    messages = [one.message(names, "form")._replace(partition=2 - place) for place, one in enumerate(earlier)]
    _put(form.house, messages)
    for n in range(1, 13):
        assert form.house.post({"id": n, "name": "new"}).status_code == 200
    found = form.drain()
    assert found.keys() == {str(n) for n in range(1, 13)}
    assert {one["name"] for one in found.values()} == {"new"}
    assert form.position is not None
    assert form.position["inbox"]["0"] == 12, "posts have one order, that of partition 0"
    form.house.post({"id": 1, "name": "newest"})
    assert form.drain()["1"]["name"] == "newest"


def test_the_newest_post_of_several_partitions_is_the_one_that_was_received_last(make_form: MakeForm) -> None:
    """Partitions were added, and a release that wrote by key put the record's later posts into one of them."""
    form = make_form()
    names = form.house.names
    assert form.house.post({"id": 1, "name": "old"}).status_code == 200
    form.drain()
    client = admin(form.house.settings)
    for done in client.create_partitions([NewPartitions(names.inbox("form"), 2)]).values():
        done.result(10)
    later = PostedRecord("contact", "1", "record", b'{"id": "1", "name": "new"}', "", time.time_ns() // 1000 + MICROS)
    _put(form.house, [later.message(names, "form")._replace(partition=1)])
    assert form.drain()["1"]["name"] == "new"
    producer_ = WebhookProducer(form.system, [source()])
    try:
        producer_.open(form.position)
        producer_.reread("contact", [b"1"])
        batch = producer_.read(0.2)
        assert batch is not None
        assert [b"new" in (change.data or b"") for change in batch.changes] == [True]
    finally:
        producer_.close()


def test_more_deletes_than_are_known_take_no_longer_each() -> None:
    memory = ChangeDetector("contact", lambda _: b"", lambda _: None, can_look=False, most_buried=200_000)
    seconds = []
    for begin in range(0, 1_000_000, 200_000):
        began = time.process_time()
        for n in range(begin, begin + 200_000):
            memory.remember_deleted(b"%d" % n, n)
        seconds.append(time.process_time() - began)
    assert max(seconds) < 20 * min(seconds)
    assert memory.is_older(b"800000", 0), "the last ones are known"
    assert not memory.is_older(b"1", 0)
