"""`sorbus plan FLOW`: what it says before the first run is what the run then does, and a plan can be compared later."""

from __future__ import annotations

import csv
import json
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office, execute, rows_of
from tests.consumers.gadgets import gadget
from tests.consumers.line import FLOW, RESTRICTED, Line
from tests.consumers.plugin import line, make_line
from tests.ops import reconcile_company as company

__all__ = ["line", "make_line"]


def _record(name: str, **more: object) -> dict[str, object]:
    return gadget(name, lines=[], **more)


def test_counts_are_of_the_newest_states_and_nothing_is_written(line: Line, tmp_path: Path) -> None:
    line.execute(RESTRICTED)
    line.execute(
        "insert into gadgets (id, name, sorbus_version) values ('g2', 'old', 1), ('g3', 'same', 5), ('g4', 'x', 1)"
    )
    line.publish(
        [
            ("g1", 1, _record("first")),
            ("g1", 2, _record("second")),
            ("g2", 3, _record("new", note="n")),
            ("g3", 5, _record("same")),
            ("g4", 6, None),
            ("g5", 7, _record("a name that is too long for it")),
            ("g6", 8, _record("gone")),
            ("g6", 9, None),
        ]
    )
    before = line.rows()
    for name in ("plan.jsonl", "plan.csv"):
        told = json.loads(line.sorbus("plan", FLOW, "--json", "--out", str(tmp_path / name), status=1).splitlines()[0])
        counts = {action: count for action, count in told["counts"].items() if count}
        assert counts == {"create": 1, "update": 1, "delete": 1, "nothing": 2, "refuse": 1}
        assert told["fields"] == {"name": 1, "note": 1}
    with (tmp_path / "plan.csv").open(newline="") as file:
        actions = {row["id"]: row["action"] for row in csv.DictReader(file)}
    assert actions == {"g1": "create", "g2": "update", "g3": "nothing", "g4": "delete", "g5": "refuse", "g6": "nothing"}
    assert line.rows() == before
    assert line.letters() == []
    with line.consuming():
        line.until({"g1": "second", "g2": "new", "g3": "same"})
        line.until_letters(1)
    line.publish([("g3", 10, _record("changed"))])
    for name in ("plan.jsonl", "plan.csv"):
        found = json.loads(
            line.sorbus("plan", FLOW, "--compare", str(tmp_path / name), "--json", status=1).splitlines()[0]
        )
        assert found["as_planned"] == {"create": 1, "update": 1, "delete": 1, "nothing": 1, "refuse": 1}
        [one] = found["differences"]
        assert (one["id"], one["said"], one["now"]) == ("g3", "nothing", "update")
        assert "its owner has changed it since" in one["why"]


def test_a_file_that_is_no_plan_is_a_usage_error(line: Line, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    assert "is no plan" in line.sorbus("plan", FLOW, "--compare", str(tmp_path / "x.csv"), status=2)


@pytest.mark.slow
def test_before_the_first_run_the_owner_is_read_and_the_run_does_what_was_said(
    stack: Addresses, tmp_path: Path, make_database: Callable[[str], str]
) -> None:
    dsns = [make_database("") for _ in range(4)]
    execute(dsns[0], company.OWNER, company.FILL.format(rows=300))
    env = dict(zip(("CRM_DSN", "REPORTING_DSN", "BOOKS_DSN", "SORBUS_DATABASE"), dsns, strict=True))
    execute(dsns[2], company.THEIRS)
    execute(dsns[2], "insert into their_things (no, name) values (7, 'by hand'), (1000, 'theirs')")
    office = Office(tmp_path, f"t{uuid.uuid4().hex[:12]}", {**stack.env(), **env})
    company.write(office)
    office.sorbus("apply", "--yes")
    flows = {"thing-to-reporting": {"create": 300}, "thing-to-books": {"create": 299, "update": 1}}
    for flow, expected in flows.items():
        told = json.loads(office.sorbus("plan", flow, "--json", "--out", str(tmp_path / flow)))
        assert told["source"] == "owner"
        assert {action: count for action, count in told["counts"].items() if count} == expected
    assert rows_of(dsns[1], "select count(*) n from things")[0]["n"] == 0
    with office.up():
        office.until(
            lambda: (
                ""
                if rows_of(dsns[1], "select count(*) n from things")[0]["n"] == 300
                and rows_of(dsns[2], "select count(*) n from their_things")[0]["n"] == 301
                else "rows"
            ),
            60,
            every=0.2,
        )
    for flow, expected in flows.items():
        found = json.loads(office.sorbus("plan", flow, "--json", "--compare", str(tmp_path / flow)))
        assert found == {"as_planned": expected, "differences": []}
        told = json.loads(office.sorbus("plan", flow, "--json", "--from-owner"))
        assert {action: count for action, count in told["counts"].items() if count} == {"nothing": 300}
