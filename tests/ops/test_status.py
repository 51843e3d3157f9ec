"""`sorbus status`: what it shows of a measurement, and what its exit code says."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from sorbus.http_api.limits.budgets import Budget, Window
from sorbus.ops.duplicates.counts import DuplicateCounts
from sorbus.ops.embedded import Addresses
from sorbus.ops.monitoring.flow_state import FlowState
from sorbus.ops.monitoring.measure import Measurement, TopicState
from sorbus.ops.monitoring.status import ago, as_json, as_table

if TYPE_CHECKING:
    from tests.ops.conftest import Sorbus

FLOW = FlowState("order-to-books", "order", "books", "running", 1, 7, 0, 0.0, None, 0, 990.0, 0.0)
LATE = replace(FLOW, flow="order-to-shop", target="shop", lag_records=12345, lag_seconds=700.0, rate=250.4)


def measured(*flows: FlowState) -> Measurement:
    letters = {("order", flow.flow): flow.dead_letters for flow in flows}
    return Measurement(1000.0, flows, (TopicState("order", 990.0, 10),), letters, {"crm": 4096, "erp": None})


def text(measurement: Measurement, width: int = 160) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(as_table(measurement, now=1000.0))
    return stream.getvalue()


def test_the_table_shows_each_flow_and_what_is_wrong_below() -> None:
    shown = [line.split() for line in text(measured(FLOW, LATE)).splitlines()]
    assert shown[1] == ["order-to-books", "running", "0", "0", "-", "0", "10", "s", "ago"]
    assert shown[2] == ["order-to-shop", "running", "12,345", "700", "250", "0", "10", "s", "ago"]
    below = [" ".join(words) for words in shown[3:]]
    assert "crm holds back 4,096 bytes for its producer" in below
    assert "erp holds back an unknown amount for its producer" in below
    assert "order-to-shop: 700 s behind" in below


@pytest.mark.parametrize("width", [160, 80, 62])
def test_no_figure_and_no_word_is_cut_where_there_is_little_room(width: int) -> None:
    """A lag of 1,234,567 must not be shown as one of 1,2: a name may take several lines, a figure may not."""
    name = "customer_invoice_lines-to-accounting_warehouse"
    shown = text(measured(replace(LATE, flow=name, lag_records=1_234_567, dead_letters=40_231)), width)
    assert "…" not in shown
    assert "1,234,567" in shown
    assert "40,231" in shown
    column = "".join(line.split(" ")[0] for line in shown.splitlines()[1:] if line.strip())
    assert name in column


@pytest.mark.parametrize(
    ("flow", "complaint"),
    [
        (FLOW, None),
        (replace(FLOW, lag_seconds=299.0, lag_records=5), None),
        (replace(FLOW, lag_seconds=301.0, lag_records=5), "301 s behind"),
        (replace(FLOW, lag_seconds=301.0, lag_records=5, period=900.0), None),
        (replace(FLOW, members=0), "no consumer runs"),
        (replace(FLOW, members=0, period=900.0), None),
        (
            replace(FLOW, members=0, lag_records=1, lag_seconds=1000.0, period=900.0),
            "changes are waiting and no consumer runs",
        ),
        (replace(FLOW, dead_letters=1), "1 dead letter open"),
        (replace(FLOW, dead_letters=3), "3 dead letters open"),
    ],
)
def test_a_flow_complains_when_somebody_should_look(flow: FlowState, complaint: str | None) -> None:
    assert flow.complaint == complaint


def test_json_holds_all_that_the_table_shows() -> None:
    found = as_json(measured(LATE))
    json.dumps(found)
    flows = found["flows"]
    assert isinstance(flows, list)
    (flow,) = flows
    assert isinstance(flow, dict)
    assert (flow["flow"], flow["lag_records"], flow["complaint"]) == ("order-to-shop", 12345, "700 s behind")
    assert found["source_lag_bytes"] == {"crm": 4096, "erp": None}


XERO = Budget("accounting", (Window(60.0, 60, 58), Window(86_400.0, 5000, 4812)), 0.0, 0.0, probing=False)


def test_what_is_left_of_a_systems_budget_is_below_the_table_and_in_json() -> None:
    seen = replace(measured(FLOW), budgets=(XERO,))
    assert "accounting: 4,812 of 5,000 requests left today, 60/min; circuit closed" in text(seen)
    assert seen.complaints() == []
    assert as_json(seen)["systems"] == [
        {
            "system": "accounting",
            "windows": [
                {"window": "minute", "seconds": 60.0, "requests": 60, "left": 58},
                {"window": "day", "seconds": 86_400.0, "requests": 5000, "left": 4812},
            ],
            "told_to_wait_seconds": 0.0,
            "circuit": "closed",
            "down_seconds": 0.0,
        }
    ]


def test_records_that_may_be_there_already_are_said_below_the_table() -> None:
    seen = replace(measured(FLOW), decisions=(DuplicateCounts({"order-to-books": 3, "order-to-crm": 0}),))
    assert "order-to-books: 3 may be there already: sorbus duplicates list" in text(seen)
    assert "order-to-crm" not in text(seen)
    assert as_json(seen)["duplicates"] == {"order-to-books": 3, "order-to-crm": 0}


def test_a_system_that_is_down_or_has_spent_its_day_is_a_complaint() -> None:
    down = replace(XERO, windows=(Window(86_400.0, 5000, 499),), blocked=12.0, down=700.0)
    assert str(down) == "accounting: 499 of 5,000 requests left today; told to wait 12 s; circuit open for 700 s"
    assert down.complaints() == [
        "accounting: is down, its circuit has been open for 700 s",
        "accounting: only 499 of 5,000 requests left today",
    ]


def test_requests_of_a_month_are_said_as_those_of_a_day_are() -> None:
    month = Window(30 * 86_400.0, 100_000, 9_999)
    budget = Budget("crm", (Window(60.0, 60, 0), month), 0.0, 0.0, probing=False)
    assert month.name == "30 days"
    assert str(budget) == "crm: 9,999 of 100,000 requests left within 30 days, 60/min; circuit closed"
    assert budget.complaints() == ["crm: only 9,999 of 100,000 requests left within 30 days"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(-3, "0 s ago"), (59, "59 s ago"), (150, "2 min ago"), (7200, "2 h ago"), (9e5, "10 d ago")]
)
def test_times_are_said_in_one_unit(seconds: float, words: str) -> None:
    assert ago(seconds) == words


@pytest.fixture
def env(stack: Addresses, unique: str, make_database: Callable[[str], str], tmp_path: Path) -> dict[str, str]:
    """Where a small map is, whose topics are not made yet, and everything it needs."""
    file = tmp_path / "map.yaml"
    file.write_text(
        f"""
topic_prefix: {unique}
systems:
  crm: {{kind: postgres, connection: {{dsn: "${{CRM_DSN}}"}}}}
  books: {{kind: postgres, connection: {{dsn: "${{CRM_DSN}}"}}}}
data_types:
  thing: {{system_of_record: crm, source: {{table: public.things}}}}
flows:
  - {{data_type: thing, to: books, target: {{table: copied_things}}}}
"""
    )
    return {**stack.env(), "CRM_DSN": make_database(""), "SORBUS_MAP": str(file)}


def test_status_is_fine_to_look_at_and_check_says_that_somebody_should(sorbus: Sorbus, env: dict[str, str]) -> None:
    looked = sorbus("status", "--json", **env)
    assert looked.exit_code == 0, looked.stderr
    state, missing, *others = json.loads(looked.stdout)["complaints"]
    assert state.startswith("the state database (SORBUS_DATABASE): not readable since ")
    assert "run `sorbus apply`, which creates the state" in state
    assert missing.startswith("thing: topic ")
    assert "isn't there, so nothing is published or delivered; run `sorbus apply`" in missing
    assert others == ["thing-to-books: no consumer runs"]
    checked = sorbus("status", "--check", **env)
    assert checked.exit_code == 1
    assert "thing-to-books: no consumer runs" in checked.stdout


def test_an_unreachable_kafka_is_said_in_plain_words(
    sorbus: Sorbus, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sorbus.bus.topic_facts._TIMEOUT", 0.5)
    done = sorbus("status", **{**env, "SORBUS_KAFKA": "127.0.0.1:1"})
    assert done.exit_code == 3
    assert "sorbus: Kafka (SORBUS_KAFKA) is unreachable, because listing topics: " in done.stderr
    assert "check that Kafka runs at the address in SORBUS_KAFKA" in done.stderr
