"""The inbox: what the webhook service puts in comes out in order, once, and again after a restart that forgot it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import pytest
from confluent_kafka import TopicPartition
from pydantic import JsonValue

from sorbus.abilities import Notice
from sorbus.bus.inbox import POSITION_KEY, Inbox, InboxWriter
from sorbus.bus.kafka import admin, idempotent_producer
from sorbus.bus.names import Names
from sorbus.errors import TransientError
from sorbus.mapfile.model import Map
from sorbus.ops.runtime.topics import plan_topics, topics_of
from sorbus.producers.webhook_inbox import InboxReader
from sorbus.settings import Settings

ANNA, BEN = Notice("contacts", "anna", False, 1), Notice("contacts", "ben", False, 2)


def put(writer: InboxWriter, *notices: Notice) -> None:
    writer.put("crm", notices, "delivery-1").result(10)


@pytest.fixture
def writer(settings: Settings, names: Names, make_inbox: Callable[[str], None]) -> InboxWriter:
    make_inbox("crm")
    return InboxWriter(settings, names)


def test_only_systems_of_record_with_a_webhook_secret_get_an_inbox(settings: Settings, unique: str) -> None:
    hears = {"kind": "http", "connection": {"api": "xero", "webhook_secret": "${KEY}"}}
    company = Map.model_validate(
        {
            "topic_prefix": f"{unique}.",
            "systems": {"crm": hears, "desk": hears, "shop": {"kind": "http", "connection": {"api": "xero"}}},
            "data_types": {"customer": {"system_of_record": "crm"}, "order": {"system_of_record": "shop"}},
        }
    )
    wanted = [topic for topic in topics_of(company) if topic.name.endswith(".inbox")]
    assert [topic.name for topic in wanted] == [f"{unique}.crm.inbox"]
    client = admin(settings)
    for step in plan_topics(client, wanted):
        assert step.apply is not None
        step.apply()
    assert plan_topics(client, wanted) == []


def test_notices_come_out_in_order_and_a_position_goes_on_after_them(
    writer: InboxWriter, settings: Settings, names: Names
) -> None:
    put(writer, ANNA, BEN)
    first = Inbox(settings, names, "crm", None)
    assert first.read(10) == [ANNA, BEN]
    position = first.position()
    gone = BEN._replace(deleted=True)
    put(writer, gone)
    assert first.read(10) == [gone]
    first.close()
    again = Inbox(settings, names, "crm", position)
    assert again.position() == position
    assert again.read(10) == [gone]
    assert again.read(0.2) == []
    again.close()


def test_a_record_that_was_told_of_many_times_is_told_on_once(
    writer: InboxWriter, settings: Settings, names: Names
) -> None:
    put(writer, *(ANNA._replace(received_at=at) for at in range(100)), BEN)
    inbox = Inbox(settings, names, "crm", None)
    assert inbox.read(10) == [ANNA._replace(received_at=99), BEN]
    assert inbox.position() == {"0": 101}
    inbox.close()


@pytest.mark.parametrize(
    "value", [None, b"\xff", b"[]", b'{"resource":"","id":"1","deleted":false,"received_at":1}', b'{"id":7}']
)
def test_what_is_no_notice_is_skipped_with_a_warning(
    writer: InboxWriter, settings: Settings, names: Names, value: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = idempotent_producer(settings, "stranger")
    stranger.produce(names.inbox("crm"), value=value)
    stranger.flush(10)
    put(writer, ANNA)
    inbox = Inbox(settings, names, "crm", None)
    with caplog.at_level(logging.WARNING):
        found = inbox.read(10) or inbox.read(10)
    inbox.close()
    assert found == [ANNA]
    assert "skipped offset 0" in caplog.text


def test_a_position_that_kafka_no_longer_has_begins_at_the_oldest(
    writer: InboxWriter, settings: Settings, names: Names
) -> None:
    put(writer, ANNA)
    inbox = Inbox(settings, names, "crm", {"0": 4711})
    assert inbox.has_lost
    assert inbox.read(10) == [ANNA]
    inbox.close()


class Listed:
    """A producer that counts how often it is to compare everything."""

    def __init__(self) -> None:
        self.times, self.owes = 0, False

    def hear(self, notices: Sequence[Notice]) -> None:
        """Takes them."""

    def list_anew(self) -> None:
        self.times += 1


@pytest.mark.parametrize(
    ("position", "times"), [({"0": 4711}, 1), ({"0": 0}, 1), ({"0": 1}, 0), ({"0": 2}, 0), ({}, 0)]
)
def test_notices_that_were_lost_lead_to_a_comparison_of_everything(
    writer: InboxWriter, settings: Settings, names: Names, position: dict[str, JsonValue], times: int
) -> None:
    put(writer, ANNA, BEN)
    topic = names.inbox("crm")
    client = admin(settings)
    for future in client.delete_records([TopicPartition(topic, 0, 1)]).values():
        future.result(30)
    producer = Listed()
    reader = InboxReader(producer, settings, names, "crm")
    reader.open({POSITION_KEY: position})
    for _ in range(2):
        reader.poll(0.0)
    reader.close()
    assert producer.times == times


@pytest.mark.parametrize("owes", [True, False])
def test_while_records_may_not_be_looked_up_yet_the_loop_rests_a_moment(
    writer: InboxWriter, settings: Settings, names: Names, owes: bool
) -> None:
    put(writer, ANNA)
    producer = Listed()
    producer.owes = owes
    reader = InboxReader(producer, settings, names, "crm")
    reader.open({POSITION_KEY: {}})
    assert reader.read_wait(0.25) == 0, "the wait is the inbox's own"
    reader.poll(20.0)
    rest = reader.read_wait(0.25)
    reader.close()
    assert (rest > 0) is owes


def test_without_its_topic_an_inbox_says_what_to_run(settings: Settings, names: Names) -> None:
    with pytest.raises(TransientError, match="sorbus apply"):
        Inbox(settings, names, "nobody", None)


def test_a_writer_without_kafka_fails_within_its_patience(names: Names, free_port: int) -> None:
    writer = InboxWriter(Settings(kafka=f"127.0.0.1:{free_port}"), names, patience=1.0)
    with pytest.raises(TransientError, match=r"crm\.inbox"):
        put(writer, ANNA)
    writer.close()
