"""Events that a topic lost before a flow read them: told and stopped, or read from the beginning; never skipped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from sorbus.bus import committed as committed_offsets
from sorbus.bus.kafka import admin, all_partitions, base_config, read_to_end, topic_reader
from sorbus.bus.read_times import ReadTime
from sorbus.bus.topic_settings import settings_of
from sorbus.consumers import group_member, read_positions
from sorbus.errors import LostPosition
from sorbus.history.read import LastDelivery
from sorbus.map.load import load_map
from sorbus.ops.runtime.topics import plan_topics, topics_of
from tests.consumers.gadgets import gadget
from tests.consumers.line import FLOW, MAP, Line, Running, down, eventually
from tests.topics import delete_messages, delete_topic, set_topic

REREAD = MAP.replace("    timing: {timing}\n", "    timing: {timing}\n    on_lost_events: reread\n")


def gadgets(ids: range, version: int) -> list[tuple[str, int, dict[str, object]]]:
    return [(str(id), version, gadget(f"v{version}", lines=[])) for id in ids]


def delivered(line: Line, ids: range, version: int) -> None:
    """A consumer that has delivered everything, stopped with its offsets committed."""
    line.publish(gadgets(ids, version))
    with line.consuming():
        eventually(lambda: set(line.rows()) == {str(id) for id in ids}, "the first events")


def commit(line: Line, change: Callable[[int, dict[str, object]], int]) -> None:
    """Changes what the flow's group has committed."""
    consumer = Consumer({**base_config(line.settings, "test"), "group.id": line.names.group(FLOW)})
    try:
        parts = consumer.committed([TopicPartition(line.topic, part) for part in (0, 1)], timeout=20)
        changed = []
        for part in parts:
            metadata = json.loads(part.metadata or "{}")
            offset = change(part.offset or 0, metadata)
            changed.append(TopicPartition(part.topic, part.partition, offset, json.dumps(metadata)))
        consumer.commit(offsets=changed, asynchronous=False)
    finally:
        consumer.close()


def commit_each_batch(patch: pytest.MonkeyPatch) -> None:
    """Whatever else comes, what has landed is committed at once."""
    patch.setattr("sorbus.consumers.group_member._COMMIT_EVERY", 0.0)
    patch.setattr("sorbus.consumers.target_progress._SHARE", 1e9)


def a_day_ago(offset: int, metadata: dict[str, object]) -> int:
    """For `commit`: as if committed then."""
    metadata["at"] = time.time() - 86_400
    return offset


def committed(line: Line) -> dict[int, tuple[int, float]]:
    """Partition -> the offset that the flow's group has committed, and when."""
    consumer = Consumer({**base_config(line.settings, "test"), "group.id": line.names.group(FLOW)})
    try:
        parts = consumer.committed([TopicPartition(line.topic, part) for part in (0, 1)], timeout=20)
        return {part.partition: (part.offset or 0, json.loads(part.metadata or "{}").get("at", 0)) for part in parts}
    finally:
        consumer.close()


def stopped(line: Line, after: Callable[[], None] = lambda: None) -> LostPosition:
    """Why the loop ended by itself."""
    with line.consuming() as running:
        after()
        running.thread.join(40)
        assert not running.thread.is_alive(), "it goes on, as if nothing were lost"
        error, running.error = running.error, None
    assert isinstance(error, LostPosition), error
    return error


def lose_unread(line: Line) -> None:
    line.publish(gadgets(range(20), 2))
    delete_messages(line.settings, line.topic)


def another_topic(line: Line) -> None:
    def change(offset: int, metadata: dict[str, object]) -> int:
        metadata["topic"] = "AAAAAAAAAAAAAAAAAAAAAA"
        return offset

    commit(line, change)


def beyond_the_end(line: Line) -> None:
    commit(line, lambda offset, _: offset + 1000)


def away_for_long(line: Line) -> None:
    line.publish(gadgets(range(20), 2))
    set_topic(line.settings, line.topic, delete_retention_ms="3600000")

    def change(offset: int, metadata: dict[str, object]) -> int:
        metadata["at"] = int(time.time()) - 7200
        return offset

    commit(line, change)


LOSSES = {
    "removed before read": (lose_unread, "were removed before they were read"),
    "another topic of that name": (another_topic, "deleted and recreated"),
    "beyond the end": (beyond_the_end, "ends at offset"),
    "deletes compacted away": (away_for_long, "some may be lost"),
}


@pytest.mark.parametrize(("lose", "words"), LOSSES.values(), ids=LOSSES)
def test_what_a_topic_lost_stops_the_flow_or_is_read_again_as_the_map_says(
    line: Line, lose: Callable[[Line], None], words: str
) -> None:
    delivered(line, range(20), 1)
    lose(line)
    error = stopped(line)
    assert words in str(error)
    assert "on_lost_events: reread" in str(error)
    reread(line)
    line.publish(gadgets(range(20), 3))  # as the owner's producer does
    with line.consuming():
        eventually(lambda: set(line.rows().values()) == {"v3"}, "the new states")


def reread(line: Line) -> None:
    """A person writes it into the map."""
    prefix = line.names.prefix.removesuffix(".")
    line.write_map(REREAD.format(prefix=prefix, timing="real-time"), prefix)
    line.loaded = load_map(line.folder / "map.yaml")
    line.flow = line.loaded.flow(FLOW)


def test_what_was_read_may_be_removed(line: Line) -> None:
    delivered(line, range(20), 1)
    delete_messages(line.settings, line.topic)
    with line.consuming():
        line.publish(gadgets(range(20), 2))
        eventually(lambda: set(line.rows().values()) == {"v2"}, "what came after")


def test_a_topic_that_is_made_again_while_it_is_read_stops_the_flow(line: Line) -> None:
    line.publish(gadgets(range(20), 1))

    def remake() -> None:
        eventually(lambda: len(line.rows()) == 20, "the first events")
        make_again(line)

    error = stopped(line, remake)
    assert "made again" in str(error) or "were removed" in str(error)


def test_a_loss_is_told_while_a_record_waits_for_others_to_show_whose_fault_it_is(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target is broken all the while, so that only the look between two tries can tell."""
    monkeypatch.setattr("sorbus.consumers.read_positions._COMPARE_EVERY", 0.2)
    line.execute("create function broken() returns trigger language plpgsql as 'begin perform 1 from absent; end'")
    line.execute("create trigger broken before insert on gadgets for each row execute function broken()")
    with line.consuming() as running:
        line.publish(gadgets(range(1), 1))
        eventually(lambda: "the only record so far" in (running.health.waiting() or ""), "a record that waits")
        make_again(line)
        running.thread.join(40)
        assert not running.thread.is_alive(), "it waits for the target, and says nothing of the lost events"
        error, running.error = running.error, None
    assert isinstance(error, LostPosition), error


def make_again(line: Line) -> None:
    """The topic is deleted and made again, with events at the offsets that the flow reads next."""
    client = admin(line.settings)
    delete_topic(client, line.topic)
    eventually(lambda: line.topic not in client.list_topics(timeout=10).topics, "the topic's end")
    for step in plan_topics(client, topics_of(line.loaded.map)):
        assert step.apply is not None
        step.apply()
    line.publish(gadgets(range(40), 2))


def test_a_batch_in_hand_while_its_target_is_away_for_hours_stays_uncommitted(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when an idle group's offsets are committed again, which was an hour after the last time."""
    with line.consuming() as running, in_hand(line, running):
        monkeypatch.setattr(read_positions, "_STAMP_EVERY", 0.0)
        running.stop()
    with line.consuming():
        line.until({str(id): "v2" for id in range(3)})


@contextmanager
def in_hand(line: Line, running: Running) -> Iterator[None]:
    """While the block lasts the target is away, and three gadgets of version 2 wait for it."""
    line.publish(gadgets(range(3), 1))
    line.until({str(id): "v1" for id in range(3)})
    with down(line):
        line.publish(gadgets(range(3), 2))
        eventually(running.health.waiting, "the target's absence")
        yield


class Later:
    """Clocks that can be set forward, as by waiting."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def time(self) -> float:
        return time.time() + self.seconds

    def monotonic(self) -> float:
        return time.monotonic() + self.seconds


GATE = """
create function gate() returns trigger language plpgsql as
    'begin perform pg_advisory_xact_lock(new.id::int); return new; end';
create trigger gate before insert on gadgets for each row execute function gate()
"""


@pytest.mark.parametrize("where", ["while it runs", "when it starts", "when its offsets are gone"])
def test_a_flow_that_delivers_all_the_time_but_weeks_behind_is_told_of_deletes_that_are_forgotten(
    line: Line, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """It commits every 20 days, and what it is to read next is older than deletes are kept."""
    later, notes = Later(), list[float]()
    for module in (read_positions, committed_offsets):
        monkeypatch.setattr(module, "time", later)
    commit_each_batch(monkeypatch)
    monkeypatch.setattr(ReadTime, "note", lambda _, until: notes.append(until))
    monkeypatch.setattr(ReadTime, "last", lambda _: notes[-1] if notes else None)
    line.execute(GATE)
    with psycopg.connect(line.dsn, autocommit=True) as gate:
        gate.execute("select pg_advisory_lock(1), pg_advisory_lock(2)")
        with line.consuming(batch=1) as running:
            for id in "0123":
                line.write(id, *line.writer.event(id, 1, gadget("v1", lines=[])), partition=0)
            line.flush()
            for days, id in ((20, "1"), (29, "2")):
                eventually(lambda: committed(line)[0][0] >= int(id), f"gadgets before {id}")  # noqa: B023 - at once
                later.seconds = 86_400.0 * days
                if id == "1":
                    gate.execute("select pg_advisory_unlock(1)")
            if where == "while it runs":
                later.seconds = 86_400.0 * 40
                gate.execute("select pg_advisory_unlock(2)")
                running.thread.join(40)
                assert not running.thread.is_alive(), "it goes on, though deletes may be lost"
                error, running.error = running.error, None
                assert isinstance(error, LostPosition)
                return
            running.stop()
    later.seconds = 86_400.0 * 40
    if where == "when its offsets are gone":
        client, group = admin(line.settings), line.names.group(FLOW)
        eventually(lambda: forgotten(client, group), "a group without members")
    assert "in the last 40.0 days and was not read" in str(stopped(line))


@pytest.mark.parametrize("unread", [False, True])
def test_a_flow_that_waits_for_longer_than_deletes_are_kept_is_told_of_them_while_it_runs(
    line: Line, monkeypatch: pytest.MonkeyPatch, *, unread: bool
) -> None:
    """Its target was away, or it was paused, for a month."""
    later = Later()
    for module in (read_positions, committed_offsets):
        monkeypatch.setattr(module, "time", later)
    with line.consuming() as running:
        with in_hand(line, running):
            later.seconds = 31 * 86_400.0
            if unread:
                line.publish([("0", 3, None)])
        if not unread:
            moment = time.time() + 30 * 86_400
            eventually(lambda: all(at > moment for _, at in committed(line).values()), "new commits")
            line.publish(gadgets(range(3), 3))
            line.until({str(id): "v3" for id in range(3)})
            return
        running.thread.join(40)
        assert not running.thread.is_alive(), "it goes on, though deletes may be lost"
        error, running.error = running.error, None
    assert "in the last 31.0 days and was not read" in str(error)


def test_an_idle_groups_offsets_are_committed_again_only_where_nothing_waits(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits may lose its deletes to compaction: since when is known by the last commit."""
    delivered(line, range(9), 1)
    commit(line, a_day_ago)
    before = committed(line)
    with line.consuming():
        monkeypatch.setattr(read_positions, "_STAMP_EVERY", 0.0)
        eventually(lambda: all(at > before[part][1] for part, (_, at) in committed(line).items()), "newer commits")
    assert {part: offset for part, (offset, _) in committed(line).items()} == {
        part: offset for part, (offset, _) in before.items()
    }
    monkeypatch.undo()
    commit_each_batch(monkeypatch)
    with line.consuming() as running, down(line):
        eventually(running.health.waiting, "the target's absence")
        commit_at = committed(line)
        line.publish(gadgets(range(9), 2))
        monkeypatch.setattr(read_positions, "_STAMP_EVERY", 0.0)
        running.stop()
    assert committed(line) == commit_at


@pytest.mark.parametrize("waits", [False, True])
def test_a_flow_has_not_read_while_anything_waits_in_one_of_its_partitions(
    line: Line, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    """Else nobody would know, once Kafka has forgotten its offsets, for how long it has read no deletes there."""
    delivered(line, range(9), 1)
    notes: list[float] = []
    monkeypatch.setattr(ReadTime, "note", lambda _, until: notes.append(until))
    with line.consuming() as running, down(line):
        eventually(running.health.waiting, "the target's absence")
        before = committed(line)
        if waits:
            [event] = gadgets(range(1), 2)
            line.write("0", *line.writer.event(*event), partition=0)
            line.flush()
        monkeypatch.setattr(read_positions, "_STAMP_EVERY", 0.0)
        for _ in range(3):  # the first may have been made before the event was fetched
            notes.clear()
            eventually(lambda before=before: committed(line)[1] != before[1], "newer commits")
            before = committed(line)
        running.stop()
    assert bool(notes) is not waits


@pytest.mark.parametrize("hours", [1, 3])
def test_offsets_that_kafka_has_forgotten_are_no_new_flow(line: Line, hours: int) -> None:
    """Read from the beginning where the topic holds all deletes since; stopped where it doesn't."""
    set_topic(line.settings, line.topic, delete_retention_ms="7200000")
    line.publish(gadgets(range(9), 1))
    with line.process() as process:
        line.until({str(id): "v1" for id in range(9)})
        read_time = ReadTime(line.settings, line.names, FLOW)
        eventually(lambda: read_time.last() is not None, f"when it was read last:\n{process.told}")
    producer = Producer(base_config(line.settings, "test"))
    producer.produce(line.names.controls, json.dumps({"at": time.time() - 3600 * hours}), f"read by {FLOW}")
    assert producer.flush(20) == 0
    client, group = admin(line.settings), line.names.group(FLOW)
    eventually(lambda: forgotten(client, group), "a group without members")
    line.publish([*gadgets(range(8), 2), ("8", 2, None)])
    if hours == 1:
        with line.consuming():
            line.until({str(id): "v2" for id in range(8)})
    else:
        assert "in the last 0.1 days and was not read" in str(stopped(line))


def test_a_flow_that_kafka_knows_nothing_of_has_lost_what_it_had_not_read(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka was emptied; that it has delivered before is known by the history."""
    line.publish(gadgets(range(9), 1))
    monkeypatch.setattr(read_positions, "last_delivery", lambda *_: LastDelivery(1_699_999_940.0, 1_700_000_000.0))
    assert "Kafka knows nothing of this flow, which delivered until 2023-11-14" in str(stopped(line))
    reread(line)
    with line.consuming():
        line.until({str(id): "v1" for id in range(9)})


def test_a_flow_that_ended_before_its_first_offset_was_committed_begins_again(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The history says that it has delivered; the topic still holds what it read then, so nothing was lost."""
    line.publish(gadgets(range(9), 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_member.GroupMember, "commit", lambda *_, **__: None)
        with line.consuming():
            line.until({str(id): "v1" for id in range(9)})
    assert {offset for offset, _ in committed(line).values()} == {OFFSET_INVALID}
    now = time.time()
    monkeypatch.setattr(read_positions, "last_delivery", lambda *_: LastDelivery(now, now + 60))
    line.publish(gadgets(range(9), 2))
    with line.consuming():
        line.until({str(id): "v2" for id in range(9)})


def test_when_a_flow_read_last_is_kept_where_nothing_is_deleted_by_time(line: Line) -> None:
    """A topic that keeps messages for a week has forgotten it when a flow comes back after a month."""
    with line.process() as process:
        read_time = ReadTime(line.settings, line.names, FLOW)
        line.publish(gadgets(range(1), 1))
        eventually(lambda: read_time.last() is not None, f"when it was read last:\n{process.told}")
    reader, noted = topic_reader(line.settings, "test"), set[str | None]()
    for topic in (line.names.status, line.names.controls):
        messages = list(read_to_end(reader, all_partitions(reader, topic)))
        noted |= {one.topic() for one in messages if one.key() == f"read by {FLOW}".encode()}
    reader.close()
    assert {topic: settings_of(admin(line.settings), [topic])[topic]["cleanup.policy"] for topic in noted if topic} == {
        line.names.controls: "compact"
    }


def forgotten(client: AdminClient, group: str) -> bool:
    """Deletes the group, as Kafka does some time after its last member has left."""
    try:
        client.delete_consumer_groups([group])[group].result(20)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.NON_EMPTY_GROUP:
            raise
        return False
    return True


@pytest.mark.parametrize("said", [None, b"", b"soon", b"[]", b'{"at": null}'])
def test_what_cannot_be_read_of_when_a_flow_read_last_stops_no_flow(line: Line, said: bytes | None) -> None:
    producer = Producer(base_config(line.settings, "test"))
    producer.produce(line.names.controls, said, f"read by {FLOW}")
    assert producer.flush(20) == 0
    assert ReadTime(line.settings, line.names, FLOW).last() is None
