"""Topics that aren't there, recreated, or cut short: said in words, whoever runs."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer

from sorbus.bus.committed import CommittedPosition
from sorbus.bus.kafka import admin, base_config
from sorbus.bus.positions import position_message
from sorbus.bus.topic_facts import TopicFacts, topic_facts
from sorbus.bus.topic_ownership import TOPICS_KEY, Owned
from sorbus.ops.monitoring.build_monitor import open_watch
from sorbus.ops.monitoring.lost_events import lost_words, soon_lost_words
from sorbus.ops.runtime.topics import plan_topics, topics_of
from tests.consumers.line import FLOW, Line, eventually, named
from tests.consumers.plugin import line, make_line
from tests.consumers.test_read_positions import a_day_ago, commit
from tests.topics import delete_topic, set_topic, until_known

__all__ = ["line", "make_line"]

TOPIC, NOW, DAY = "t.order", 1_700_000_000.0, 86_400.0
FACTS = {TOPIC: TopicFacts("new", (10, 0), (30, 5))}


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (CommittedPosition(7, "new"), "3 messages of t.order (partition 0) were removed before they were read"),
        (CommittedPosition(12, "old"), "t.order (partition 0) was deleted and recreated"),
        (CommittedPosition(31, "new"), "ends at offset 30"),
        (CommittedPosition(10, "new"), None),
        (CommittedPosition(30, ""), None),
    ],
)
def test_unread_events_that_are_gone_are_said(place: CommittedPosition, words: str | None) -> None:
    said = lost_words({"order": TOPIC}, FACTS, {"order-to-books": {(TOPIC, 0): place}})
    assert bool(said) == (words is not None)
    assert all(words in one and one.startswith("order-to-books: ") for one in said if words)


@pytest.mark.parametrize(
    ("days", "offset", "is_said"), [(23, 12, False), (25, 12, True), (29.9, 12, True), (25, 30, False), (31, 12, False)]
)
def test_a_flow_that_is_paused_and_forgotten_is_said_before_it_loses_deletes(
    days: float, offset: int, is_said: bool
) -> None:
    """Its lag alarms nobody; one that has read everything loses nothing, and what is lost already is said elsewhere."""
    place = CommittedPosition(offset, "new", NOW - days * DAY)
    said = soon_lost_words(FACTS, {"order-to-books": {(TOPIC, 0): place}}, {TOPIC: 30 * DAY}, NOW)
    assert [one.startswith("order-to-books: t.order was not read for ") for one in said] == [True] * is_said


@pytest.mark.parametrize(
    ("kept", "days", "is_said"), [(400, 366, False), (400, 395, True), (5, 3.9, False), (5, 4.1, True)]
)
def test_a_flow_that_delivers_once_a_year_is_no_finding_before_its_day(kept: int, days: float, is_said: bool) -> None:
    """Deletes are kept 30 days longer than its timing lets them wait."""
    place = CommittedPosition(12, "new", NOW - days * DAY)
    said = soon_lost_words(FACTS, {"order-to-books": {(TOPIC, 0): place}}, {TOPIC: kept * DAY}, NOW)
    assert bool(said) is is_said


def test_a_flow_that_was_away_for_longer_than_deletes_are_kept_is_said(line: Line) -> None:
    """Nothing that its target lacks is missing from the topic's offsets: compaction has removed it."""
    line.publish([(f"g{n}", 1, named("v1")) for n in range(4)])
    with line.consuming():
        eventually(lambda: len(line.rows()) == 4, "the first events")
    line.publish([(f"g{n}", 2, named("v2")) for n in range(4)])
    commit(line, a_day_ago)
    eyes = open_watch(line.loaded, line.settings, ())
    try:
        assert eyes.measure().lost == ()
        set_topic(line.settings, line.topic, delete_retention_ms="3600000")
        [said, *_] = eventually(lambda: eyes.measure().lost, "what the flow has lost")
    finally:
        eyes.close()
    assert said.startswith(f"{FLOW}: {line.topic} (partition ")
    assert "in the last 1.0 days and was not read" in said


def test_status_says_that_a_topic_is_gone_and_that_it_was_made_again(line: Line) -> None:
    line.publish([(f"g{n}", 1, named(f"v{n}")) for n in range(4)])
    with line.consuming():
        eventually(lambda: len(line.rows()) == 4, "the first events")
    client, eyes = admin(line.settings), open_watch(line.loaded, line.settings, ())
    try:
        facts = topic_facts(client, [line.topic])[line.topic]
        left = Owned(facts.id, facts.begins, 1, 1).to_json()
        topic, key, value = position_message(line.names, "crm", {TOPICS_KEY: {"gadget": left}})
        producer = Producer(base_config(line.settings, "test"))
        producer.produce(topic, value, key)
        assert producer.flush(30) == 0
        assert eyes.measure().lost == ()
        delete_topic(client, line.topic)
        eventually(lambda: line.topic not in client.list_topics(timeout=10).topics, "the topic's end")
        [gone] = eyes.measure().lost
        assert f"topic {line.topic} isn't there" in gone
        assert "sorbus apply" in gone
        told = line.sorbus("status", "--check", status=1)
        assert "isn't there" in " ".join(told.split())
        for step in plan_topics(client, topics_of(line.loaded.map)):
            assert step.apply is not None
            step.apply()
        eventually(lambda: line.topic in client.list_topics(timeout=10).topics, "the topic, recreated")
        eventually(lambda: any("recreated" in one for one in eyes.measure().lost), "that it was made again")
    finally:
        eyes.close()


def test_dead_letters_of_a_topic_that_was_made_again_are_counted(line: Line) -> None:
    """Its offsets begin again below those that were read of the former one."""
    client, eyes, topic = (
        admin(line.settings),
        open_watch(line.loaded, line.settings, ()),
        line.names.dead_letters("gadget"),
    )
    producer = Producer(base_config(line.settings, "test"))

    def file(*ids: str) -> None:
        for id in ids:
            producer.produce(topic, b"why", id.encode(), headers=[("sorbus.flow", FLOW)])
        assert producer.flush(30) == 0

    def are_counted(count: int) -> bool:
        return eyes.measure().dead_letters["gadget", FLOW] == count

    try:
        file("1", "2", "3")
        eventually(lambda: are_counted(3), "the first letters")
        delete_topic(client, topic)
        eventually(lambda: are_counted(0), "that they are gone")
        for step in plan_topics(client, topics_of(line.loaded.map)):
            assert step.apply is not None
            step.apply()
        until_known(client, topic)
        file("4")
        eventually(lambda: are_counted(1), "the new letter")
    finally:
        eyes.close()
