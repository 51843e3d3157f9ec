"""Who is called when a flow waits beyond its limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sorbus.map.contact import Contact
from sorbus.mapfile.model import Map
from sorbus.ops.monitoring.escalation import Escalation, Escalations
from sorbus.ops.monitoring.flow_state import FlowState

NOW = 100_000.0
WELL = FlowState("order-to-books", "order", "books", "running", 1, 7, 0, 0.0, None, 0, 990.0, 0.0)


def company(**flow: str) -> Map:
    return Map.model_validate(
        {
            "systems": {"crm": {"kind": "postgres"}, "books": {"kind": "postgres", "owner": "Finance <f@example.com>"}},
            "data_types": {"order": {"system_of_record": "crm"}},
            "flows": [{"data_type": "order", "to": "books", **flow}],
        }
    )


def called(flow: FlowState, **written: str) -> list[Escalation]:
    return list(Escalations(company(**written)).of([flow], NOW))


def test_a_flow_that_is_well_calls_nobody() -> None:
    assert called(WELL) == []
    assert called(replace(WELL, lag_records=9, lag_seconds=3599.0, dead_letters=1, oldest_letter=NOW - 3599)) == []


def test_changes_that_wait_beyond_the_limit_call_the_targets_owner() -> None:
    [found] = called(replace(WELL, lag_records=9, lag_seconds=7300.0))

    assert (found.why, found.person, found.limit) == ("late", Contact("Finance", "f@example.com"), 3600.0)
    assert found.words == "call Finance <f@example.com>: 9 changes to books have waited up to 2 h, and 1 h is the limit"


def test_letters_that_stay_open_call_whom_the_flow_names() -> None:
    stale = replace(WELL, dead_letters=1, oldest_letter=NOW - 400)

    [found] = called(stale, escalate_after="5m", escalate_to="Ann Lee")

    assert (found.why, found.records, found.seconds, found.person) == ("letters", 1, 400.0, Contact("Ann Lee"))
    assert found.words.startswith("call Ann Lee: 1 dead letter has been open up to")


@pytest.mark.parametrize(("seconds", "calls"), [(86_400.0 + 3599.0, 0), (86_400.0 + 3601.0, 1)])
def test_a_schedules_own_pause_does_not_count(seconds: float, calls: int) -> None:
    nightly = replace(WELL, period=86_400.0, lag_records=9, lag_seconds=seconds)

    assert len(called(nightly, timing="cron 0 2 * * *")) == calls


def test_a_flow_may_call_nobody() -> None:
    assert called(replace(WELL, lag_records=9, lag_seconds=1e6), escalate_after="off") == []


def test_where_the_map_names_nobody_the_words_say_so() -> None:
    nobody = company().model_copy(update={"systems": {}})

    [found] = Escalations(nobody).of([replace(WELL, lag_records=1, lag_seconds=7200.0)], NOW)

    assert found.person is None
    assert found.words.startswith("no contact in the map: write `escalate_to:`: 1 change to books has")
