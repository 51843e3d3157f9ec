"""Replay as people run it: an emptied target is rebuilt beside its consumer, and a point in time is respected."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.consumers.gadgets import make_tables
from tests.consumers.line import FLOW, RESTRICTED, Line, eventually, named
from tests.consumers.plugin import MakeLine, line, make_line

__all__ = ["line", "make_line"]
LINES = "select parent_id, sku from gadget_lines order by 1, position"
LONG = "a name that is too long for it"


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
