"""A target that is in an earlier state than its flow had brought it to gets what it lacks, by itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import psycopg
import pytest
from confluent_kafka import TopicPartition

from sorbus.abilities import Progress
from sorbus.bus.kafka import admin
from sorbus.bus.topic_facts import topic_facts
from sorbus.consumers import read_positions, target_progress
from sorbus.consumers.batch_size import BatchSize
from sorbus.consumers.group_member import GroupMember, PolledBatch
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.consumers.postgres.progress import RELATION, WHEN
from sorbus.consumers.target import TargetWriter
from sorbus.errors import TransientError
from sorbus.telemetry.health import Health
from sorbus.telemetry.stop import Stop
from sorbus.waiting.complete import consumer_of
from tests.consumers.gadgets import gadget, opened
from tests.consumers.line import Line, eventually
from tests.consumers.progress import keeps_progress
from tests.consumers.test_read_positions import commit, committed, stopped

ENDED = (
    "select pg_terminate_backend(pid) from pg_stat_activity"
    " where datname = current_database() and pid <> pg_backend_pid()"
)
TABLES = ("gadgets", "gadget_lines", "sorbus_applied")
IDS = range(12)
WITH_HAND = {str(id): "by hand" if str(id) > "3" else "v1" for id in IDS}
LATER = {**{str(id): "v2" for id in range(2, 8)}, **{str(id): "v1" for id in (8, 9, 10, 11)}, "12": "v2"}


def publish(line: Line, version: int, ids: range, name: str | None) -> None:
    line.publish([(str(id), version, gadget(name, lines=[]) if name else None) for id in ids])


def noted(line: Line) -> dict[str, int]:
    """What the target has noted of the data type's topic: partition -> offset."""
    rows = line.connection.execute(
        "select id, version from sorbus_applied where relation = %s and id like %s", (RELATION, f"% {line.topic} %")
    ).fetchall()
    return {str(id).rpartition(" ")[2]: int(str(version)) for id, version in rows}


def all_noted(line: Line) -> bool:
    """Whether the target says that it has all that the group has committed, and the topic holds."""
    at = {str(number): offset for number, (offset, _) in committed(line).items()}
    return bool(at) and noted(line) == at


def forget_noted(line: Line) -> None:
    """The group's offsets as a release committed them that has the target note nothing."""

    def change(offset: int, metadata: dict[str, object]) -> int:
        metadata.pop("noted", None)
        return offset

    commit(line, change)


REFUSED = """
create function refused() returns trigger language plpgsql as
    $$begin raise exception 'permission denied' using errcode = 'insufficient_privilege'; end$$;
create trigger refused before insert on sorbus_applied for each row
    when (starts_with(new.relation, 'sorbus progress')) execute function refused()
"""


def test_a_target_that_refuses_to_note_how_far_it_is_keeps_no_offset_back(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    """Else a restart would deliver all again, and nobody would know why the lag grows."""
    line.execute(REFUSED)
    publish(line, 1, IDS, "v1")
    with line.consuming(), caplog.at_level(logging.WARNING):
        eventually(lambda: [offset for offset, _ in committed(line).values()] == ends_of(line), "the offsets")
    assert noted(line) == {}
    assert sum("permission denied" in one.getMessage() for one in caplog.records) == 1


def ends_of(line: Line) -> list[int]:
    """Where each partition ends."""
    facts = topic_facts(admin(line.settings), [line.topic])
    return list(facts[line.topic].ends)


def back_up(line: Line) -> None:
    line.execute("create schema backup")
    for table in TABLES:
        line.execute(f"create table backup.{table} as table {table}")


def restore(line: Line, *, ends_sessions: bool = True) -> None:
    """Nobody sees anything of it before it is done; `ends_sessions`: and no session survives it."""
    with line.connection.transaction():
        line.execute(f"lock table {', '.join(TABLES)} in access exclusive mode")
        if ends_sessions:
            line.execute(ENDED)
        for table in TABLES:
            line.execute(f"delete from {table}; insert into {table} table backup.{table}")


def make_again(line: Line) -> None:
    line.execute(f"drop table {', '.join(TABLES)}")
    line.make_target()


def change(line: Line) -> None:
    """New, changed and deleted records."""
    publish(line, 2, range(2), None)
    publish(line, 2, range(2, 8), "v2")
    publish(line, 2, range(12, 13), "v2")


@pytest.mark.parametrize("befall", [restore, make_again])
def test_what_was_delivered_since_a_backup_is_delivered_again(
    line: Line, caplog: pytest.LogCaptureFixture, befall: Callable[[Line], None]
) -> None:
    publish(line, 1, IDS, "v1")
    with line.consuming():
        line.until({str(id): "v1" for id in IDS})
    assert all_noted(line)
    back_up(line)
    with line.consuming():
        change(line)
        line.until(LATER)
    assert all_noted(line)
    befall(line)
    with caplog.at_level(logging.WARNING), line.consuming() as running:
        line.until(LATER)
        eventually(lambda: "have been delivered again" in running.health.notes()["restored"], "a note of that")
    assert "the target was found in an earlier state" in caplog.text
    assert all_noted(line)


@pytest.mark.parametrize(
    "what", [{"where": 'name != "outside"'}, {"on_incomplete": "hold"}, {"on_incomplete": "default"}], ids=str
)
def test_a_flow_that_filters_or_completes_notices_it_too(line_with_state: Line, what: dict[str, str]) -> None:
    line = line_with_state
    line.flow = replace(line.flow, flow=line.flow.flow.model_copy(update=what))
    make = lambda: consumer_of(PostgresConsumer, line.flow)  # noqa: E731
    publish(line, 1, IDS, "v1")
    with line.consuming(make=make):
        line.until({str(id): "v1" for id in IDS})
        eventually(lambda: all_noted(line), "a note of all")
    back_up(line)
    with line.consuming(make=make):
        change(line)
        line.until(LATER)
    restore(line)
    with line.consuming(make=make):
        line.until(LATER)


def test_a_target_that_is_restored_under_a_running_flow_gets_what_it_lacks(line: Line) -> None:
    publish(line, 1, IDS, "v1")
    with line.consuming() as running:
        line.until({str(id): "v1" for id in IDS})
        eventually(lambda: all_noted(line), "a note of all")
        back_up(line)
        for version in range(2, 5):  # and it isn't noted yet when the backup is put back
            change(line)
            line.until(LATER)
            restore(line)
            line.until(LATER)
            assert "in an earlier state" in running.health.notes().get("restored", "in an earlier state"), version


@pytest.mark.parametrize("then", ["nothing", "an event"])
def test_a_dump_that_is_loaded_under_a_running_flow_is_noticed(line: Line, then: str) -> None:
    """No session ends, and the next note would hide it."""
    publish(line, 1, IDS, "v1")
    with line.consuming():
        line.until({str(id): "v1" for id in IDS})
        eventually(lambda: all_noted(line), "a note of all")
        back_up(line)
        change(line)
        line.until(LATER)
        eventually(lambda: [noted(line)[str(number)] for number in range(2)] == ends_of(line), "a note of all")
        restore(line, ends_sessions=False)
        if then == "an event":
            publish(line, 3, range(20, 21), "v3")
        line.until(LATER if then == "nothing" else {**LATER, "20": "v3"})


class Notes:
    """Those of a flow's target: none lands unless `land`, and the next `unread` looks at them fail."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.land, self.unread = True, 0
        note, progress = PostgresConsumer.note_progress, PostgresConsumer.progress

        def noting(consumer: PostgresConsumer, topic: str, offsets: Mapping[int, Progress]) -> None:
            if not self.land:
                raise TransientError("a fault of the test")
            note(consumer, topic, offsets)

        def reading(consumer: PostgresConsumer, topic: str) -> dict[int, Progress]:
            if self.unread:
                self.unread -= 1
                raise TransientError("a fault of the test", retry_after=0.01)
            return progress(consumer, topic)

        patch.setattr(PostgresConsumer, "note_progress", noting)
        patch.setattr(PostgresConsumer, "progress", reading)


@pytest.mark.parametrize("before", ["nothing", "some"])
@pytest.mark.parametrize("unread", [0, 1, 3])
def test_what_was_delivered_and_not_noted_is_delivered_again(
    line: Line, monkeypatch: pytest.MonkeyPatch, before: str, unread: int
) -> None:
    """As by a standby that had received all but the last batches, and whose first answers are faults."""
    notes = Notes(monkeypatch)
    expected = {str(id): "v1" for id in IDS}
    with line.consuming():
        if before == "some":
            publish(line, 1, IDS, "v1")
            line.until(expected)
            eventually(lambda: all_noted(line), "a note of all")
        back_up(line)
        notes.land = False
        if before == "some":
            change(line)
            expected = LATER
        else:
            publish(line, 1, IDS, "v1")
        line.until(expected)
        notes.unread = unread
        restore(line)
        line.until(expected)
        notes.land = True
        eventually(lambda: all_noted(line), "a note of all")


@pytest.mark.parametrize("step", ["apply", "versions"])
@pytest.mark.parametrize("part", [1, 2])
def test_what_was_delivered_of_a_batch_before_the_target_was_put_back_is_delivered_again(
    line: Line, monkeypatch: pytest.MonkeyPatch, part: int, step: str
) -> None:
    """A batch goes in parts where the target has a time limit."""
    publish(line, 1, IDS, "v1")
    with line.consuming():
        line.until({str(id): "v1" for id in IDS})
    assert all_noted(line)
    back_up(line)
    monkeypatch.setattr(BatchSize, "part", lambda _, given: given[:3])
    real, calls = getattr(TargetWriter, step), []

    def call(*given: object, **named: object) -> object:
        found = real(*given, **named)
        calls.append(given)
        if len(calls) == part:
            restore(line)
        return found

    monkeypatch.setattr(TargetWriter, step, call)
    change(line)
    with line.consuming():
        line.until(LATER)
    assert len(calls) >= part


def test_a_batch_that_waited_long_says_nothing_of_partitions_that_are_another_members_by_now(line: Line) -> None:
    member = GroupMember(line.flow, line.settings, Health(), Stop())
    try:
        member.landed(PolledBatch([], {(line.topic, 0): 7}, {}, {(line.topic, 0): 0.0}))
        assert member.reached() == {}
    finally:
        member.leave()


def test_what_was_not_noted_of_a_partition_that_goes_is_not_committed_when_it_is_back(line: Line) -> None:
    """Another member may be further on by then."""
    place = line.topic, 0
    member = GroupMember(line.flow, line.settings, Health(), Stop())
    try:
        member._kafka.assign([TopicPartition(*place, 0)])
        member.is_noted, member._reached[place] = True, 0
        member.landed(PolledBatch([], {place: 7}, {}, {place: time.time()}))
        member._revoked(member._kafka, [TopicPartition(*place)])
        assert member._offsets == {}
    finally:
        member.leave()


def test_a_target_that_nobody_touched_gets_nothing_again(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    """After stops, and after sessions that ended."""
    publish(line, 1, IDS, "v1")
    with caplog.at_level(logging.INFO):
        for version in (1, 3):
            with line.consuming():
                line.until({str(id): "v1" for id in IDS} if version == 1 else {**WITH_HAND, "0": "v2"})
                eventually(lambda: all_noted(line), "a note of all")
                line.execute("update gadgets set name = 'by hand' where id > '3'")
                line.execute(ENDED)
                publish(line, version + 1, range(1), f"v{version + 1}")
                line.until({**WITH_HAND, "0": f"v{version + 1}"})
    assert "earlier state" not in caplog.text


def test_a_flow_that_noted_nothing_yet_goes_on_where_it_was(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    """As of a release that didn't."""
    publish(line, 1, IDS, "v1")
    with line.consuming():
        line.until({str(id): "v1" for id in IDS})
    line.execute(f"delete from sorbus_applied where relation in ('{RELATION}', '{WHEN}')")
    forget_noted(line)
    line.execute("update gadgets set name = 'by hand' where id = '3'")
    with caplog.at_level(logging.WARNING), line.consuming():
        eventually(lambda: all_noted(line), "a note of all")
    assert "earlier state" not in caplog.text
    assert line.rows()["3"] == "by hand", "it was delivered again"


def test_what_a_person_has_the_group_skip_is_not_delivered_and_said(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    publish(line, 1, IDS, "v1")
    with line.consuming():
        line.until({str(id): "v1" for id in IDS})
    publish(line, 2, IDS, "skipped")
    ends = ends_of(line)

    def skip(offset: int, metadata: dict[str, object]) -> int:
        metadata.clear()
        return ends.pop(0)

    commit(line, skip)
    with caplog.at_level(logging.WARNING), line.consuming():
        publish(line, 3, range(1), "v3")
        line.until({"0": "v3", **{str(id): "v1" for id in range(1, 12)}})
        eventually(lambda: all_noted(line), "a note of all")
    assert "was set by others" in caplog.text


def test_a_backup_that_is_older_than_deletes_are_kept_is_said(line: Line) -> None:
    publish(line, 1, IDS, "v1")
    with line.consuming():
        line.until({str(id): "v1" for id in IDS})
    back_up(line)
    with line.consuming():
        change(line)
        line.until(LATER)
    restore(line)
    line.execute(f"update sorbus_applied set version = {int(time.time()) - 40 * 86_400} where relation = '{WHEN}'")
    assert "in the last 40.0 days and was not read" in str(stopped(line))


def test_a_backup_is_not_as_old_as_the_last_event_where_none_came_for_weeks(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    weeks_ago = int(time.time()) - 40 * 86_400

    def when() -> list[int]:
        said = "select version from sorbus_applied where relation = %s"
        return [int(str(at)) for (at,) in line.connection.execute(said, (WHEN,)).fetchall()]

    publish(line, 1, IDS, "v1")
    with line.consuming():
        line.until({str(id): "v1" for id in IDS})
    line.execute(f"update sorbus_applied set version = {weeks_ago} where relation = '{WHEN}'")
    monkeypatch.setattr(read_positions, "_STAMP_EVERY", 0.0)
    with line.consuming():
        eventually(lambda: min(when()) > weeks_ago, "a later note")
        eventually(lambda: all_noted(line), "a note of all")
    back_up(line)
    with line.consuming():
        change(line)
        line.until(LATER)
    restore(line)
    with line.consuming():
        line.until(LATER)


def test_a_backup_is_as_old_as_what_a_flow_had_read_that_was_weeks_behind(line: Line) -> None:
    written, place = time.time() - 20 * 86_400, (line.topic, 0)
    member = GroupMember(line.flow, line.settings, Health(), Stop())
    try:
        member._reached[place] = 0
        member._positions._moved[place] = 0, time.monotonic() - 25 * 86_400
        member.landed(PolledBatch([], {place: 7}, {}, {place: written}))
        assert member.to_note() == {place: (7, pytest.approx(written, abs=5))}
    finally:
        member.leave()


def test_a_target_that_takes_no_notes_is_said(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one where somebody holds their rows locked."""
    monkeypatch.setattr(target_progress, "_PATIENCE", 1.0)
    monkeypatch.setattr(target_progress, "_PAUSE", 0.5)
    publish(line, 1, IDS, "v1")
    with line.consuming() as running:
        line.until({str(id): "v1" for id in IDS})
        eventually(lambda: all_noted(line), "a note of all")
        with psycopg.connect(line.dsn) as other:
            other.execute("select from sorbus_applied where relation = %s for update", (RELATION,))
            publish(line, 2, IDS, "v2")
            line.until({str(id): "v2" for id in IDS})
            said = eventually(lambda: running.health.notes().get("noting"), "why nothing is committed", 60)
            assert "delivered events count as lag" in said
        eventually(lambda: "noting" not in running.health.notes() and all_noted(line), "a note of all", 60)


def test_it_is_kept_by_topic_and_partition_and_never_goes_back(line: Line) -> None:
    consumer = opened(line.flow)
    try:
        keeps_progress(consumer)
    finally:
        consumer.close()
