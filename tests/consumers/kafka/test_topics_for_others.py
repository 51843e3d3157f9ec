"""What the real loop writes to a topic for others: deletes, known states, and records that can't be written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sorbus.event import HISTORICAL
from sorbus.ops.embedded import Addresses
from tests.conformance.test_kafka import messages
from tests.consumers.kafka.topic_line import TopicLine
from tests.consumers.line import eventually, named

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
