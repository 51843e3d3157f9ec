"""Letters at the limit of what Kafka takes in one message: they hold up no flow, and nothing beside them is lost."""

from __future__ import annotations

import os

import pytest

from sorbus.bus.kafka import MAX_MESSAGE_BYTES, idempotent_producer
from sorbus.dlq.service import DeadLetterService
from sorbus.dlq.store import LetterFilter
from sorbus.state.database import State
from tests.consumers.line import RESTRICTED, Line, eventually, named
from tests.dlq.post import Post
from tests.dlq.test_many_letters import MEGABYTES, run
from tests.topics import set_topic

LONG = "a name that is too long for it"


@pytest.fixture
def service(line: Line, state: State) -> DeadLetterService:
    return DeadLetterService(line.loaded, line.settings, state)


def publish(line: Line, name: str) -> None:
    """An event that is larger than the line's own producer sends."""
    producer = idempotent_producer(line.settings, "large")
    value, headers = line.writer.event("g1", 1, named(name))
    producer.produce(line.topic, value, b"g1", headers=list(headers))
    assert producer.flush(30) == 0


def test_a_refused_record_as_large_as_kafka_takes_is_a_letter_and_lands(line: Line, service: DeadLetterService) -> None:
    line.execute(RESTRICTED)
    publish(line, "x" * (MAX_MESSAGE_BYTES - 1000))
    with line.consuming():
        line.publish([("g2", 1, named("short"))])
        line.until({"g2": "short"})
        line.until_letters(1)
        line.execute("alter table gadgets drop constraint short_name")
        service.requeue(LetterFilter(), "Ada")
        eventually(lambda: not line.letters(), "the letter's end")
    assert line.rows().keys() == {"g1", "g2"}


def test_a_letter_that_its_topic_does_not_take_is_written_without_its_record(
    line: Line, post: Post, service: DeadLetterService
) -> None:
    set_topic(line.settings, post.topic, max_message_bytes="1000000")
    line.execute(RESTRICTED)
    publish(line, os.urandom(1_000_000).hex())
    with line.consuming():
        line.publish([("g2", 1, named("short")), ("g3", 1, named(LONG))])
        letters = {letter.record_id: letter.message for letter in line.until_letters(2)}
        assert "without the record" in letters[b"g1"]
        assert "without the record" not in letters[b"g3"]
        line.execute("alter table gadgets drop constraint short_name")
        service.requeue(LetterFilter(), "Ada")
        line.until({"g2": "short", "g3": LONG})
        eventually(lambda: [letter.attempts for letter in line.letters()] == [2], "the one without a record")
        line.publish([("g1", 2, named("corrected"))])
        line.until({"g1": "corrected", "g2": "short", "g3": LONG})
        eventually(lambda: not line.letters(), "the letter's end")


def test_pages_of_large_letters_are_short_and_miss_none(
    post: Post, service: DeadLetterService, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = [
        post.letter(number, record=named("x" * size)) for number, size in enumerate([10, 5000, 10, 10, 9000, 10])
    ]
    post.write(letters)
    monkeypatch.setattr("sorbus.dlq.store.PAGE_BYTES", 4000)
    service.index.catch_up()
    pages, after = list[list[str]](), None
    while page := service.letters.page(LetterFilter(), after, 100):
        pages.append([letter.record for letter in page])
        after = page[-1].spot
    assert pages == [["g0", "g1"], ["g2", "g3", "g4"], ["g5"]]
    assert len(service.letters.page(LetterFilter(), None, 1)) == 1
    assert service.requeue(LetterFilter(), "Ada").ids == tuple(letter.id for letter in letters)


@pytest.mark.slow
def test_many_large_letters_take_little_memory(line: Line, post: Post) -> None:
    names = (os.urandom(430_000).hex() for _ in range(300))
    for number, name in enumerate(names):
        post.write([post.letter(number, record=named(name))])
    for command in (["groups"], ["list", "--most", "1000"], ["requeue", "--all", "--yes"]):
        assert run(line, "dlq", *command).megabytes < MEGABYTES, command
