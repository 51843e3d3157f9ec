"""What happens to topics and to messages that shouldn't: in a real Kafka."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import replace

import pytest
import stamina
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

from sorbus.bus.topic_facts import TopicFacts, topic_facts
from sorbus.conformance.in_memory_bus import InMemoryBus
from sorbus.conformance.sample_type import NAME, sample
from sorbus.connector import BoundSource, BoundSystem, Position
from sorbus.errors import LostPosition, TransientError, Unfinished
from sorbus.mapfile.model import System
from sorbus.ops.embedded import Addresses
from sorbus.producers.debezium import discovery
from sorbus.producers.debezium.options import PLACEHOLDER
from sorbus.producers.debezium.producer import DebeziumProducer
from tests.conformance.test_debezium import TopicThings
from tests.topics import delete_topic, led_by_another, make_topics


@pytest.fixture
def source(stack: Addresses, unique: str) -> TopicThings:
    return TopicThings(stack.kafka, f"{unique}.erp.things", partitions=1)


def test_a_value_that_was_not_logged_is_never_published(tape: InMemoryBus, source: TopicThings) -> None:
    things = {"1": sample(1, note="long"), "2": sample(2)}
    source.put(things)
    source.say("1", {"op": "u", "after": {"id": "1", **blank("new"), "note": PLACEHOLDER}})
    source.put({"3": sample(3)})
    tape.until(lambda: "3" in tape.live() and "1" in tape.rejected, lambda: str(tape.rejected))
    assert tape.live()["1"]["note"] == "long"
    assert "REPLICA IDENTITY FULL" in tape.rejected["1"]
    source.put({"1": sample(4)})
    tape.until_live({"1": sample(4), "2": sample(2), "3": sample(3)})


def test_a_number_in_json_without_a_schema_is_never_guessed(tape: InMemoryBus, source: TopicThings) -> None:
    row = {"id": "1", **dict.fromkeys(("note", "count", "active", "made_on", "seen_at")), "name": "a", "amount": "1234"}
    source.send("1", json.dumps({"op": "c", "before": None, "after": row}).encode())
    source.out.flush(10)
    tape.until(lambda: "1" in tape.rejected, lambda: str(tape.live()))
    assert "base64" in tape.rejected["1"]


def test_an_emptied_table_and_what_comes_after(tape: InMemoryBus, source: TopicThings) -> None:
    source.put({"1": sample(1), "2": sample(2)})
    source.send("", json.dumps({"op": "t", "source": {"ts_ms": 1_700_000_000_000}}).encode())
    source.put({"2": sample(3)})
    tape.until_live({"2": sample(3)})


def test_a_record_from_before_its_table_was_emptied_is_not_published_again(
    tape: InMemoryBus, source: TopicThings
) -> None:
    source.put({"1": sample(1), "2": sample(2)})
    source.out.produce(source.topic, json.dumps({"op": "t", "source": {"ts_ms": 1_700_000_000_000}}).encode(), None)
    source.put({"2": sample(3)})
    tape.until_live({"2": sample(3)})
    before = len(tape.events)
    producer = tape.producer()
    assert isinstance(producer, DebeziumProducer)
    producer.resnapshot([NAME])
    tape.until(lambda: len(tape.events) > before, lambda: "it isn't published again")
    tape.until_live({"2": sample(3)})
    assert {id for id, _ in tape.events[before:]} == {"2"}


def test_a_death_while_all_is_published_again_loses_none_of_it(
    tape: InMemoryBus, source: TopicThings, monkeypatch: pytest.MonkeyPatch
) -> None:
    things = {"1": sample(1), "2": sample(2), "3": sample(3)}
    source.put(things)
    tape.until_live(things)
    monkeypatch.setattr("sorbus.producers.debezium.producer._MOST_CHANGES", 1)
    before, producer = len(tape.events), tape.producer()
    assert isinstance(producer, DebeziumProducer)
    producer.resnapshot([NAME])
    deadline = time.monotonic() + 30
    while len(tape.events) == before:
        assert time.monotonic() < deadline, "nothing is published again"
        tape.step()
    assert len(tape.events) == before + 1
    tape.crash()
    tape.until(lambda: {id for id, _ in tape.events[before:]} == things.keys(), lambda: f"only {tape.events[before:]}")


def test_where_a_topic_was_read_to_is_kept_while_it_is_not_in_the_map(tape: InMemoryBus, source: TopicThings) -> None:
    """Read from its beginning once it comes back it would lack the deletes that it has forgotten meanwhile."""
    source.put({"1": sample(1)})
    tape.until_live({"1": sample(1)})
    assert tape.position is not None
    topics = tape.position["topics"]
    assert isinstance(topics, dict)
    tape.crash()
    topics["left.the.map"] = left = {"id": "an id", "offsets": [7], "read_at": [1.5]}
    source.put({"2": sample(2)})
    tape.until_live({"1": sample(1), "2": sample(2)})
    topics = tape.position["topics"]
    assert isinstance(topics, dict)
    assert topics["left.the.map"] == left


def test_what_was_removed_after_it_was_read_ends_no_reading_again(tape: InMemoryBus, source: TopicThings) -> None:
    things = {"1": sample(1), "2": sample(2), "3": sample(3)}
    source.put(things)
    tape.until_live(things)
    source.admin.delete_records([TopicPartition(source.topic, 0, 2)])[TopicPartition(source.topic, 0)].result(30)
    before, producer = len(tape.events), tape.producer()
    assert isinstance(producer, DebeziumProducer)
    producer.resnapshot([NAME])
    tape.until(lambda: len(tape.events) > before, lambda: "nothing is published again")
    assert {id for id, _ in tape.events[before:]} == {"3"}


def test_a_delete_and_its_tombstone_are_one_event(tape: InMemoryBus, source: TopicThings) -> None:
    source.put({"1": sample(1), "2": sample(2)})
    source.remove("1")
    source.put({"3": sample(3)})
    tape.until_live({"2": sample(2), "3": sample(3)})
    assert sum(state.data is None for _, state in tape.events) == 1


def test_a_tombstone_whose_delete_was_compacted_away_is_the_delete(tape: InMemoryBus, source: TopicThings) -> None:
    """With `key:`, too, as far as the message's own key has its columns."""
    source.options = {**source.options, "key": "id"}
    source.put({"1": sample(1), "2": sample(2)})
    tape.until_live({"1": sample(1), "2": sample(2)})
    tape.crash()
    source.put({"2": sample(3)})
    source.send("1", None)
    tape.until_live({"2": sample(3)})


@pytest.mark.parametrize(
    "value", [b"nonsense", b"\0\0\0\0\1x", b"[1]", b'{"op": "u", "after": null, "source": {}}', b"\xff" * 50]
)
def test_one_bad_message_stops_no_other(tape: InMemoryBus, source: TopicThings, value: bytes) -> None:
    source.send("bad", value)
    source.out.produce(source.topic, value, None)
    source.put({"1": sample(1)})
    tape.until_live({"1": sample(1)})
    assert "bad" in tape.rejected
    assert "offset 1" in tape.rejected["no-id:0:1"]


def test_a_column_that_goes_holds_its_records(tape: InMemoryBus, source: TopicThings) -> None:
    source.mapping = [("name", "things.name", ""), ("note", "things.note", "")]
    source.put({"1": sample(1)})
    source.send("1", json.dumps({"op": "u", "after": {"id": "1", "name": "b"}, "source": {}}).encode())
    source.out.flush(10)
    tape.until(lambda: "1" in tape.rejected, lambda: str(tape.live()))
    assert "note is no longer in the messages" in tape.rejected["1"]


def test_a_column_of_the_fields_own_name_that_goes_holds_its_records(tape: InMemoryBus, source: TopicThings) -> None:
    """Also after a restart; and a record that was written before the column came is complete."""
    source.say("0", {"op": "c", "after": {"id": "0", "name": "early"}})
    source.put({"1": sample(1, note="hello")})
    tape.until(lambda: "1" in tape.live(), lambda: str(tape.rejected))
    assert not tape.rejected
    tape.crash()
    row = {"name": "new", **dict.fromkeys(("amount", "count", "active", "made_on", "seen_at"))}
    source.say("1", {"op": "u", "before": None, "after": {"id": "1", **row}})
    source.out.flush(10)
    tape.until(lambda: "1" in tape.rejected, lambda: str(tape.live()))
    assert tape.live()["1"]["note"] == "hello"
    assert "note is no longer in the messages" in tape.rejected["1"]
    producer = tape.producer()
    assert isinstance(producer, DebeziumProducer)
    before = len(tape.events)
    producer.reread(NAME, [b"0"])
    tape.until(lambda: len(tape.events) > before, lambda: str(tape.rejected))
    assert tape.live()["0"]["name"] == "early"


def test_a_mongodb_document_may_lack_what_others_have(tape: InMemoryBus, source: TopicThings) -> None:
    document = {"name": "a", "note": "b", "count": 1, "active": True}
    for id, lacks in (("1", ""), ("2", "note")):
        after = {"_id": id, **{name: value for name, value in document.items() if name != lacks}}
        source.send(id, json.dumps({"op": "c", "after": json.dumps(after), "source": {}}).encode())
    source.out.flush(10)
    tape.until(lambda: "2" in tape.live(), lambda: str(tape.rejected))
    assert tape.live()["2"]["note"] is None


@pytest.mark.parametrize("is_crashed", [False, True])
@pytest.mark.parametrize("key", [[], ["id"]])
def test_a_flattened_delete_that_is_a_tombstone_alone(
    tape: InMemoryBus, source: TopicThings, key: list[str], *, is_crashed: bool
) -> None:
    """As ExtractNewRecordState writes it with `delete.tombstone.handling.mode: tombstone`."""
    source.options = {**source.options, "key": key}
    for id in ("1", "3"):
        source.send(id, json.dumps({"id": id, **blank("a")}).encode())
    source.out.flush(10)
    tape.until(lambda: tape.live().keys() == {"1", "3"}, lambda: str(tape.rejected))
    if is_crashed:
        tape.crash()
    source.send("1", None)
    source.send("3", None)
    source.send("2", json.dumps({"id": "2", **blank("z")}).encode())
    source.out.flush(10)
    tape.until(lambda: tape.live().keys() == {"2"}, lambda: f"{tape.live()} {tape.rejected}")


def test_a_tombstone_alone_without_the_columns_of_key_is_told_of(tape: InMemoryBus, source: TopicThings) -> None:
    """After a delete it isn't, even where that was read before a restart."""
    source.options = {**source.options, "key": ["name"]}
    source.say("1", {"op": "c", "before": None, "after": {"id": "1", **blank("a")}})
    source.say("1", {"op": "d", "before": {"id": "1", **blank("a")}, "after": None})
    source.out.flush(10)
    tape.until(lambda: len(tape.events) == 2, lambda: str(tape.rejected))
    tape.crash()
    source.send("1", None)
    source.send("2", None)
    source.out.flush(10)
    tape.until(lambda: bool(tape.rejected), lambda: str(tape.live()))
    assert tape.rejected.keys() == {"no-id:0:3"}
    assert "the message's key has no name" in tape.rejected["no-id:0:3"]


def test_a_column_of_key_that_changes_makes_another_record(tape: InMemoryBus, source: TopicThings) -> None:
    """Also when all is published again."""
    source.options = {**source.options, "key": ["name"]}
    source.say("1", {"op": "c", "before": None, "after": {"id": "1", **blank("a")}})
    source.say("1", {"op": "u", "before": {"id": "1", **blank("a")}, "after": {"id": "1", **blank("b")}})
    source.say("1", {"op": "u", "before": {"id": "1"}, "after": {"id": "1", **blank("b")}})
    source.say("2", {"op": "c", "before": None, "after": {"id": "2", **blank("z")}})
    source.out.flush(10)
    tape.until(lambda: tape.live().keys() == {"b", "z"}, lambda: f"{tape.live()} {tape.rejected}")
    producer, before = tape.producer(), len(tape.events)
    assert isinstance(producer, DebeziumProducer)
    producer.resnapshot([NAME])
    tape.until(lambda: {"b", "z"} <= {id for id, _ in tape.events[before:]}, lambda: str(tape.events[before:]))
    assert tape.live().keys() == {"b", "z"}


def test_two_data_types_of_one_topic_are_both_read(source: TopicThings) -> None:
    (first,) = source.sources()
    source.put({"1": sample(1), "2": sample(2)})
    source.remove("1")
    producer = DebeziumProducer(source.system(), [first, replace(first, name="other")])
    producer.open(None)
    told: list[tuple[str, bytes, bool]] = []
    position, until = None, time.monotonic() + 20
    while len(told) < 6:
        assert time.monotonic() < until, told
        if batch := producer.read(0.5):
            told += [(one.data_type, one.id, one.data is None) for one in batch.changes]
            position = batch.position
    producer.close()
    for name in (first.name, "other"):
        assert [one[1:] for one in told if one[0] == name] == [(b"1", False), (b"2", False), (b"1", True)]
    assert position is not None
    assert position["topics"][source.topic]["offsets"] == [4]  # type: ignore[index, call-overload]


def blank(name: str) -> dict[str, object]:
    return {"name": name, **dict.fromkeys(("note", "amount", "count", "active", "made_on", "seen_at"))}


def test_messages_that_were_removed_before_they_were_read_are_a_lost_position(
    tape: InMemoryBus, source: TopicThings
) -> None:
    source.put({"1": sample(1)})
    tape.until_live({"1": sample(1)})
    tape.crash()
    source.put({"2": sample(2), "3": sample(3)})
    source.admin.delete_records([TopicPartition(source.topic, 0, 2)])[TopicPartition(source.topic, 0)].result(30)
    with pytest.raises(LostPosition, match="were removed before they were read"):
        tape.producer()


def test_a_topic_that_was_cut_off_and_filled_up_since_is_a_lost_position(
    tape: InMemoryBus, source: TopicThings
) -> None:
    source.put({"1": sample(1)})
    tape.until_live({"1": sample(1)})
    tape.crash()
    tape.producer()
    tape.crash()
    tape.position = led_by_another(tape.position)
    with pytest.raises(LostPosition, match="was cut off behind what was read last"):
        tape.producer()


def test_deletes_that_the_topic_has_forgotten_meanwhile_are_a_lost_position(
    tape: InMemoryBus, source: TopicThings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sorbus.producers.debezium.producer._STAMP_EVERY", 0.0)
    settings = {"cleanup.policy": "compact", "delete.retention.ms": "0"}
    changes = [ConfigEntry(*one, incremental_operation=AlterConfigOpType.SET) for one in settings.items()]
    resource = ConfigResource("topic", source.topic, incremental_configs=changes)
    source.admin.incremental_alter_configs([resource])[resource].result(30)
    source.put({"1": sample(1)})
    tape.until_live({"1": sample(1)})
    tape.until(lambda: tape.producer().read(0.1) is not None, lambda: "the position of a quiet topic isn't stored")
    tape.crash()
    tape.producer()  # nothing has come, so that nothing can be missing
    tape.crash()
    source.put({"2": sample(2)})
    with pytest.raises(LostPosition, match="keeps deletes for"):
        tape.producer()


@pytest.mark.parametrize("on_lost_slot", ["stop", "resnapshot"])
def test_a_topic_that_was_made_again_is_another(
    tape: InMemoryBus, source: TopicThings, monkeypatch: pytest.MonkeyPatch, on_lost_slot: str
) -> None:
    source.put({"1": sample(1)})
    tape.until_live({"1": sample(1)})
    tape.crash()
    delete_topic(source.admin, source.topic)
    for attempt in stamina.retry_context(on=Exception, timeout=30):
        with attempt:
            make_topics(source.admin, NewTopic(source.topic, 1, 1))
    source.put({"1": sample(2), "2": sample(3)})
    bound = source.system()
    changed = System(kind="debezium", owner="Sales", on_lost_slot=on_lost_slot)
    monkeypatch.setattr(source, "producer", lambda: _producer(source, bound, changed))
    if on_lost_slot == "stop":
        with pytest.raises(LostPosition, match="deleted and recreated"):
            open_patiently(tape)
    else:
        open_patiently(tape)
        tape.until_live({"1": sample(2), "2": sample(3)})


def open_patiently(tape: InMemoryBus) -> None:
    for attempt in stamina.retry_context(on=TransientError, timeout=20):  # until its partition has a leader
        with attempt:
            tape.producer()


def _producer(source: TopicThings, bound: BoundSystem, changed: System) -> DebeziumProducer:
    return DebeziumProducer(replace(bound, system=changed), source.sources())


def test_discovery_lists_topics_of_changes(source: TopicThings) -> None:
    source.put({"1": sample(1)})
    found = {one.name: one for one in DebeziumProducer.discover(source.system())}
    fields = {field.name: field.kind for field in found[source.topic].fields}
    assert fields["amount"] == "decimal"
    assert fields["seen_at"] == "timestamp"
    assert found[source.topic].key == ("id",)


def test_discovery_leaves_out_a_topic_that_goes_meanwhile(
    source: TopicThings, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.put({"1": sample(1)})
    gone = f"{unique}.gone"
    make_topics(source.admin, NewTopic(gone, 1, 1))

    def facts(admin: AdminClient, topics: Iterable[str]) -> dict[str, TopicFacts]:
        found = topic_facts(admin, [source.topic])
        delete_topic(source.admin, gone)
        return {**found, gone: TopicFacts("gone", (0,), (1,))}

    monkeypatch.setattr(discovery, "topic_facts", facts)
    monkeypatch.setattr(discovery, "_LONGEST", 2.0)
    assert [one.name for one in DebeziumProducer.discover(source.system())] == [source.topic]


@pytest.mark.parametrize("stays", [False, True], ids=["renamed", "added"])
def test_a_data_type_that_joins_a_topic_gets_what_was_read_of_it_before(source: TopicThings, *, stays: bool) -> None:
    (first,) = source.sources()
    other = replace(first, name="other")
    source.put({"1": sample(1), "2": sample(2)})
    told, position = _told(source, [first], None, 2)
    source.put({"3": sample(3)})
    told, position = _told(source, [first, other] if stays else [other], position, 3 + stays)
    assert {id for name, id in told if name == "other"} == {b"1", b"2", b"3"}
    assert [id for name, id in told if name == first.name] == [b"3"] * stays
    told, position = _told(source, [first], position, 0)  # it leaves, and comes back
    source.put({"4": sample(4)})
    told, position = _told(source, [first], position, 1)
    told, position = _told(source, [first, other], position, 4)
    assert {id for name, id in told if name == "other"} == {b"1", b"2", b"3", b"4"}


def _told(
    source: TopicThings, sources: list[BoundSource], position: Position | None, count: int
) -> tuple[list[tuple[str, bytes]], Position | None]:
    """So many changes of a new producer, and the position after them."""
    producer = DebeziumProducer(source.system(), sources)
    producer.open(position)
    told: list[tuple[str, bytes]] = []
    until = time.monotonic() + 20
    while len(told) < count:
        assert time.monotonic() < until, told
        try:
            batch = producer.read(0.5)
        except Unfinished:
            continue
        if batch is not None:
            told += [(one.data_type, one.id) for one in batch.changes]
            position = batch.position
    producer.close()
    return told, position


def test_another_mapping_publishes_every_record_again(tape: InMemoryBus, source: TopicThings) -> None:
    source.put({"1": sample(1), "2": sample(2)})
    tape.until_live({"1": sample(1), "2": sample(2)})
    tape.crash()
    source.mapping = [("name", "things.name", "value | upper")]
    wanted = {id: str(sample(int(id))["name"]).upper() for id in ("1", "2")}
    tape.until(lambda: {id: one["name"] for id, one in tape.live().items()} == wanted, lambda: str(tape.live()))
    tape.crash()
    events = len(tape.events)
    source.put({"3": sample(3)})
    tape.until(lambda: "3" in tape.live(), lambda: str(tape.live()))
    assert len(tape.events) == events + 1, "only once"


@pytest.mark.parametrize("dies", [False, True])
def test_another_key_never_leaves_each_record_there_twice(
    tape: InMemoryBus, source: TopicThings, monkeypatch: pytest.MonkeyPatch, *, dies: bool
) -> None:
    things = {"1": {**sample(1), "name": "one"}, "2": {**sample(2), "name": "two"}}
    source.put(things)
    tape.until_live(things)
    tape.crash()
    source.options = {**source.options, "key": "name"}
    with pytest.raises(LostPosition, match=r"were published by the messages' own key.*By the key name each"):
        tape.producer()
    changed, bound = System(kind="debezium", owner="Sales", on_lost_slot="resnapshot"), source.system()
    monkeypatch.setattr(source, "producer", lambda: _producer(source, bound, changed))
    if dies:
        monkeypatch.setattr("sorbus.producers.debezium.producer._MOST_CHANGES", 1)
        until = time.monotonic() + 30
        while len(tape.live()) < 3:
            assert time.monotonic() < until, str(tape.live())
            tape.step()
        tape.crash()
    tape.until(lambda: tape.live().keys() == {"one", "two"}, lambda: str(tape.live()))
    tape.crash()
    events = len(tape.events)
    source.put({"3": {**sample(3), "name": "three"}})
    tape.until(lambda: tape.live().keys() == {"one", "two", "three"}, lambda: str(tape.live()))
    assert len(tape.events) == events + 1, "only once"
