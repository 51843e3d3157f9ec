"""Replay as people run it: an emptied target is rebuilt beside its consumer, and a point in time is respected."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import pytest

from sorbus.ops.replay.job import ReplayCancelled, ReplayCounts, ReplayJobs
from sorbus.state.database import migrate
from sorbus.waiting.store import waiting
from tests.consumers.gadgets import gadget, make_tables
from tests.consumers.line import FLOW, RESTRICTED, SORBUS, Line, eventually, named
from tests.consumers.plugin import MakeLine, make_line

__all__ = ["make_line"]
LINES = "select parent_id, sku from gadget_lines order by 1, position"
LONG = "a name that is too long for it"


@pytest.fixture
def line(make_line: MakeLine) -> Line:
    """A flow with Sorbus's own database, so that its replays can be resumed."""
    made = make_line()
    migrate(made.state)
    return made


def test_an_emptied_target_is_rebuilt_while_its_consumer_runs(line: Line) -> None:
    expected = {f"g{n}": f"n{n}" for n in range(200)}
    with line.consuming():
        line.publish((id, 1, named("older", "z")) for id in expected)
        line.publish((id, 2, named(name, "a", "b")) for id, name in expected.items())
        line.publish([("gone", 1, named("gone")), ("gone", 2, None)])
        line.until(expected)
        lines = line.connection.execute(LINES).fetchall()
        line.execute("truncate gadgets, gadget_lines")
        line.publish((f"new{n}", 3, named("new")) for n in range(50))
        told = json.loads(line.sorbus("replay", FLOW, "--json"))
        line.until(expected | {f"new{n}": "new" for n in range(50)})
        assert line.connection.execute(LINES).fetchall() == lines
    assert told["refused"] == 0
    assert told["events"] >= 402
    assert line.letters() == []


def test_only_what_came_after_a_point_in_time_is_replayed(line: Line) -> None:
    with line.consuming():
        line.publish([("old", 1, named("old"))])
        line.until({"old": "old"})
        moment = time.time()
        line.publish([("new", 1, named("new"))])
        line.until({"old": "old", "new": "new"})
    line.execute("truncate gadgets, gadget_lines")
    since = datetime.fromtimestamp(moment, UTC).isoformat()
    told = line.sorbus("replay", FLOW, "--from", since)
    assert line.rows() == {"new": "new"}
    assert "1 events read, 1 records" in told
    assert "0 events read" in line.sorbus(
        "replay", FLOW, "--from", datetime.fromtimestamp(moment + 3600, UTC).isoformat()
    )


def test_what_the_target_refuses_in_a_replay_is_the_same_dead_letter(line: Line) -> None:
    line.execute(RESTRICTED)
    line.publish([("g1", 1, named(LONG)), ("g2", 1, named("fine"))])
    with line.consuming():
        (first,) = line.until_letters(1)
    told = line.sorbus("replay", FLOW, status=1)
    assert "1 refused" in told
    (again,) = line.letters()
    assert (again.id, again.first_at, again.attempts) == (first.id, first.first_at, 2)


def test_an_unknown_flow_and_an_unreadable_time_are_errors(line: Line) -> None:
    assert FLOW in line.sorbus("replay", "gadget-to-nowhere", status=2)
    assert "2026-11-01T08:00" in line.sorbus("replay", FLOW, "--from", "yesterday", status=2)


@pytest.fixture
def soft(make_line: MakeLine) -> Line:
    """A flow whose target keeps deleted records."""
    line = make_line()
    migrate(line.state)
    map_file = line.folder / "map.yaml"
    map_file.write_text(map_file.read_text() + "    deletes: soft\n")
    line.flow = replace(line.flow, flow=line.flow.flow.model_copy(update={"deletes": "soft"}))
    make_tables(line.flow)
    return line


KEPT = "select id, name, sorbus_deleted_at is not null from gadgets order by id"


def test_deleted_records_that_a_flow_keeps_come_back_as_deleted_rows(soft: Line) -> None:
    with soft.consuming():
        soft.publish([(f"g{n}", 1, named(f"n{n}", "a")) for n in range(20)])
        soft.until({f"g{n}": f"n{n}" for n in range(20)})
        soft.publish([(f"g{n}", 2, named("last")) for n in range(5)])
        soft.until({f"g{n}": "last" if n < 5 else f"n{n}" for n in range(20)})
        soft.publish([(f"g{n}", 3, None) for n in range(5)])
        eventually(lambda: soft.connection.execute(KEPT + " limit 1").fetchone() == ("g0", "last", True), "a delete")
        eventually(lambda: sum(bool(gone) for _, _, gone in soft.connection.execute(KEPT)) == 5, "all deletes")
    before = soft.connection.execute(KEPT).fetchall()
    soft.execute("truncate gadgets, gadget_lines")
    soft.sorbus("replay", FLOW)
    assert soft.connection.execute(KEPT).fetchall() == before
    soft.sorbus("replay", FLOW)
    assert soft.connection.execute(KEPT).fetchall() == before


def test_deleted_records_whose_state_is_gone_from_the_topic_are_named_before_anything_is_written(soft: Line) -> None:
    soft.publish([("g1", 1, named("here")), ("lost", 7, None)])
    told = soft.sorbus("replay", FLOW, status=4)
    assert "1 of them (lost) are neither in books nor" in told
    assert soft.rows() == {}
    soft.sorbus("replay", FLOW, "--without-deleted")
    assert soft.rows() == {"g1": "here"}


def test_deleted_records_that_are_not_meant_hold_up_no_replay(soft: Line) -> None:
    soft.publish([("g1", 1, named("here")), ("g2", 1, named("gone")), ("lost", 7, None), ("g2", 2, None)])
    soft.sorbus("replay", FLOW, "--id", "g1")
    soft.sorbus("replay", FLOW, "--where", 'name == "here"')
    assert soft.connection.execute(KEPT).fetchall() == [("g1", "here", False)]
    soft.sorbus("replay", FLOW, "--id", "g2")
    assert soft.connection.execute(KEPT).fetchall() == [("g1", "here", False), ("g2", "gone", True)]


def test_what_must_wait_is_a_dead_letter_without_a_database_to_wait_in(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.execute("create table makers (id text primary key)")
    line.execute("alter table gadgets add constraint known foreign key (note) references makers (id)")
    line.publish([("g1", 1, {**named("one"), "note": "nobody"}), ("g2", 1, named("two"))])
    env = line.folder / ".env"
    env.write_text("".join(each for each in env.read_text().splitlines(keepends=True) if "SORBUS_DATABASE" not in each))
    monkeypatch.delenv("SORBUS_DATABASE", raising=False)
    monkeypatch.delitem(line.env, "SORBUS_DATABASE")
    assert "1 refused" in line.sorbus("replay", FLOW, status=1)
    assert line.rows() == {"g2": "two"}
    assert [letter.record_id for letter in line.letters()] == [b"g1"]


def test_only_the_records_that_are_named_are_replayed(line: Line) -> None:
    line.publish((f"g{n}", 1, named(f"n{n}")) for n in range(6))
    line.sorbus("replay", FLOW, "--id", "g1", "--id", "g2")
    assert line.rows() == {"g1": "n1", "g2": "n2"}
    ids = line.folder / "ids.txt"
    ids.write_bytes(b"\xef\xbb\xbfg3\r\n\r\ng4\r\n")  # as Windows' editors write it
    line.sorbus("replay", FLOW, "--ids", str(ids))
    assert line.rows() == {f"g{n}": f"n{n}" for n in range(1, 5)}
    told = line.sorbus("replay", FLOW, "--id", "g5", "--id", "G5", status=1)
    assert "1 of the records that were named have no event there: G5" in told
    ids.write_bytes("gl\xfcck".encode("latin-1"))
    assert "not text in UTF-8" in line.sorbus("replay", FLOW, "--ids", str(ids), status=2)


def test_a_condition_is_checked_first_and_looks_at_each_records_last_state(line: Line) -> None:
    line.publish([("was", 1, named("DE")), ("is", 1, named("FR")), ("gone", 1, named("DE"))])
    line.publish([("was", 2, named("FR")), ("is", 2, named("DE")), ("gone", 2, None)])
    for wrong, told in (
        ("nam == 'DE'", "name"),
        ("name", "isn't true or false"),
        ("name == 3", "never equal"),
        ("name ==", "can't be read"),
        ("1 == 1", "reads no field"),
    ):
        assert told in line.sorbus("replay", FLOW, "--where", wrong, status=2)
    told = json.loads(line.sorbus("replay", FLOW, "--where", 'name == "DE"', "--dry-run", "--json"))
    assert (told["records"], told["actions"], line.rows()) == (1, {"create": 1}, {})
    line.sorbus("replay", FLOW, "--where", 'name == "DE"')
    assert line.rows() == {"is": "DE"}


def test_records_for_which_a_condition_cannot_be_decided_are_counted_and_left_out(line: Line) -> None:
    line.publish([("g1", 1, gadget("a", price=Decimal("2.00"), lines=[])), ("g2", 1, named("b"))])
    told = line.sorbus("replay", FLOW, "--where", "price > 1", status=1)
    assert "1 records are left out" in told
    assert "g2" in told
    assert line.rows() == {"g1": "a"}
    assert line.sorbus("replay", FLOW, "--where", "price is not none and price > 1")


def test_a_replay_begins_at_an_offset_of_a_partition(line: Line) -> None:
    line.write("g1", *line.writer.event("g1", 1, named("one")), partition=0)
    line.write("g2", *line.writer.event("g2", 1, named("two")), partition=0)
    line.write("g3", *line.writer.event("g3", 1, named("three")), partition=1)
    line.flush()
    line.sorbus("replay", FLOW, "--from", "0:1")
    assert line.rows() == {"g2": "two"}
    assert "no partition 9" in line.sorbus("replay", FLOW, "--from", "9:1", status=2)


def test_the_records_of_a_cause_are_replayed_once_it_is_fixed(line: Line) -> None:
    line.execute(RESTRICTED)
    line.publish([("g1", 1, named(LONG)), ("g2", 1, named("fine"))])
    with line.consuming():
        line.until_letters(1)
    (group,) = line.listed("dlq", "groups", "--json")
    line.execute("alter table gadgets drop constraint short_name; truncate gadgets, gadget_lines")
    line.sorbus("replay", FLOW, "--cause", str(group["cause"]))
    assert line.rows() == {"g1": LONG}
    assert line.letters() == []
    assert "no open dead letter" in line.sorbus("replay", FLOW, "--cause", "nonsense", status=2)


def test_a_killed_replay_resumes_where_it_was_and_another_request_is_refused(line: Line) -> None:
    line.publish((f"g{n}", 1, named(f"n{n}")) for n in range(12_000))
    line.execute(
        "create function slow() returns trigger language plpgsql as $$ begin"
        " if new.id = 'g11999' then perform pg_advisory_xact_lock(1717); end if; return new; end $$;"
        "create trigger slow before insert on gadgets for each row execute function slow()"
    )
    with psycopg.connect(line.dsn, autocommit=True) as gate:
        gate.execute("select pg_advisory_lock(1717)")
        command = subprocess.Popen([SORBUS, "replay", FLOW], env=line.env, cwd=line.folder)
        try:
            eventually(lambda: _saved(line) > 0, "a saved position")
            busy = line.sorbus("replay", FLOW, status=4)
            assert "is being replayed" in busy
            assert f"process {command.pid}" in busy
        finally:
            command.kill()
            command.wait(10)
    assert "asks for something else" in line.sorbus("replay", FLOW, "--id", "g1", status=4)
    done = json.loads(line.sorbus("replay", FLOW, "--resume", "--json"))
    assert done["resumed"]
    assert done["events"] == done["total"] == 12_000
    assert len(line.rows()) == 12_000
    assert "no replay is unfinished" in line.sorbus("replay", FLOW, "--cancel")


def test_a_cancelled_replay_ends_and_another_can_begin(line: Line) -> None:
    line.publish([("g1", 1, named("one"))])
    with pytest.raises(ReplayCancelled):
        _cancel_while_running(line)
    line.sorbus("replay", FLOW)
    assert line.rows() == {"g1": "one"}


def _saved(line: Line) -> int:
    found = ReplayJobs(line.state).unfinished(FLOW)
    return 0 if found is None else found.counts.events


def _cancel_while_running(line: Line) -> None:
    with ReplayJobs(line.state).running(FLOW, {"shadow": False}, "ada") as job:
        job.save({0: 1}, ReplayCounts(1, 2))
        assert "cancelled after 1 of 2 events" in line.sorbus("replay", FLOW, "--cancel")
        job.save({0: 2}, ReplayCounts(2, 2))


BY_HAND = "update gadgets set name = 'by hand'"


def test_a_dead_letter_of_a_replay_lands_though_its_version_has_landed_before(line: Line) -> None:
    with line.consuming():
        line.publish([("g1", 1, named(LONG))])
        line.until({"g1": LONG})
        line.execute(BY_HAND)
        line.execute(RESTRICTED)
        line.sorbus("replay", FLOW, status=1)
        (letter,) = line.until_letters(1)
        line.execute("alter table gadgets drop constraint short_name")
        line.sorbus("dlq", "requeue", letter.id)
        line.until_letters(0)
        assert line.rows() == {"g1": LONG}


def test_what_waits_after_a_replay_lands_in_a_running_flow_though_its_version_has_landed_before(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SORBUS_DATABASE", line.env["SORBUS_DATABASE"])
    line.execute("create table makers (name text primary key); insert into makers values ('n1'), ('by hand')")
    line.execute("alter table gadgets add foreign key (name) references makers")
    with line.consuming():
        line.publish([("g1", 1, named("n1"))])
        line.until({"g1": "n1"})
        line.execute(BY_HAND)
        line.execute("delete from makers where name = 'n1'")
        assert "1 wait" in line.sorbus("replay", FLOW)
        line.execute("insert into makers values ('n1')")
        line.until({"g1": "n1"})
        eventually(lambda: not waiting(line.state), "an empty waiting room")
    assert line.letters() == []


def test_a_newer_state_closes_the_dead_letter_that_a_replay_wrote_beside_the_consumer(line: Line) -> None:
    with line.consuming():
        line.publish([("g1", 1, named(LONG)), ("g2", 1, named(LONG))])
        line.until({"g1": LONG, "g2": LONG})
        line.execute(RESTRICTED.replace("20)", "20) not valid"))
        line.sorbus("replay", FLOW, status=1)
        line.until_letters(2)
        line.publish([("g1", 2, named("short"))])
        (left,) = line.until_letters(1)
        assert left.record_id == b"g2"
    line.execute("alter table gadgets drop constraint short_name")
    line.execute("update gadgets set name = 'newer', sorbus_version = 7 where id = 'g2'")  # restored from elsewhere
    with line.consuming():
        line.publish([("g3", 1, named("another"))])
        line.until_letters(0)


def test_a_deleted_record_whose_last_state_is_refused_holds_up_no_replay(soft: Line) -> None:
    soft.execute(RESTRICTED)
    soft.publish([("g1", 1, named(LONG)), ("g1", 2, None), ("g2", 1, named("kept")), ("g2", 2, None)])
    soft.publish([("g3", 1, named("here"))])
    told = soft.sorbus("replay", FLOW)
    assert "0 refused" not in told
    assert soft.connection.execute(KEPT).fetchall() == [("g2", "kept", True), ("g3", "here", False)]
    assert soft.letters() == []
