"""`sorbus trace`: everything that is known of one record, in order of time, and what its target has now."""

from __future__ import annotations

import json
import zlib
from itertools import pairwise
from typing import TypedDict

import pytest

from sorbus.bus.record import messages_of
from sorbus.conflict.store import Conflicts, Contest
from sorbus.errors import AuthError
from sorbus.identity.candidates import Candidates, Decision
from sorbus.identity.crosswalk import Crosswalk
from sorbus.ops.trace import trace
from sorbus.state.database import State
from sorbus.waiting.store import HeldBack, WaitingEvent, WaitingStore
from tests.consumers.line import FLOW, RESTRICTED, Line, named
from tests.consumers.plugin import line, make_line
from tests.ops.test_duplicates import MATCHER, OURS, THERE, Typed, state, typed

__all__ = ["line", "make_line", "state", "typed"]


class Told(TypedDict):
    at: str
    kind: str
    where: str
    what: str
    changes: dict[str, list[object]]


def moments(told: str) -> list[Told]:
    found: list[Told] = json.loads(told)["moments"]
    return found


def test_the_events_of_a_record_say_what_changed(line: Line, typed: Typed) -> None:
    line.publish([("g1", 1, named("One")), ("g2", 1, named("Other")), ("g1", 2, named("Two"))])
    told = typed("trace", "gadget", "g1", "--json")
    first, second = moments(told)
    assert (first["kind"], second["kind"]) == ("event", "event")
    assert "version 1" in first["what"]
    assert second["changes"] == {"name": ["One", "Two"]}
    assert json.loads(told)["record"]["name"] == "Two"
    (target,) = json.loads(told)["targets"]
    assert (target["flow"], target["said"]) == (FLOW, "not there yet")
    with line.consuming():
        line.until({"g1": "Two", "g2": "Other"})
    assert "up to date" in typed("trace", "gadget", "g1")
    line.publish([("g1", 3, None)])
    told = typed("trace", "gadget", "g1")
    assert "deleted in" in told
    assert "still there, and deleted at its owner" in told


def test_all_that_happened_on_the_way_is_told_in_order(line: Line, state: State, typed: Typed) -> None:
    line.execute(RESTRICTED)
    with line.consuming():
        line.publish([("g1", 1, named(OURS)), ("g2", 1, named(OURS))])
        line.until_letters(2)
    candidates = Candidates(state, "books", "gadget", "gadgets")
    verdict = MATCHER.judge({"name": OURS}, THERE)
    number = candidates.put("g1", 1, verdict, MATCHER, {"name": OURS}, THERE)
    candidates.decide(number, Decision("link", "X1"), who="Sales", reason="same thing")
    Crosswalk(state, "books", "gadget", "gadgets").link("g1", "X1", 1, {})
    conflicts = Conflicts(state, "books", "gadget", "gadgets")
    (conflict,) = conflicts.put("g1", 2, FLOW, "X1", [Contest("name", "n", "theirs", "ours")], asks=True)
    conflicts.decide(conflict, "keep", who="Finance", reason="they know")
    event = WaitingEvent(b"g1", 3, b"frame", [], line.topic, 0, 9)
    WaitingStore(state, FLOW, "gadget", "books").put(
        [HeldBack(event, "incomplete", [("note", "")], "it lacks note")], limit=60
    )

    found = moments(typed.json("trace", "gadget", "g1", status=1))
    kinds = [one["kind"] for one in found]
    assert sorted(kinds) == sorted(
        ["event", "letter", "duplicate", "duplicate", "crosswalk", "crosswalk", "conflict", "conflict", "waiting"]
    )
    assert all(before["at"] <= after["at"] for before, after in pairwise(found))
    said = "\n".join(one["what"] for one in found)
    for words in (
        "became a dead letter",
        "may be there already as X2, X1",
        "Sales: link X1 (same thing)",
        "it is X1 there",
        "name was changed by hand in X1",
        "Finance decided (they know)",
        "it lacks note",
    ):
        assert words in said
    assert "refused" in typed("trace", "gadget", "g1", status=1)


def test_what_cant_be_asked_is_said_and_the_rest_holds(line: Line, typed: Typed) -> None:
    line.publish([("g1", 1, named("One"))])
    line.execute("alter table gadgets rename to gone")
    told = json.loads(typed("trace", "gadget", "g1", "--json"))
    assert len(told["moments"]) == 1
    (target,) = told["targets"]
    assert target["said"] == "unknown"
    assert "gadgets" in target["problem"]
    assert json.loads(typed("trace", "gadget", "g1", "--no-targets", "--json"))["targets"] == []


def test_a_topic_that_cant_be_read_says_nothing_of_what_was_published(
    line: Line, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.publish([("g1", 1, named("One"))])

    def fails(*_: object, **__: object) -> None:
        raise AuthError("reading it: Kafka denies access")

    monkeypatch.setattr(trace.KeyIndex, "find", fails)
    told = typed("trace", "gadget", "g1", status=1)
    assert not any(words in told for words in ("Sorbus never published one", "or never published", "Nothing is known"))
    assert "what Sorbus published of it isn't known (its topic: reading it: Kafka denies access)" in told


def test_a_record_that_nobody_knows_is_a_finding(line: Line, typed: Typed) -> None:
    assert "Nothing is known of it" in typed("trace", "gadget", "g9", status=1)
    assert "no data type 'gadgets'" in typed("trace", "gadgets", "g9", status=2)


def test_only_the_records_own_partition_is_read_unless_it_holds_nothing(line: Line) -> None:
    line.publish([(f"g{n}", 1, named(f"Gadget {n}")) for n in range(20)])
    for n in range(20):
        (message,) = messages_of(line.settings, line.topic, f"g{n}".encode(), "test")
        assert message.partition() == zlib.crc32(f"g{n}".encode()) % 2
    value, headers = line.writer.event("far", 1, named("Far"))
    line.write("far", value, headers, partition=(zlib.crc32(b"far") + 1) % 2)
    line.flush()
    (message,) = messages_of(line.settings, line.topic, b"far", "test")
    assert message.partition() == (zlib.crc32(b"far") + 1) % 2, "written when the topic had fewer partitions"


def test_the_trace_ends_with_what_each_system_shows_and_who_can_fix_it(line: Line, state: State, typed: Typed) -> None:
    assert state.schema

    def summary(id: str, status: int = 0) -> list[str]:
        found: list[str] = json.loads(typed("trace", "gadget", id, "--json", status=status))["summary"]
        return found

    line.execute("create schema crm; create table crm.gadgets (id text primary key, name text)")
    line.execute("create table crm.lines (id text, sku text, quantity int, primary key (id, sku))")
    source = "{table: crm.gadgets, children: {lines: {table: crm.lines, parent: [id]}}}"
    path = line.folder / "map.yaml"
    path.write_text(path.read_text().replace("source: {table: gadgets}", f"source: {source}"))
    line.execute("insert into crm.gadgets values ('g1', 'One'), ('g2', 'Newer'), ('g4', 'Four')")
    line.publish([("g1", 1, named("One")), ("g2", 1, named("Two")), ("g3", 1, named("Three"))])
    owner, target = summary("g1")
    assert owner.startswith("crm (the owner) has it as Sorbus published it, since 20")
    assert "books does not have it: " in target
    line.execute(RESTRICTED)
    with line.consuming():
        line.until({"g1": "One", "g2": "Two", "g3": "Three"})
        line.publish([("g1", 2, named("Much longer than the target takes"))])
        line.until_letters(1)
    owner, target = summary("g1", status=1)
    assert "crm (the owner) has changed name, and Sorbus has not published that yet: " in owner
    assert "its producer is not running" in owner or "within moments" in owner
    assert "books does not show the state of 20" in target
    assert "became a dead letter" in target
    assert "Finance can settle it, see `sorbus dlq show " in target
    owner, target = summary("g2")
    assert "has changed name" in owner
    assert "which is no longer the owner's" in target
    assert "no longer has it, and Sorbus has not published that yet" in summary("g3")[0]
    assert "crm (the owner) has it, and Sorbus has not published that yet" in summary("g4", status=1)[0]
    assert "check the ID with Sales" in summary("g9", status=1)[0]
    line.execute("drop table crm.gadgets")
    assert "can't be told: " in summary("g1", status=1)[0]
