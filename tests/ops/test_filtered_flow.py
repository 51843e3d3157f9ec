"""A flow with a `where`, as people see it: counts, trace, plan, and a condition that is changed while it runs."""

from __future__ import annotations

import json
import time

import psycopg
import pytest

from sorbus.state.database import State
from tests.conftest import Report
from tests.consumers.line import FLOW, MAP, Line, eventually, named
from tests.consumers.plugin import line, make_line
from tests.history.test_history import counted
from tests.ops.test_duplicates import Typed, state, typed

__all__ = ["line", "make_line", "state", "typed"]

FILTERED = MAP.replace("    to: books\n", '    to: books\n    where: name != "Other"\n    on_leave: delete\n')


def test_a_running_flow_carries_what_fits_and_says_so(line: Line, state: State, typed: Typed) -> None:
    assert FILTERED != MAP
    line.write_map(FILTERED.format(prefix=line.loaded.map.topic_prefix[:-1], timing="real-time"), "")
    with line.process() as process:
        line.publish([(f"g{n}", 1, named(f"Gadget {n}")) for n in range(20)])
        line.publish([(f"o{n}", 1, named("Other")) for n in range(10)])
        line.publish([("g1", 2, named("Other")), ("g2", 2, named("Other")), ("g2", 3, named("Two"))])
        line.publish([("last", 1, named("Last"))])
        line.until({f"g{n}": f"Gadget {n}" if n != 2 else "Two" for n in range(20) if n != 1} | {"last": "Last"})
        process.end()
    eventually(lambda: counted(state).get("filtered") in (11, 12), "the events outside of where")
    told = json.loads(typed("trace", "gadget", "o3", "--json"))
    assert told["targets"][0]["said"] == "outside of the flow's `where`"
    plan = json.loads(typed("plan", FLOW, "--json"))
    assert plan["counts"] == {**dict.fromkeys(plan["counts"], 0), "nothing": 20, "filter": 11}
    assert "outside of where" in typed("plan", FLOW)


def test_a_changed_condition_does_what_its_plan_said(line: Line, state: State, typed: Typed) -> None:
    line.publish([(f"g{n}", n + 1, named(f"Gadget {n}" if n % 3 else "Other")) for n in range(30)])
    with line.consuming():
        line.until({f"g{n}": f"Gadget {n}" if n % 3 else "Other" for n in range(30)})
    line.write_map(FILTERED.format(prefix=line.loaded.map.topic_prefix[:-1], timing="real-time"), "")
    plan = json.loads(typed("plan", FLOW, "--json", status=0))
    assert (plan["counts"]["delete"], plan["counts"]["nothing"]) == (10, 20)
    typed("replay", FLOW)
    with psycopg.connect(line.dsn) as target:
        others = "select count(*), count(*) filter (where name = 'Other') from gadgets"
        assert target.execute(others).fetchone() == (20, 0)


@pytest.mark.slow
def test_a_condition_changed_on_a_hundred_thousand_records_does_what_its_plan_said(
    line: Line, state: State, typed: Typed, report: Report
) -> None:
    """From one condition to another that overlaps it; who writes meanwhile is delivered by the new one."""
    count, prefix = 100_000, line.loaded.map.topic_prefix[:-1]
    kinds = ("A", "B", "C", "D")
    first = MAP.replace("    to: books\n", '    to: books\n    where: name in ["A", "B"]\n    on_leave: delete\n')
    second = first.replace('["A", "B"]', '["B", "C"]')
    line.write_map(first.format(prefix=prefix, timing="real-time"), "")
    held = "select name, count(*) from gadgets group by 1 order by 1"
    with line.process() as process, psycopg.connect(line.dsn, autocommit=True) as target:
        for begin in range(0, count, 10_000):
            line.publish([(f"g{n}", 1, named(kinds[n % 4])) for n in range(begin, begin + 10_000)])
        expected = [("A", count // 4), ("B", count // 4)]
        eventually(lambda: target.execute(held).fetchall() == expected, "the records of the first condition", 120)
        process.end()
    line.write_map(second.format(prefix=prefix, timing="real-time"), "")
    began = time.monotonic()
    plan = json.loads(typed("plan", FLOW, "--json", status=0))
    counts = {name: number for name, number in plan["counts"].items() if number}
    report(f"planned in {time.monotonic() - began:.1f} s: {counts}")
    assert counts == {"create": count // 4, "delete": count // 4, "nothing": count // 4, "filter": count // 4}
    began = time.monotonic()
    with line.process() as process, psycopg.connect(line.dsn, autocommit=True) as target:
        typed("replay", FLOW)
        report(f"replayed in {time.monotonic() - began:.1f} s")
        line.publish([("g0", 2, named("C")), ("g1", 2, named("D"))])  # A -> C comes, B -> D leaves
        expected = [("B", count // 4 - 1), ("C", count // 4 + 1)]
        eventually(lambda: target.execute(held).fetchall() == expected, "the records of the second condition", 120)
        process.end()


def test_reconciliation_finds_what_is_outside_and_still_there(line: Line, state: State, typed: Typed) -> None:
    line.write_map(FILTERED.format(prefix=line.loaded.map.topic_prefix[:-1], timing="real-time"), "")
    with line.process() as process:
        line.publish([(f"g{n}", n + 1, named(f"Gadget {n}" if n % 3 else "Other")) for n in range(30)])
        line.until({f"g{n}": f"Gadget {n}" for n in range(30) if n % 3})
        assert json.loads(typed("reconcile", FLOW, "--json"))["counts"] == {}
        line.execute("insert into gadgets (id, name, sorbus_version) values ('g3', 'Other', 0)")
        line.execute("update gadgets set name = 'changed' where id = 'g4'")
        line.execute("delete from gadgets where id = 'g5'")
        found = json.loads(typed.json("reconcile", FLOW, status=1))
        assert {one["id"]: one["kind"] for one in found["differences"]} == {
            "g3": "extra",
            "g4": "different",
            "g5": "missing",
        }
        process.end()
    refused = typed("certify", "gadget", "--out", "paper.json", status=2)
    assert "condition (`where`)" in " ".join(refused.split())
