"""What taps do that shouldn't: each case is a tap's output, and what becomes of it."""

from __future__ import annotations

import json
import os
import stat
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from sorbus.conformance.in_memory_bus import InMemoryBus
from sorbus.conformance.sample_type import NAME
from sorbus.producers.polling.poll_state import PageResult
from sorbus.producers.singer.catalog import has_bookmark, without_bookmarks
from sorbus.producers.singer.messages import RecordMessage, SchemaMessage
from sorbus.producers.singer.options import SingerConnection
from sorbus.producers.singer.producer import SingerProducer
from sorbus.producers.singer.tap_process import TapProcess
from tests.conformance.test_singer import SCHEMA
from tests.producers.singer.told import Line, ToldThings, fault, names, record, runs, schema, state, until_names


def test_values_are_exact(tape: InMemoryBus, source: ToldThings) -> None:
    source.say(
        schema(),
        b'{"type": "RECORD", "stream": "things", "record": {"id": 7, "name": "a", "count": 9007199254740993,'
        b' "amount": 123456789012345.1234}}',
        record("x|y", amount="0.1000"),
    )
    until_names(tape, **{"7": "a", "x|y": "a"})
    assert tape.live()["7"]["count"] == 9007199254740993
    assert tape.live()["7"]["amount"] == Decimal("123456789012345.1234")
    assert tape.live()["x|y"]["amount"] == Decimal("0.1")


def test_a_state_is_kept_once_its_records_are_published_and_handed_back(tape: InMemoryBus, source: ToldThings) -> None:
    source.say(schema(), record(1), state(1), record(2), b"#exit 3")
    assert "ended with status 3" in fault(tape)
    assert tape.position is not None
    assert json.loads(str(tape.position["state"])) == {"bookmarks": {"things": 1}}, "the state before record 2"
    tape.crash()
    source.say(schema(), record(2), state(2))
    runs(tape, source, 1)
    assert {"bookmarks": {"things": 1}} in source.started_with()
    assert json.loads(str(tape.position["state"])) == {"bookmarks": {"things": 2}}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([record(1)], "before its SCHEMA"),
        ([schema(key_properties=[])], "has no key"),
        ([schema(), {"type": "BATCH", "stream": "things", "manifest": []}], "batch_config"),
        ([schema(), b'{"type": "STATE", "value": '], "can't be read"),
        ([schema(), b'INFO x{"type": "RECORD", "stream": "things", "record": {"id": 1}}'], "what it held is unknown"),
        ([{**schema(), "schema": {"properties": {"id": {"type": "string"}}}}, record(1)], "has no field 'nme'"),
        ([schema(), {"type": "STATE", "value": "x" * 500_000}], "state is"),
        ([schema(), record(1), b"#stderr no login: hunter2-token, anna@example.com", b"#exit 1"], "status 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_ends_the_run_with_its_cause(tmp_path: Path, lines: list[Line], words: str) -> None:
    source = ToldThings(tmp_path)
    if "nme" in words:
        source.mapping = [("name", "things.nme", "")]
    source.say(*lines)
    tape = InMemoryBus(source)
    told = fault(tape)
    assert words in told
    assert "hunter2" not in told
    assert "anna@example.com" not in told
    assert fault(tape), "and the next run, too"
    tape.close()


def test_one_bad_line_or_record_stops_no_other(tape: InMemoryBus, source: ToldThings) -> None:
    source.say(
        b"INFO a log line on the wrong output",
        schema(),
        record(1),
        b'{"type": "RECORD", "stream": "things", "record": {"id": 2, "name": \xff}}',
        record(None, "no key"),
        record({"a": 1}, "no key"),
        record(3, count="many"),
        record(4, name=7),  # type: ignore[arg-type]
        {"type": "RECORD", "stream": "another", "record": {"id": 1}},
        record(5),
        state(5),
    )
    tape.until(lambda: {"1", "5"} <= names(tape).keys() and len(tape.rejected) >= 4, lambda: str(tape.rejected))
    assert "can't be read" in " ".join(tape.rejected.values())
    assert sum("its key id is" in words for words in tape.rejected.values()) == 2
    assert "count" in tape.rejected["3"]
    before = len(tape.events)
    runs(tape, source, 2)
    assert len(tape.events) == before, "the same again is no event"
    source.say(schema(), record(1), record(3, count=3), record(5))
    until_names(tape, **{"1": "a", "3": "a", "4": "7", "5": "a"})


def test_a_line_of_a_hundred_megabytes_is_one_dead_letter_and_little_memory(
    tape: InMemoryBus, source: ToldThings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sorbus.producers.singer.tap_process.LONGEST_LINE", 1 << 20)
    long = b'{"type": "RECORD", "stream": "things", "record": {"id": 2, "name": "' + b"x" * 3_000_000 + b'"}}'
    source.say(schema(), record(1), long, record(3))
    until_names(tape, **{"1": "a", "3": "a"})
    assert "bytes long" in " ".join(tape.rejected.values())


def test_lines_that_begin_alike_and_cannot_be_read_are_a_dead_letter_each(
    tape: InMemoryBus, source: ToldThings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sorbus.producers.singer.tap_process.LONGEST_LINE", 1 << 20)
    head = b'{"type": "RECORD", "stream": "things", "record": {"name": "' + b"x" * 9000
    long = [head + b"y" * (2 << 20) + b'", "id": %d}}' % number for number in (1, 2)]
    broken = [head + b'\xff", "id": %d}}' % number for number in (3, 4)]
    source.say(schema(), *long, *broken, record(5))
    until_names(tape, **{"5": "a"})
    tape.until(lambda: len(tape.rejected) == 4, lambda: f"{list(tape.rejected)} are not four")


def test_a_stream_that_a_tap_no_longer_brings_starts_no_run_after_the_other(
    tape: InMemoryBus, source: ToldThings, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.options = {**source.options, "replication": "FULL_TABLE", "removed_records": "delete", "max_deletes": 10}
    source.say(schema(), record(1), record(2), state({}))
    until_names(tape, **{"1": "a", "2": "a"})
    monkeypatch.setattr(SingerConnection, "seconds", 60.0)
    producer = tape.producer()
    assert isinstance(producer, SingerProducer)
    [stream] = producer._streams
    stream.begin_run(None, from_beginning=True)
    stream.describe(SchemaMessage("things", SCHEMA, ("id",)))
    stream.judge(RecordMessage("things", {"id": 1, "name": "a"}, None), PageResult())
    stream.end_run()
    assert stream.is_pressing, "a second list decides about 2"
    stream.begin_run(None, from_beginning=True)
    stream.end_run()
    assert not stream.is_pressing, "the tap wrote nothing about it"


def test_duplicates_and_a_schema_again_in_the_middle(tape: InMemoryBus, source: ToldThings) -> None:
    wider = {**SCHEMA, "properties": {**SCHEMA["properties"], "colour": {"type": "string"}}}  # type: ignore[dict-item]
    source.say(schema(), record(1), record(1), record(1, "b"), {**schema(), "schema": wider}, record(2), schema())
    until_names(tape, **{"1": "b", "2": "a"})


def test_another_key_is_never_taken_over_in_silence(tape: InMemoryBus, source: ToldThings) -> None:
    source.say(schema(), record(1))
    until_names(tape, **{"1": "a"})
    source.say(schema(key_properties=["name"]), record(1))
    assert "was id and is now name" in fault(tape)


def activate(version: int) -> Line:
    return {"type": "ACTIVATE_VERSION", "stream": "things", "version": version}


def test_activate_version_before_the_records_deletes_nothing(tape: InMemoryBus, source: ToldThings) -> None:
    source.options = {**source.options, "removed_records": "delete", "max_deletes": 10}
    source.say(schema(), activate(1), record(1), record(2), record(3), activate(1), state({"version": 1}))
    until_names(tape, **{"1": "a", "2": "a", "3": "a"})
    source.say(schema(), activate(1), record(2, "b"), state({"version": 1}))  # it only continues that copy
    source.options = {**source.options, "replication": None}
    until_names(tape, **{"1": "a", "2": "b", "3": "a"})
    tape.crash()


@pytest.mark.slow
@pytest.mark.parametrize("end", [b"#exit 1", b"#exit 137", b'{"type": "STATE"'])
def test_a_tap_that_dies_in_the_middle_never_looks_like_deletes(
    tape: InMemoryBus, source: ToldThings, end: bytes
) -> None:
    source.options = {**source.options, "replication": "FULL_TABLE", "removed_records": "delete", "max_deletes": 10}
    source.say(schema(), record(1), record(2), record(3), state({}))
    until_names(tape, **{"1": "a", "2": "a", "3": "a"})
    runs(tape, source, 1)
    source.resumes_with(schema(), record(2), record(3), state({}))  # the rest of the table only
    source.say(schema(), record(1), activate(2), state({"last": 1}), end)
    for _ in range(4):
        fault(tape)
        runs(tape, source, 0)
    source.say(schema(), record(1), record(2), record(3), state({}))
    runs(tape, source, 2)
    until_names(tape, **{"1": "a", "2": "a", "3": "a"})
    assert [id for id, state in tape.events if state.data is None] == []
    source.say(schema(), record(1), record(3), state({}))
    until_names(tape, **{"1": "a", "3": "a"})


def test_a_busy_machine_never_makes_a_whole_table_look_shorter(
    tape: InMemoryBus, source: ToldThings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time for a batch is up after each record: those that haven't changed are no batch, and the rest still counts."""
    source.options = {**source.options, "replication": "FULL_TABLE", "removed_records": "delete", "max_deletes": 10}
    monkeypatch.setattr("sorbus.producers.singer.producer._COLLECT", 0.0)
    source.say(schema(), record(1), record(2), record(3), state({}))
    until_names(tape, **{"1": "a", "2": "a", "3": "a"})
    runs(tape, source, 3)
    assert [id for id, state in tape.events if state.data is None] == []
    source.say(schema(), record(1), record(2), record(3, "b"), state({}))
    until_names(tape, **{"1": "a", "2": "a", "3": "b"})


def test_an_empty_table_is_a_question_to_a_person(tape: InMemoryBus, source: ToldThings) -> None:
    source.options = {**source.options, "replication": "FULL_TABLE", "removed_records": "delete"}
    source.say(schema(), record(1), record(2), record(3), state({}))
    until_names(tape, **{"1": "a", "2": "a", "3": "a"})
    source.say(schema(), state({}))
    runs(tape, source, 4)
    assert len(names(tape)) == 3


def test_a_delete_in_the_log_is_a_delete(tape: InMemoryBus, source: ToldThings) -> None:
    source.options = {**source.options, "replication": "LOG_BASED", "absent_fields": "empty"}
    source.say(schema(), record(1), record(2), state({"lsn": 1}))
    until_names(tape, **{"1": "a", "2": "a"})
    source.say(
        schema(), {**record(1), "record": {"id": 1, "_sdc_deleted_at": "2026-01-01T00:00:00Z"}}, state({"lsn": 2})
    )  # type: ignore[dict-item]
    until_names(tape, **{"2": "a"})


def test_a_value_that_a_log_leaves_out_is_never_taken_for_empty(tape: InMemoryBus, source: ToldThings) -> None:
    source.options = {**source.options, "replication": "LOG_BASED"}
    source.mapping = [("name", "things.name", ""), ("note", "things.note", "")]
    source.say(schema(), record(1, note="long"), state(1), record(1, "b"), record(2, note=None))
    tape.until(lambda: "1" in tape.rejected and "2" in names(tape), lambda: str(tape.rejected))
    assert tape.live()["1"]["note"] == "long"
    assert "REPLICA IDENTITY FULL" in tape.rejected["1"]


def test_a_field_that_goes_is_drift_and_holds_records(tape: InMemoryBus, source: ToldThings) -> None:
    source.mapping = [("name", "things.name", ""), ("note", "things.note", "")]
    source.say(schema(), record(1, note="x"), record(2, note="y"))
    until_names(tape, **{"1": "a", "2": "a"})
    without = {"properties": {name: kind for name, kind in SCHEMA["properties"].items() if name != "note"}}  # type: ignore[attr-defined]
    source.say({**schema(), "schema": without}, record(1, "b"))  # type: ignore[dict-item]
    tape.until(lambda: "1" in tape.rejected, lambda: str(tape.rejected))
    assert "note is gone" in tape.rejected["1"]
    assert tape.live()["1"]["note"] == "x"


def test_a_field_of_the_same_name_that_goes_holds_records(tape: InMemoryBus, source: ToldThings) -> None:
    """Also after a restart; a record may leave it out, as long as the schema has it."""
    source.say(schema(), record(1, note="x"), record(2), state(1))
    until_names(tape, **{"1": "a", "2": "a"})
    tape.crash()
    without = {"properties": {name: kind for name, kind in SCHEMA["properties"].items() if name != "note"}}  # type: ignore[attr-defined]
    source.say({**schema(), "schema": without}, record(1, "b"))  # type: ignore[dict-item]
    tape.until(lambda: "1" in tape.rejected, lambda: str(tape.live()))
    assert "note is gone" in tape.rejected["1"]
    assert tape.live()["1"]["note"] == "x"


def test_a_log_that_leaves_out_a_field_of_the_same_name_is_no_less_doubtful(
    tape: InMemoryBus, source: ToldThings
) -> None:
    source.options = {**source.options, "replication": "LOG_BASED"}
    whole = {name: None for name in SCHEMA["properties"] if name not in ("id", "name")}  # type: ignore[attr-defined]
    source.say(schema(), record(1, **{**whole, "note": "x"}), state(1), record(1, "b"))
    tape.until(lambda: "1" in tape.rejected, lambda: str(tape.live()))
    assert tape.live()["1"]["note"] == "x"


@pytest.mark.parametrize("key", ["No.", "we ird[", "[", "a.b"])
def test_a_key_that_is_no_path_is_a_name(tape: InMemoryBus, source: ToldThings, key: str) -> None:
    wider = {"properties": {**SCHEMA["properties"], key: {"type": "string"}}}  # type: ignore[dict-item]
    source.say(schema(key_properties=[key], schema=wider), record(1), record(2, **{key: "b"}), state(1))
    tape.until(lambda: "b" in tape.live() and bool(tape.rejected), lambda: f"{tape.live()} {tape.rejected}")
    assert f"its key {key} is nothing" in " ".join(tape.rejected.values())


def test_a_tap_that_hangs_is_ended_with_all_that_it_started(
    tape: InMemoryBus, source: ToldThings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SingerConnection, "idle_seconds", 0.3)
    source.say(schema(), record(1), state(1), b"#sleep 60")
    told = fault(tape)
    assert "idle_limit" in told
    assert names(tape) == {"1": "a"}, "what it said before is published"
    tape.close()
    assert list((Path(os.environ["SORBUS_CACHE"]) / "singer" / "run").iterdir()) == [], "no file with secrets is left"


def test_a_flood_of_errors_neither_blocks_nor_fills_memory(tape: InMemoryBus, source: ToldThings) -> None:
    source.say(schema(), *[b"#stderr " + b"y" * 1000] * 2000, record(1))
    until_names(tape, **{"1": "a"})


def test_its_files_are_its_users_alone_and_gone_afterwards(
    tmp_path: Path, source: ToldThings, tape: InMemoryBus
) -> None:
    source.say(schema(), record(1), b"#sleep 30")
    while names(tape) != {"1": "a"}:
        tape.step()
    [folder] = (tmp_path / "cache" / "singer" / "run").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "config.json").stat().st_mode) == 0o600
    pid = int((folder / "pid").read_text().split()[0])
    other = InMemoryBus(source)  # what a process that was killed left is ended by the next one
    other.producer()
    os.waitpid(pid, 0)  # it was our child
    other.close()


def test_the_environment_of_a_tap_has_no_secrets_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SORBUS_DATABASE", "postgresql://secret")
    process = TapProcess([sys.executable, "-c", "import os; print(dict(os.environ))"], {"MINE": "1"}, tmp_path)
    said = b""
    while process.exit_code is None:
        said += b"".join(line for line in process.read(1.0) if isinstance(line, bytes))
    process.stop()
    assert b"SORBUS" not in said
    assert b"'MINE': '1'" in said


def test_states_lose_only_what_is_to_be_read_again() -> None:
    text = '{"currently_syncing":"a","bookmarks":{"a":{"x":1},"b":{"y":1.10}}}'
    assert without_bookmarks(text, {"a"}) == '{"bookmarks":{"b":{"y":1.10}}}'
    assert without_bookmarks('{"a":"2026"}', {"b"}) is None
    assert has_bookmark(text, {"b"})
    assert not has_bookmark(text, {"c"})
    assert has_bookmark('{"a":"2026"}', {"b"}), "a state of another layout may mean anything"


def test_a_tap_that_is_not_there_is_named(tape: InMemoryBus, source: ToldThings) -> None:
    source.connection = {**source.connection, "command": "/nowhere/tap-x"}
    assert "/nowhere/tap-x can't be started" in fault(tape)


def test_lines_longer_than_a_pipe_are_whole_when_the_tap_has_ended(tmp_path: Path) -> None:
    code = "import sys; sys.stdout.write(('x' * 60_000 + chr(10)) + 'y' * 5_000)"
    process = TapProcess([sys.executable, "-c", code], {}, tmp_path)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended before anything is read
    lines: list[int] = []
    while process.exit_code is None:
        lines += [len(line) for line in process.read(1.0) if isinstance(line, bytes)]
    process.stop()
    assert lines == [60_000, 5_000]


def test_what_is_asked_for_is_published_again_or_said_to_be_gone(tape: InMemoryBus, source: ToldThings) -> None:
    source.options = {**source.options, "replication": "FULL_TABLE", "removed_records": "delete"}
    source.say(schema(), record(1), record(2), state({}))
    until_names(tape, **{"1": "a", "2": "a"})
    before = len(tape.events)
    producer = tape.producer()
    assert isinstance(producer, SingerProducer)
    producer.reread(NAME, [b"2", b"never there"])
    tape.until(lambda: len(tape.events) == before + 2, lambda: f"{tape.events[before:]}")
    runs(tape, source, 1)
    told = {id: one.data is not None for id, one in tape.events[before:]}
    assert told == {"2": True, "never there": False}
    assert len(tape.events) == before + 2
