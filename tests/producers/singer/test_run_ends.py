"""How a run ends that brought less than was asked for, and that it is said."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sorbus.conformance.in_memory_bus import InMemoryBus
from sorbus.errors import LostPosition
from sorbus.producers.singer.options import SingerConnection
from sorbus.producers.singer.producer import SingerProducer
from tests.producers.singer.told import ToldThings, fault, names, record, runs, schema, state, until_names


def problem(tape: InMemoryBus) -> str | None:
    producer = tape.producer()
    assert isinstance(producer, SingerProducer)
    return producer.problem


def test_a_tap_that_brings_nothing_is_run_when_it_is_due_and_told_of(
    tape: InMemoryBus, source: ToldThings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many leave out a stream that they have no right to read."""
    monkeypatch.setattr(SingerConnection, "seconds", 60.0)
    source.say(state(1))
    tape.until(lambda: "without a word about things" in (problem(tape) or ""), lambda: str(problem(tape)))
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        tape.step()
    assert len(source.started_with()) == 1


def test_a_stream_that_is_left_out_later_is_told_of_until_it_is_back(tape: InMemoryBus, source: ToldThings) -> None:
    source.say(schema(), record(1), state(1))
    until_names(tape, **{"1": "a"})
    assert problem(tape) is None
    source.say(state(2))
    tape.until(lambda: "things" in (problem(tape) or ""), lambda: "nobody is told")
    source.say(schema(), state(3))
    tape.until(lambda: problem(tape) is None, lambda: str(problem(tape)))


def test_a_stream_that_is_left_out_makes_no_deletes_of_another_wait(
    tape: InMemoryBus, source: ToldThings, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.options = {**source.options, "replication": "FULL_TABLE", "removed_records": "delete", "max_deletes": 10}
    (first,) = source.sources()
    other = replace(first, name="other", options=first.options.model_copy(update={"stream": "others"}))
    monkeypatch.setattr(source, "sources", lambda: [first, other])
    source.say(schema(), record(1), record(2), state(1))
    tape.until(lambda: names(tape).keys() == {"1", "2"} and problem(tape) is not None, lambda: str(names(tape)))
    monkeypatch.setattr(SingerConnection, "seconds", 60.0)
    source.say(schema(), record(1), state(2))
    producer = tape.producer()
    assert isinstance(producer, SingerProducer)
    producer.resnapshot([first.name])
    until_names(tape, **{"1": "a"})
    assert "without a word about others" in (problem(tape) or "")


def test_records_before_a_schema_are_no_stream_left_out_where_the_map_names_the_key(
    tape: InMemoryBus, source: ToldThings
) -> None:
    source.options = {**source.options, "key": ["id"]}
    source.say(record(1), state(1))
    until_names(tape, **{"1": "a"})
    runs(tape, source, 1)
    assert problem(tape) is None


def test_what_a_script_leaves_running_is_read_to_its_end(tape: InMemoryBus, source: ToldThings, tmp_path: Path) -> None:
    lines = tmp_path / "told"
    lines.write_text("".join(json.dumps(one) + "\n" for one in (schema(), record(1), state(1))))
    source.connection = {**source.connection, "command": ["/bin/sh", "-c", f"(sleep 0.5; cat {lines}) & exit 0"]}
    until_names(tape, **{"1": "a"})


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ("os.close(1)\nthreading.Event().wait()", "closed its output, was still running"),
        ("os.fork() or threading.Event().wait()", "another process still held its output open"),
    ],
)
def test_a_tap_that_does_not_come_to_its_end_is_ended_with_its_cause(
    tape: InMemoryBus, source: ToldThings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str, words: str
) -> None:
    """What it said counts, and is the same in the next run."""
    monkeypatch.setattr("sorbus.producers.singer.tap_process._AFTER_CLOSING", 0.5)
    lines = "".join(json.dumps(one) + "\n" for one in (schema(), record(1), state(1)))
    script = tmp_path / "hang.py"
    script.write_text(f"import os, threading\nos.write(1, {lines!r}.encode())\n{after}\n")
    source.connection = {**source.connection, "command": [sys.executable, str(script)]}
    told = fault(tape)
    assert words in told
    assert "memory" not in told
    assert names(tape) == {"1": "a"}


def test_another_mapping_has_an_incremental_tap_begin_again(tape: InMemoryBus, source: ToldThings) -> None:
    """With its state it would tell only what is new."""
    last = {"type": "STATE", "value": {"bookmarks": {"things": {"last": 3}}}}
    source.say(schema(), record(1), record(2), last)
    source.resumes_with(schema(), record(3), last)
    until_names(tape, **{"1": "a", "2": "a", "3": "a"})
    tape.crash()
    source.mapping = [("name", "things.name", "value | upper")]
    until_names(tape, **{"1": "A", "2": "A", "3": "A"})
    assert [one for one in source.started_with() if one is None or "last" not in str(one)], "from its beginning"
    runs(tape, source, 2)
    assert "last" in str(source.started_with()[-1]), "only once"


def test_another_key_in_the_map_never_leaves_each_record_there_twice(tape: InMemoryBus, source: ToldThings) -> None:
    source.say(schema(), record(1, "one"), record(2, "two"), state(2))
    until_names(tape, **{"1": "one", "2": "two"})
    runs(tape, source, 1)
    tape.crash()
    source.options = {**source.options, "key": "name"}
    with pytest.raises(LostPosition, match=r"published by the key id.*`removed_records: delete`"):
        tape.producer()
    source.options = {**source.options, "replication": "FULL_TABLE", "removed_records": "delete", "max_deletes": 2}
    until_names(tape, one="one", two="two")
