"""What waits for people in two-way data types is counted: tables are not compared, but their changes are merged."""

from __future__ import annotations

import time

import pytest

from sorbus.conflict.store import Conflicts, Contest, OpenField
from sorbus.mapfile.model import Map
from sorbus.ops.conflicts.counts import ConflictCounts, conflict_counts
from sorbus.ops.monitoring.flow_state import FlowState
from sorbus.state import State

POSTGRES = {"kind": "postgres"}
COMPANY = Map.model_validate(
    {
        "systems": {"crm": POSTGRES, "books": POSTGRES, "wiki": POSTGRES},
        "data_types": {"customer": {"system_of_record": "crm"}},
        "flows": [
            {"data_type": "customer", "to": "books", "direction": "two-way"},
            {"data_type": "customer", "to": "wiki"},
        ],
    }
)
FLOW = "customer-to-books"


@pytest.fixture
def conflicts(state: State, database: str, monkeypatch: pytest.MonkeyPatch) -> Conflicts:
    monkeypatch.setenv("SORBUS_DATABASE", database)
    return Conflicts(state, "books", "customer", "")


def asked(conflicts: Conflicts, id: str, field: str, other: str | None = None) -> int:
    contest = Contest(field, None, "theirs", "ours", other)
    return conflicts.put(id, 1, FLOW, id, [contest], asks=True)[0]


def gauges(found: ConflictCounts, at: float) -> dict[tuple[object, ...], float]:
    flow = FlowState(FLOW, "customer", "books", "running", 1, 0, 0, 0.0, None, 0, 1.0, 0.0)
    return {(one.name, *labels): value for one in found.metrics([flow], at) for labels, value in one.samples}


def test_loops_and_old_conflicts_of_two_way_flows_are_told(conflicts: Conflicts, state: State) -> None:
    asked(conflicts, "C1", "phone")
    state.run(b"update conflict set found_at = now() - interval '4 days'")
    asked(conflicts, "C3", "email", "crm")
    number = asked(conflicts, "C4", "email", "crm")
    found = conflict_counts(COMPANY)()
    labels = (FLOW, "customer", "books")

    assert found.fields == {(FLOW, "open"): 3, (FLOW, "overwritten"): 0}
    shown = gauges(found, time.time())
    assert shown["sorbus_conflict_loops", *labels, "email", "crm"] == 2
    assert shown["sorbus_conflict_oldest_seconds", *labels] == pytest.approx(4 * 86_400, abs=60)
    [complaint] = found.complaints()
    assert complaint.startswith(f"{FLOW}: email of customer C3 and 1 more is changed in turn by books and crm; held")
    assert {badge.kind for badge in found.flow_badges(FLOW)} == {"warn", "bad"}

    conflicts.decide(number, "keep", who="ann", reason="")
    assert [one.records for _, one in conflict_counts(COMPANY)().loops] == [1]


def test_a_later_value_of_a_field_in_a_loop_is_still_about_the_loop(conflicts: Conflicts) -> None:
    number = asked(conflicts, "C3", "email", "crm")
    since = conflicts.open_fields()[0].since

    assert asked(conflicts, "C3", "email") == number
    assert conflicts.open_fields() == [OpenField("books", "customer", "email", "crm", 1, since, "C3")]
    conflicts.decide(number, "overwrite", who="ann", reason="")
    assert asked(conflicts, "C3", "email") == number
    assert conflicts.get(number).in_turn_with is None, "the loop was decided: this is another question"
