"""What figures mean for people: the worst that can be said of a flow or system, in a word or two."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sorbus.http_api.limits.budgets import Budget, Window
from sorbus.map.contact import Contact
from sorbus.map.render.layout import text_width
from sorbus.mapfile.model import Map
from sorbus.ops.checklists.occurrences import Checklist, Round
from sorbus.ops.checklists.standings import ChecklistStandings
from sorbus.ops.conflicts.counts import ConflictCounts
from sorbus.ops.console import template_filters
from sorbus.ops.console.drawing import draw_live
from sorbus.ops.console.health_status import badges_of
from sorbus.ops.dead_letters.counts import LetterCounts
from sorbus.ops.decisions.open_decisions import HealthBadge, OpenDecisions
from sorbus.ops.drift.counts import DriftCounts
from sorbus.ops.duplicates.counts import DuplicateCounts
from sorbus.ops.monitoring.flow_state import FlowState
from sorbus.ops.monitoring.measure import Measurement
from sorbus.ops.waiting.counts import WaitingCounts

MORNING = datetime(2026, 11, 2, 9, tzinfo=UTC)
FLOW = "order-to-books"
START = "no consumer runs: start it with `sorbus up` or `sorbus consume`"
BOLD = 13.5
"""As wide as `text_width` must think a sign's 12 pixels are, which browsers draw bold."""
COMPANY = Map.model_validate(
    {
        "systems": {"crm": {"kind": "postgres"}, "books": {"kind": "http"}, "old": {"kind": "postgres"}},
        "data_types": {"order": {"system_of_record": "crm"}},
        "flows": [
            {"data_type": "order", "to": "books"},
            {"data_type": "order", "to": "old", "none": "it is switched off in spring"},
        ],
    }
)
STATE = FlowState(FLOW, "order", "books", "running", 1, 100, 0, 0.0, 5.0, 0, 1000.0, 0.0)
WELL = Measurement(2000.0, (STATE,), (), {("order", FLOW): 0}, {"crm": 0})


def seen(state: FlowState = STATE, *decisions: OpenDecisions, **other: object) -> Measurement:
    letters = LetterCounts({("order", FLOW): state.dead_letters}, {"order": "crm"})
    return replace(WELL, flows=(state,), decisions=(letters, *decisions), **other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("measured", "sign"),
    [
        (seen(), HealthBadge("ok", "up to date")),
        (seen(replace(STATE, lag_records=1200, lag_seconds=3.0)), HealthBadge("ok", "1,200 to deliver")),
        (seen(replace(STATE, members=0, state="down")), HealthBadge("bad", "not running", START)),
        (seen(replace(STATE, lag_records=5, lag_seconds=400.0)), HealthBadge("bad", "7 min behind")),
        (seen(replace(STATE, dead_letters=1)), HealthBadge("bad", "1 dead letter")),
        (seen(replace(STATE, dead_letters=4000)), HealthBadge("bad", "4,000 dead letters")),
        (seen(replace(STATE, members=0, state="down", dead_letters=4000)), HealthBadge("bad", "not running", START)),
        (seen(replace(STATE, members=0, state="waiting", period=900.0)), HealthBadge("idle", "scheduled")),
        (
            seen(replace(STATE, members=0, state="waiting", period=900.0, lag_records=3, lag_seconds=1000.0)),
            HealthBadge("bad", "not running, changes wait"),
        ),
        (seen(STATE, DuplicateCounts({FLOW: 2})), HealthBadge("warn", "2 possible duplicates")),
        (
            seen(STATE, WaitingCounts({(FLOW, "incomplete"): 1, (FLOW, "reference"): 2})),
            HealthBadge("warn", "3 records waiting"),
        ),
        (seen(STATE, ConflictCounts({(FLOW, "open"): 1, (FLOW, "overwritten"): 7})), HealthBadge("warn", "1 conflict")),
        (seen(replace(STATE, state="joining")), HealthBadge("warn", "joining")),
        (
            seen(lost=(f"{FLOW}: 3 messages were removed",)),
            HealthBadge("bad", "needs action", "3 messages were removed"),
        ),
        (seen(lost=("order: topic order isn't there",)), HealthBadge("bad", "needs action", "topic order isn't there")),
        (seen(lost=("customer: topic customer isn't there",)), HealthBadge("ok", "up to date")),
        (seen(notes={(FLOW, "stale"): "it is newer"}), HealthBadge("warn", "target is newer", "it is newer")),
        (seen(notes={(FLOW, "hot"): "a record changes often"}), HealthBadge("ok", "up to date")),
        (None, HealthBadge("idle", "not measured yet")),
    ],
)
def test_a_flow_says_the_worst_of_it(measured: Measurement | None, sign: HealthBadge) -> None:
    assert badges_of(COMPANY, measured).flows[FLOW] == sign


@pytest.mark.parametrize(
    ("measured", "system", "sign"),
    [
        (seen(), "crm", HealthBadge("ok", "OK")),
        (seen(), "books", HealthBadge("ok", "OK")),
        (seen(), "old", HealthBadge("idle", "not connected")),
        (seen(slots={"crm": None}), "crm", HealthBadge("bad", "lag unavailable")),
        (seen(STATE, DriftCounts({("crm", "held"): 1})), "crm", HealthBadge("bad", "1 changed field")),
        (seen(STATE, DriftCounts({("crm", "info"): 2})), "crm", HealthBadge("warn", "2 changed fields")),
        (seen(STATE, LetterCounts({("order", ""): 3}, {"order": "crm"})), "crm", HealthBadge("bad", "3 rows rejected")),
        (seen(budgets=(Budget("books", (), 0, 90, False),)), "books", HealthBadge("bad", "down for 90 s")),
        (seen(budgets=(Budget("books", (), 8, 0, False),)), "books", HealthBadge("warn", "rate limited for 8 s")),
        (
            seen(budgets=(Budget("books", (Window(86400, 5000, 300),), 0, 0, False),)),
            "books",
            HealthBadge("warn", "rate limit nearly used up"),
        ),
        (seen(standbys={"crm": ("it lags",)}), "crm", HealthBadge("warn", "standby not ready", "it lags")),
        (seen(standbys={"crm": ()}), "crm", HealthBadge("ok", "OK")),
    ],
)
def test_a_system_says_the_worst_of_it(measured: Measurement, system: str, sign: HealthBadge) -> None:
    assert badges_of(COMPANY, measured).systems[system] == sign


@pytest.mark.parametrize(
    ("overdue_since", "done", "sign"),
    [
        (None, (), HealthBadge("idle", "by hand, open")),
        (MORNING, (), HealthBadge("bad", "by hand, overdue")),
        (None, (Round(MORNING, MORNING, "Mara", "counted"),), HealthBadge("ok", "by hand, done")),
    ],
)
def test_a_flow_by_hand_says_whether_it_is_done(
    overdue_since: datetime | None, done: tuple[Round, ...], sign: HealthBadge
) -> None:
    manual = {"checklist": ["copy"], "schedule": "weekly", "responsible": "Finance", "verification": "count"}
    flow = {"data_type": "order", "to": "books", "manual": manual}
    company = Map.model_validate(
        {**COMPANY.model_dump(include={"systems", "data_types"}, by_alias=True), "flows": [flow]}
    )
    person = Contact("Finance")
    one = Checklist(FLOW, "order", "books", person, "weekly", "", (), MORNING, MORNING, overdue_since, done)
    assert badges_of(company, seen(STATE, ChecklistStandings((one,)))).flows[FLOW] == sign


def test_what_a_drawing_says_fits_its_boxes() -> None:
    long = Map.model_validate(
        {
            "systems": {"a" * 63: {"kind": "postgres", "owner": "x" * 200}, "books": {"kind": "http"}},
            "data_types": {"order": {"system_of_record": "a" * 63}},
            "flows": [{"data_type": "order", "to": "books", "name": FLOW}],
        }
    )
    measured = seen(replace(STATE, dead_letters=123_456_789, lag_records=123_456_789), slots={"a" * 63: None})
    drawing = draw_live(long, badges_of(long, measured), measured)
    for system in drawing.systems:
        taken = text_width(system.name, 15) + text_width(system.said, BOLD)
        assert taken <= system.width - 48, system.name
        assert text_width(system.below, 12) <= system.width - 32
    assert drawing.flows[0].sign == HealthBadge("bad", "123,456,789 dead letters")


@pytest.mark.parametrize(
    ("data_type", "owner", "of_target", "of_flow"),
    [
        ("order", "unreachable", "unreachable since 14:36 UTC", "unreachable since 14:36 UTC"),
        ("sales_order_confirmation", "unreachable", "unreachable since 14:36 UTC", "unreachable"),
    ],
)
def test_since_when_is_left_out_where_there_is_no_room_for_it(
    data_type: str, owner: str, of_target: str, of_flow: str
) -> None:
    company = Map.model_validate(
        {
            "systems": {"crm": {"kind": "postgres"}, "books": {"kind": "http"}},
            "data_types": {data_type: {"system_of_record": "crm"}},
            "flows": [{"data_type": data_type, "to": "books", "name": FLOW}],
        }
    )
    away = HealthBadge("bad", "unreachable since 14:36 UTC", "why")
    signs = replace(badges_of(company, None), systems={"crm": away, "books": away}, flows={FLOW: away})
    drawing = draw_live(company, signs, None)

    assert {system.box.name: system.said for system in drawing.systems} == {"crm": owner, "books": of_target}
    assert drawing.flows[0].said == of_flow
    for system in drawing.systems:
        assert text_width(system.name, 15) + text_width(system.said, BOLD) <= system.width - 48


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172800, "2 d")]
)
def test_a_span_is_said_in_one_unit(seconds: float, text: str) -> None:
    assert template_filters.span(seconds) == text


def test_moments_and_figures_are_as_people_read_them() -> None:
    assert template_filters.number(1234567) == "1,234,567"
    assert template_filters.number(None) == "–"
    assert template_filters.ago(None) == template_filters.moment(None) == "never"
    told = template_filters.ago(datetime.now(UTC) - timedelta(hours=3))
    assert ">3 h ago</time>" in told
    points = [template_filters.Point(0.0, 0), template_filters.Point(10.0, 50), template_filters.Point(20.0, 100)]
    assert template_filters.sparkline(points, 100, 50) == "0.0,48.0 50.0,25.0 100.0,2.0"
