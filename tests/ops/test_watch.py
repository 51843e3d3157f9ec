"""Watching from outside: lag is exactly what is left to read, a dead consumer shows, dead letters are counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from confluent_kafka import Consumer, IsolationLevel, Producer, TopicPartition
from confluent_kafka.admin import NewTopic, OffsetSpec

from sorbus.bus.kafka import admin, base_config
from sorbus.bus.names import Names
from sorbus.mapfile.model import Map
from sorbus.ops.dead_letters.kind import LetterKind
from sorbus.ops.embedded import Addresses
from sorbus.ops.monitoring.consumer_lag import Span, Unread, UnreadReader
from sorbus.ops.monitoring.flow_state import FlowState
from sorbus.ops.monitoring.measure import Watch
from sorbus.settings import Settings
from sorbus.timing.schedule import parse_timing

LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
HOUR, DAY = 3600.0, 86400.0
Open = Callable[[], Watch]


@pytest.fixture
def settings(stack: Addresses) -> Settings:
    return Settings(kafka=stack.kafka)


@pytest.fixture
def names(unique: str) -> Names:
    return Names(unique)


@pytest.fixture
def company(names: Names) -> Map:
    return Map.model_validate(
        {
            "topic_prefix": names.prefix,
            "systems": {"crm": {"kind": "postgres"}, "books": {"kind": "postgres"}},
            "data_types": {"order": {"system_of_record": "crm"}, "customer": {"system_of_record": "crm"}},
            "flows": [
                {"data_type": "order", "to": "books"},
                {"data_type": "customer", "to": "books", "timing": "every 15m"},
                {"data_type": "customer", "to": "crm", "none": "it owns them"},
            ],
        }
    )


@pytest.fixture
def topics(settings: Settings, names: Names) -> Names:
    """The company's topics, made; two partitions each."""
    client = admin(settings)
    wanted = [
        names.topic("order"),
        names.topic("customer"),
        names.dead_letters("order"),
        names.requeue("order-to-books"),
    ]
    for future in client.create_topics(
        [NewTopic(topic, 2, 1, config={"cleanup.policy": "compact"}) for topic in wanted]
    ).values():
        future.result(30)
    return names


@pytest.fixture
def open_watch(company: Map, settings: Settings) -> Iterator[Open]:
    opened: list[Watch] = []

    def open_one() -> Watch:
        letters = LetterKind().measure(company, has_state=False)
        opened.append(Watch(company, settings, decisions=[letters]))
        return opened[-1]

    yield open_one
    for watch in opened:
        watch.close()


def publish(settings: Settings, topic: str, count: int, *, partition: int = 0, abort: bool = False) -> None:
    """Writes `count` messages in a transaction, so that markers follow them."""
    producer = Producer({**base_config(settings, "test"), "transactional.id": f"{topic}-{partition}"})
    producer.init_transactions()
    producer.begin_transaction()
    for number in range(count):
        producer.produce(topic, b"value", key=b"%d" % number, partition=partition)
    producer.flush(30)
    if abort:
        producer.abort_transaction()
        return
    producer.commit_transaction()
    _wait_until_visible(settings, topic, partition)


def _wait_until_visible(settings: Settings, topic: str, partition: int) -> None:
    """A commit returns before its marker is written; only behind the marker do readers see the messages."""
    client, part = admin(settings), TopicPartition(topic, partition)
    deadline = time.monotonic() + 20
    while True:
        (written,) = client.list_offsets({part: LATEST}).values()
        (visible,) = client.list_offsets({part: LATEST}, isolation_level=IsolationLevel.READ_COMMITTED).values()
        if visible.result(10).offset == written.result(10).offset > 0:
            return
        assert time.monotonic() < deadline, f"the transaction on {topic} never ended"


def commit(settings: Settings, group: str, topic: str, offset: int, partition: int = 0) -> None:
    """Commits as a consumer would that has gone again."""
    consumer = Consumer({**base_config(settings, "test"), "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, partition, offset)], asynchronous=False)
    consumer.close()


def order_flow(watch: Watch) -> FlowState:
    return watch.measure().flows[0]


def test_only_flows_that_run_are_measured(open_watch: Open, topics: Names) -> None:
    assert [flow.flow for flow in open_watch().measure().flows] == ["order-to-books", "customer-to-books"]


def test_a_map_whose_topics_are_not_made_yet_has_no_lag(open_watch: Open) -> None:
    measured = open_watch().measure()
    assert [(flow.lag_records, flow.lag_seconds) for flow in measured.flows] == [(0, 0.0), (0, 0.0)]
    assert [topic.last_event for topic in measured.topics] == [None, None]


def test_a_group_that_never_ran_has_everything_before_it(open_watch: Open, topics: Names, settings: Settings) -> None:
    begin = time.time()
    publish(settings, topics.topic("order"), 7)
    publish(settings, topics.topic("order"), 5, partition=1)
    flow = order_flow(open_watch())
    assert flow.lag_records == 12
    assert 0 <= flow.lag_seconds <= time.time() - begin + 1
    assert (flow.state, flow.members) == ("down", 0)
    assert flow.complaint == "no consumer runs"


def test_transaction_markers_are_no_lag(open_watch: Open, topics: Names, settings: Settings) -> None:
    topic, group = topics.topic("order"), topics.group("order-to-books")
    publish(settings, topic, 7)
    publish(settings, topic, 3, abort=True)
    commit(settings, group, topic, 7)
    watch = open_watch()
    assert (order_flow(watch).lag_records, order_flow(watch).lag_seconds) == (0, 0.0)
    publish(settings, topic, 2)
    assert order_flow(watch).lag_records == 2
    assert order_flow(watch).lag_seconds > 0


def test_the_age_is_that_of_the_first_unread_event(open_watch: Open, topics: Names, settings: Settings) -> None:
    topic = topics.topic("order")
    producer = Producer(base_config(settings, "test"))
    now = int(time.time() * 1000)
    for number, age in enumerate((90, 60, 30)):
        producer.produce(topic, b"v", key=b"%d" % number, partition=0, timestamp=now - age * 1000)
    producer.flush(30)
    watch = open_watch()
    assert 90 <= order_flow(watch).lag_seconds < 110
    commit(settings, topics.group("order-to-books"), topic, 1)
    assert 60 <= order_flow(watch).lag_seconds < 80
    commit(settings, topics.group("order-to-books"), topic, 3)
    assert order_flow(watch).lag_seconds == 0


def test_a_large_backlog_is_measured_by_offsets_and_gives_a_rate(
    open_watch: Open, topics: Names, settings: Settings
) -> None:
    topic, group = topics.topic("order"), topics.group("order-to-books")
    publish(settings, topic, 5000)
    watch = open_watch()
    assert order_flow(watch).lag_records == 5001
    commit(settings, group, topic, 4000)
    flow = order_flow(watch)
    assert flow.lag_records == 1001
    assert flow.rate is not None
    assert flow.rate > 0
    assert order_flow(watch).rate == 0


def test_requeued_letters_count_as_lag_of_their_flow(open_watch: Open, topics: Names, settings: Settings) -> None:
    publish(settings, topics.requeue("order-to-books"), 2)
    assert order_flow(open_watch()).lag_records == 2


def test_a_running_consumer_is_seen_and_so_is_its_end(open_watch: Open, topics: Names, settings: Settings) -> None:
    watch = open_watch()
    consumer = Consumer({**base_config(settings, "test"), "group.id": topics.group("order-to-books")})
    consumer.subscribe([topics.topic("order")])
    deadline = time.monotonic() + 30
    while order_flow(watch).state != "running":
        assert time.monotonic() < deadline, f"the group never became running: {order_flow(watch)}"
        consumer.poll(0.2)
    assert order_flow(watch).members == 1
    assert order_flow(watch).complaint is None
    consumer.close()
    assert order_flow(watch).complaint == "no consumer runs"


def test_dead_letters_are_open_until_a_tombstone_closes_them(
    open_watch: Open, topics: Names, settings: Settings
) -> None:
    producer = Producer(base_config(settings, "test"))
    topic = topics.dead_letters("order")

    def letter(key: bytes, value: bytes | None, flow: bytes) -> None:
        producer.produce(topic, value, key=key, headers=[("sorbus.flow", flow)])
        producer.flush(30)

    for key in (b"a", b"b", b"c"):
        letter(key, b"letter", b"order-to-books")
    letter(b"d", b"letter", b"")
    letter(b"e", b"letter", b"order-to-old_shop")
    watch = open_watch()
    first = watch.measure()
    assert first.dead_letters["customer", ""] == 0, "a series that begins with its first letters has not grown"
    gone = (
        "order-to-old_shop: 1 dead letter open, and the map no longer runs it: sorbus dlq list --flow order-to-old_shop"
    )
    assert gone in first.complaints()
    assert first.flows[0].dead_letters == 3
    assert first.dead_letters["order", ""] == 1
    assert first.dead_letters["customer", "customer-to-books"] == 0
    letter(b"a", None, b"order-to-books")
    letter(b"b", b"letter once more", b"order-to-books")
    assert watch.measure().flows[0].dead_letters == 2
    assert "order: 1 source row could not be made canonical" in watch.measure().complaints()


def test_a_measurement_of_an_idle_map_reads_nothing_again(
    open_watch: Open, topics: Names, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(settings, topics.topic("order"), 5)
    watch = open_watch()
    assert order_flow(watch).lag_records == 5

    def refuse(*_: object) -> None:
        raise AssertionError("it read again although no offset has changed")

    monkeypatch.setattr(watch._unread, "_read", refuse)
    assert order_flow(watch).lag_records == 5


def test_what_kafka_was_too_slow_to_show_is_looked_at_again(
    topics: Names, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, now = topics.topic("order"), 1000.0
    publish(settings, topic, 3)
    spans = {(topic, 0): Span(3, 4)}
    reader = UnreadReader(settings, patience=0.0, clock=lambda: now)
    assert reader.look("group", spans) == {(topic, 0): Unread(1, 1000.0)}
    now = 1060.0
    assert reader.look("group", spans) == {(topic, 0): Unread(1, 1000.0)}
    monkeypatch.setattr(reader, "_patience", 20.0)
    assert reader.look("group", spans) == {(topic, 0): Unread(0, None)}
    reader.close()


@pytest.mark.parametrize(
    ("timing", "seconds"),
    [
        ("real-time", 0.0),
        ("every 15m", 900.0),
        ("cron 0 2 * * *", DAY),
        ("cron 0 2 * * 1-5", 3 * DAY),
        ("cron 30 * * * * Europe/London", HOUR),
    ],
)
def test_the_longest_pause_of_a_timing_is_known(timing: str, seconds: float) -> None:
    assert parse_timing(timing).longest_pause(datetime.now(UTC)) == seconds
