"""What the real loop writes to a topic for others: deletes, known states, and records that can't be written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import ConfigResource, NewPartitions, NewTopic

from sorbus.abilities import Erased
from sorbus.bus.kafka import admin
from sorbus.bus.registry import open_registry
from sorbus.bus.topic_facts import topic_ids
from sorbus.connector import Delivery
from sorbus.consumers.kafka import topic_writer
from sorbus.consumers.kafka.connect_types import Wire
from sorbus.consumers.kafka.consumer import KafkaConsumer
from sorbus.consumers.kafka.options import KafkaTarget
from sorbus.consumers.kafka.plan import versions_of
from sorbus.dry_run import DryRunReads
from sorbus.errors import SchemaError, TransientError
from sorbus.event import HISTORICAL
from sorbus.ops.embedded import Addresses
from sorbus.schema import parse_schema
from tests.conformance.test_kafka import messages
from tests.consumers.kafka.topic_line import TopicLine
from tests.consumers.line import eventually, named
from tests.topics import delete_topic, make_topics

MakeTopicLine = Callable[..., TopicLine]


@pytest.fixture
def make_topic_line(
    tmp_path: Path,
    stack: Addresses,
    make_database: Callable[[], str],
    unique: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[MakeTopicLine]:
    made: list[TopicLine] = []

    def make(connection: dict[str, object] | None = None, **target: object) -> TopicLine:
        dsn = make_database()
        env = {**stack.env(), "CRM_DSN": dsn, "BOOKS_DSN": dsn, "SORBUS_DATABASE": dsn}
        for name, value in env.items():
            monkeypatch.setenv(name, value)

        class Made(TopicLine):
            connection_keys = connection or {}

        Made.target = target
        made.append(Made(tmp_path, dsn, env, unique, registry=True, timing="real-time"))
        return made[-1]

    yield make
    for line in made:
        line.close()


def op(payload: object) -> str:
    assert isinstance(payload, dict)
    return str(payload["op"])


def test_deletes_and_known_states_come_as_debezium_writes_them(make_topic_line: MakeTopicLine) -> None:
    line = make_topic_line()
    with line.consuming(make=line.consumer) as running:
        value, headers = line.writer.event("1", 1, named("one"))
        line.write("1", value, [*headers, (HISTORICAL, b"1")])
        line.publish([("2", 1, named("two"))])
        eventually(lambda: len(line.written()) == 2 or running.error, "two messages")
        line.publish([("1", 2, None)])
        eventually(lambda: len(line.written()) == 4 or running.error, "a delete and its tombstone")
        _, headers = line.writer.event("3", 7, None)
        line.write("3", None, headers)  # what compaction leaves of a delete
        line.flush()
        eventually(lambda: len(line.written()) == 6 or running.error, "the delete that only a tombstone told of")
    written = line.written()
    assert sorted((id, op(one)) for id, one in written[:2]) == [("1", "r"), ("2", "c")]
    assert [(id, one and op(one)) for id, one in written[2:]] == [("1", "d"), ("1", None), ("3", "d"), ("3", None)]


def test_what_cant_be_written_is_a_letter_and_stops_nothing(make_topic_line: MakeTopicLine) -> None:
    line = make_topic_line(key_type="int64", encoding="avro")
    with line.consuming(make=line.consumer) as running:
        far = line.writer.event("1", 253_402_300_799_000_000, named("in 9999"))  # beyond int64 in nanoseconds
        line.write("1", *far)
        line.publish([("-0", 1, named("minus zero")), ("007", 1, named("zeros")), ("2", 1, named("well"))])
        line.write("x", line.writer.event("?", 1, named("not UTF-8"))[0].replace(b"\x02?", b"\x02\xff"))
        line.flush()
        eventually(lambda: len(line.letters()) == 3 or running.error, "three letters")
    assert sorted(letter.record_id for letter in line.letters()) == [b"-0", b"007", b"x"]
    assert len(list(messages(line.settings.kafka, line.out))) == 2


def test_a_topic_that_was_made_again_stops_the_flow_until_a_person_accepts_it(make_topic_line: MakeTopicLine) -> None:
    """What had been written is gone with it, and the versions in the state say that it is there."""
    line = make_topic_line()
    client, consumer = admin(line.settings), line.consumer()
    assert KafkaConsumer.plan(line.flow) == []
    consumer.open()
    try:
        consumer.apply([line.writer.delivery(id, 1, named("one")) for id in ("1", "2")])
        delete_topic(client, line.out)
        eventually(lambda: not topic_ids(client, [line.out]), "the topic to be gone")
        make_topics(client, NewTopic(line.out, 1, 1))
        eventually(lambda: topic_ids(client, [line.out]), "the new topic")
        with pytest.raises(TransientError, match=r"made again.*sorbus apply.*sorbus replay"):
            consumer.check()
        again = line.consumer()
        with pytest.raises(TransientError, match="made again"):
            again.open()
        again.close()
        (step,) = KafkaConsumer.plan(line.flow)
        assert "made again" in step.detail
        assert step.apply is not None
        step.apply()
        assert KafkaConsumer.plan(line.flow) == []
        consumer.check()
        consumer.apply([line.writer.delivery(id, 1, named("one")) for id in ("1", "2")])
        assert sorted(id for id, _ in line.written()) == ["1", "2"]
    finally:
        consumer.close()


FORMS = [{"key_type": "int64"}, {"key": "gadget_id"}, {"encoding": "avro"}, {"encoding": "json"}]


@pytest.mark.parametrize("form", FORMS)
def test_keys_in_another_form_stop_the_flow(make_topic_line: MakeTopicLine, form: dict[str, str]) -> None:
    """Else older states stay beside newer ones for ever, and no delete reaches them."""
    line = make_topic_line()
    written(line, [line.writer.delivery("1", 1, named("one"))])
    before = line.flow
    line.flow = replace(before, options=KafkaTarget.model_validate({"topic": line.out, **form}))
    consumer = line.consumer()
    with pytest.raises(TransientError, match=r"keys would be written in another form.*another `topic:`"):
        consumer.open()
    consumer.close()
    values = KafkaTarget.model_validate({"topic": line.out, "format": "flat", "timestamps": "micros"})
    line.flow = replace(before, options=values)
    written(line, [line.writer.delivery("1", 2, None)])


@pytest.mark.parametrize("earlier", [False, True])
def test_partitions_that_are_added_stop_the_flow(make_topic_line: MakeTopicLine, earlier: bool) -> None:
    """Also where an earlier release kept nothing but the topic's id, once this one has looked."""
    line = make_topic_line()
    client = admin(line.settings)
    if earlier:
        versions_of(line.flow).keep_identity(topic_ids(client, [line.out])[line.out][0])
    written(line, [line.writer.delivery(str(n), 1, named("one")) for n in range(9)])
    client.create_partitions([NewPartitions(line.out, 3)])[line.out].result(30)
    eventually(lambda: topic_ids(client, [line.out])[line.out][1] == 3, "the new partitions")
    consumer = line.consumer()
    with pytest.raises(TransientError, match="it has 3 partitions and had 1"):
        consumer.open()
    consumer.close()
    (step,) = KafkaConsumer.plan(line.flow)
    assert step.apply is None, "a person has to decide"
    assert "no delete would reach what was written" in step.detail


def written(line: TopicLine, deliveries: list[Delivery]) -> None:
    """By a consumer of the flow as it is now."""
    consumer = line.consumer()
    consumer.open()
    try:
        assert consumer.apply(deliveries) == []
    finally:
        consumer.close()


def test_one_record_that_is_too_large_for_the_topic_leaves_its_neighbours_alone(
    make_topic_line: MakeTopicLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SORBUS_TOPIC_CONFIG", json.dumps({"*.gadgets": {"max.message.bytes": "100000"}}))
    line = make_topic_line(encoding="json")
    consumer = line.consumer()
    consumer.open()
    try:
        names = {str(n): token_hex(200_000 if n == 137 else 100) for n in range(300)}
        refused = consumer.apply([line.writer.delivery(id, 1, named(name)) for id, name in names.items()])
        assert [(one.place, one.error.reason) for one in refused] == [(137, "too large")]
        written = {json.loads(key)["id"] for key, _ in messages(line.settings.kafka, line.out)}
        assert written == names.keys() - {"137"}
    finally:
        consumer.close()


def test_a_batch_that_a_slow_line_does_not_take_in_time_is_tried_in_smaller_ones(
    make_topic_line: MakeTopicLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = make_topic_line()
    consumer = line.consumer()
    consumer.open()
    monkeypatch.setattr(topic_writer, "_PATIENCE", 0.0)
    try:
        for count in (2, 1):
            with pytest.raises(TransientError, match="hasn't confirmed") as told:
                consumer.apply([line.writer.delivery(str(n), 1, named("one")) for n in range(count)])
            assert told.value.smaller == (count > 1)
    finally:
        consumer.close()


def test_the_topic_is_made_so_that_erased_states_go_and_as_a_provider_takes_it(
    make_topic_line: MakeTopicLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = {"*.gadgets": {"max.message.bytes": "1048588", "segment.ms": None}}
    monkeypatch.setenv("SORBUS_TOPIC_CONFIG", json.dumps(overrides))
    line = make_topic_line()
    asked = ConfigResource(ConfigResource.Type.TOPIC, line.out)
    client = admin(line.settings)
    made = client.describe_configs([asked])[asked].result(30)
    assert made["max.message.bytes"].value == "1048588"
    assert made["segment.ms"].is_default
    assert int(str(made["max.compaction.lag.ms"].value)) == 7 * 24 * 3600 * 1000


def test_forgetting_says_what_the_topic_still_has_of_a_record(make_topic_line: MakeTopicLine) -> None:
    line = make_topic_line()
    consumer = line.consumer()
    consumer.open()
    try:
        consumer.apply([line.writer.delivery(id, 1, named("secret")) for id in ("1", "2")])
        assert "still has the record" in consumer.erase("1").left
        consumer.apply([line.writer.delivery("1", 2, named("secret too")), line.writer.delivery("3", 1, None)])
        consumer.apply([line.writer.delivery("1", 3, None)])
        assert "has 2 older states of it, which compaction takes by 20" in consumer.erase("1").left
        assert consumer.erase("3") == Erased(0)
    finally:
        consumer.close()


def test_text_that_utf8_cant_hold_is_refused_alone(make_topic_line: MakeTopicLine) -> None:
    line = make_topic_line()
    consumer = line.consumer()
    consumer.open()
    try:
        halved = line.writer.delivery("1", 1, named("half"))
        values = consumer._columns.values

        def broken(one: Delivery) -> dict[str, Wire]:
            """As a rule may make it."""
            return {**values(one), "name": "\ud83d"} if one == halved else values(one)

        consumer._columns.values = broken  # type: ignore[method-assign]
        (refused,) = consumer.apply([halved, line.writer.delivery("2", 1, named("whole"))])
    finally:
        consumer.close()
    assert (refused.place, refused.error.field) == (0, "name")
    assert "half of a character" in str(refused.error)
    assert [id for id, _ in line.written()] == ["2"]


def test_a_schema_that_readers_couldnt_read_stops_the_flow_in_words(make_topic_line: MakeTopicLine) -> None:
    line = make_topic_line(encoding="avro", format="flat")
    older = '{"type": "record", "name": "Value", "fields": [{"name": "note", "type": "long"}]}'
    registry = open_registry(line.settings)
    assert registry is not None
    subject = f"{line.out}-value"
    registry.register(subject, older)
    registry.set_level(subject, "BACKWARD")
    consumer = line.consumer()
    with pytest.raises(SchemaError, match=r"Write another `topic:`") as told:
        consumer.open()
    consumer.close()
    assert subject in str(told.value)


@pytest.mark.parametrize("encoding", ["connect-json", "avro"])
def test_what_was_written_before_a_field_came_is_no_difference(make_topic_line: MakeTopicLine, encoding: str) -> None:
    line = make_topic_line(encoding=encoding)
    flow = line.flow
    fields = json.loads(flow.schema.text)["fields"]
    kept = [one for one in fields if one["name"] in ("name", "lines")]
    assert len(kept) < len(fields)
    fewer = replace(flow, schema=parse_schema({**flow.schema.json, "fields": kept}))
    deliveries = [line.writer.delivery(id, 1, named("one")) for id in ("1", "2")]
    earlier = KafkaConsumer(fewer)
    earlier.open()
    try:
        assert earlier.apply(deliveries) == []
    finally:
        earlier.close()
    now = line.consumer()
    now.begin_dry_run(DryRunReads())
    changed = line.writer.delivery("3", 1, named("three"))
    assert [one.action for one in now.preview_all([*deliveries, changed])] == ["nothing", "nothing", "create"]
    assert sorted(now.listed_links()) == ["1", "2"]


@pytest.mark.parametrize("count", [1, 3])
def test_a_clock_that_is_wrong_is_no_fault_of_the_records(
    make_topic_line: MakeTopicLine, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Kafka 4 takes no message that is an hour ahead of its own clock (message.timestamp.after.max.ms)."""
    ahead = [7200.0]

    class Ahead:
        def __init__(self, real: Producer) -> None:
            self._real = real

        def produce(self, *message: object, **more: object) -> None:
            self._real.produce(*message, **more, timestamp=int(1000 * (time.time() + ahead[0])))  # type: ignore[arg-type]

        def __getattr__(self, name: str) -> object:
            return getattr(self._real, name)

    real = topic_writer.idempotent_producer
    monkeypatch.setattr(topic_writer, "idempotent_producer", lambda *given: Ahead(real(*given)))
    line = make_topic_line()
    with line.consuming(make=line.consumer) as running:
        line.publish([(str(number), 1, named("one")) for number in range(count)])
        eventually(lambda: "this machine's clock" in (running.health.waiting() or ""), "what is wrong")
        ahead[0] = 0.0
        eventually(lambda: len(line.written()) == count, "all messages, once the clock is right")
    assert line.letters() == []


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"cleanup.policy": "compact"}, ""),
        ({"cleanup.policy": "delete", "retention.ms": "-1"}, ""),
        ({"cleanup.policy": "delete", "retention.ms": "604800000"}, "removes messages after 7 days"),
        ({"cleanup.policy": "compact,delete", "retention.ms": "5400000"}, "removes messages after 1.5 hours"),
        (
            {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "5000"},
            "removes messages beyond 5,000 bytes of a partition",
        ),
    ],
)
def test_a_topic_that_loses_records_is_told_of_by_plan_and_by_its_flow(
    make_topic_line: MakeTopicLine, caplog: pytest.LogCaptureFixture, config: dict[str, str], words: str
) -> None:
    line = make_topic_line()
    client, consumer = admin(line.settings), line.consumer()
    delete_topic(client, line.out)
    eventually(lambda: not topic_ids(client, [line.out]), "the topic to be gone")
    assert KafkaConsumer.target_warnings(line.flow) == [], "a topic that isn't there will be made as it should be"
    make_topics(client, NewTopic(line.out, 1, 1, config=config))
    eventually(lambda: line.out in client.list_topics(timeout=10).topics, "the topic to be there")
    told = KafkaConsumer.target_warnings(line.flow)
    try:
        consumer.open()
    finally:
        consumer.close()
    logged = [record.getMessage() for record in caplog.records if "loses records" in record.getMessage()]
    assert logged == told
    assert len(told) == bool(words)
    assert not words or words in told[0]
