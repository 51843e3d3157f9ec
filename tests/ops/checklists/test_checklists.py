"""Flows done by hand: due, ticked, done and overdue, as their schedule says."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.audit import AuditTrail
from sorbus.errors import SorbusError
from sorbus.mapfile.model import Map
from sorbus.ops.checklists.occurrences import Round, in_hand
from sorbus.ops.checklists.store import Checklists
from sorbus.state.database import State, migrate
from sorbus.timing.schedule import parse_schedule
from tests.ops.conftest import Sorbus

MONDAY = datetime(2026, 3, 9, 9, tzinfo=UTC)
WEEK = timedelta(days=7)
FLOW = "price-to-price_book"
MAP = """
systems:
  crm: {kind: postgres, connection: {dsn: "${CRM_DSN}"}}
  price_book: {kind: spreadsheet, owner: Sales, shadow: true}
data_types:
  price: {schema: product, system_of_record: crm, source: {table: prices}}
flows:
  - data_type: price
    to: price_book
    manual:
      checklist: [Export the prices., Paste them., Tell the others.]
      schedule: SCHEDULE
      responsible: Field sales <field@example.com>
      verification: Ten prices are equal.
"""


def company(schedule: str = "Monday before 09:00") -> Map:
    manual = {
        "checklist": ["Export the prices.", "Paste them.", "Tell the others."],
        "schedule": schedule,
        "responsible": "Field sales <field@example.com>",
        "verification": "Ten prices are equal.",
    }
    return Map.model_validate(
        {
            "systems": {"crm": {"kind": "postgres"}, "price_book": {"kind": "spreadsheet"}},
            "data_types": {"price": {"system_of_record": "crm"}},
            "flows": [{"data_type": "price", "to": "price_book", "manual": manual}],
        }
    )


@pytest.fixture
def known_since(state: State) -> Callable[[datetime], None]:
    """Has Sorbus know of the schedule since another moment."""

    def set_back(moment: datetime) -> None:
        state.run(b"update checklist set since = %s", [moment])

    return set_back


def test_a_schedule_that_is_new_owes_nothing(state: State) -> None:
    [found] = Checklists(company(), state).all()

    assert found.standing == "open"
    assert found.due is not None
    assert timedelta(0) < found.due - datetime.now(UTC) <= WEEK


def test_a_round_that_nobody_did_is_overdue_since_it_was_due(
    state: State, known_since: Callable[[datetime], None]
) -> None:
    checklists = Checklists(company(), state)
    checklists.all()
    known_since(MONDAY - timedelta(days=3))

    before, after = (checklists.get(FLOW, MONDAY + timedelta(minutes=shift)) for shift in (-1, 1))
    weeks_later = checklists.get(FLOW, MONDAY + 3 * WEEK)

    assert (before.standing, before.due) == ("open", MONDAY)
    assert (after.standing, after.overdue_since) == ("overdue", MONDAY)
    assert (weeks_later.round, weeks_later.overdue_since) == (MONDAY + 3 * WEEK, MONDAY)


def test_several_people_tick_and_one_says_that_it_is_right(state: State) -> None:
    checklists = Checklists(company(), state)
    checklists.tick(FLOW, [1, 2], "ann")
    ticked = checklists.tick(FLOW, [2], "ann", undo=True)
    done = checklists.finish(FLOW, "bob", "ten compared, all equal")

    assert [step.who for step in ticked.steps] == ["ann", None, None]
    assert [step.who for step in done.steps] == ["ann", "bob", "bob"]
    assert done.standing == "done"
    assert (done.done[0].done_by, done.done[0].verification) == ("bob", "ten compared, all equal")
    noted = [(entry.who, entry.action, entry.subject, entry.reason) for entry in AuditTrail(state).page()]
    assert noted == [
        ("bob", "finish", FLOW, "ten compared, all equal"),
        ("ann", "untick", FLOW, ""),
        ("ann", "tick", FLOW, ""),
    ]


def test_a_round_is_done_once(state: State) -> None:
    checklists = Checklists(company(), state)
    checklists.finish(FLOW, "bob", "all equal")

    with pytest.raises(SorbusError, match="is already done for this round, by bob"):
        checklists.finish(FLOW, "ann", "all equal")
    with pytest.raises(SorbusError, match="is already done for this round, by bob"):
        checklists.tick(FLOW, [1], "ann")


@pytest.mark.parametrize("schedule", ["Monday before 09:00", "on demand"])
def test_what_a_page_shows_too_late_says_nothing_of_the_round_after(
    state: State, known_since: Callable[[datetime], None], schedule: str
) -> None:
    checklists = Checklists(company(schedule), state)
    checklists.all()
    known_since(datetime.now(UTC) - 4 * WEEK)
    shown = checklists.get(FLOW).round
    checklists.finish(FLOW, "ann", "all equal", shown)

    with pytest.raises(SorbusError, match="the round that you were shown is over"):
        checklists.finish(FLOW, "ann", "all equal", shown)
    with pytest.raises(SorbusError, match="the round that you were shown is over"):
        checklists.tick(FLOW, [1], "ann", round=shown)
    found = checklists.get(FLOW)
    assert (len(found.done), [step.who for step in found.steps]) == (1, [None, None, None])


def test_nothing_is_done_without_a_word_on_its_verification(state: State) -> None:
    with pytest.raises(SorbusError, match=r"enter the verification result \(Ten prices are equal"):
        Checklists(company(), state).finish(FLOW, "bob", "  ")


def test_a_step_or_a_flow_that_there_is_not_is_refused(state: State) -> None:
    checklists = Checklists(company(), state)

    with pytest.raises(SorbusError, match="no step 4"):
        checklists.tick(FLOW, [1, 4], "ann")
    with pytest.raises(SorbusError, match="did you mean price-to-price_book"):
        checklists.get("price-to-pricebook")
    assert all(step.who is None for step in checklists.get(FLOW).steps)


def test_the_last_round_done_late_settles_those_before(state: State, known_since: Callable[[datetime], None]) -> None:
    checklists = Checklists(company(), state)
    checklists.all()
    known_since(datetime.now(UTC) - 4 * WEEK)

    assert checklists.get(FLOW).standing == "overdue"
    assert checklists.finish(FLOW, "bob", "all equal").standing == "open"


def test_another_schedule_begins_anew(state: State, known_since: Callable[[datetime], None]) -> None:
    Checklists(company("daily"), state).all()
    known_since(datetime.now(UTC) - 4 * WEEK)

    assert Checklists(company("daily"), state).get(FLOW).standing == "overdue"
    assert Checklists(company("weekly"), state).get(FLOW).standing == "open"


@pytest.mark.parametrize(
    ("beforehand", "since"),
    [
        (datetime(2026, 12, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)),  # it was yearly until February
        (datetime(2040, 1, 2, 9, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)),  # a clock was years ahead
    ],
)
def test_a_round_of_later_than_the_next_one_settles_nothing(beforehand: datetime, since: datetime) -> None:
    monday = parse_schedule("Monday before 09:00")
    done = [Round(beforehand, datetime(2026, 1, 10, tzinfo=UTC), "ann", "all there")]
    hand = in_hand(monday, since, done, datetime(2026, 3, 4, tzinfo=UTC))
    assert hand.due == datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert hand.overdue_since is not None


def test_what_is_done_on_demand_has_rounds_but_is_never_due(state: State) -> None:
    checklists = Checklists(company("on demand"), state)
    first = checklists.tick(FLOW, [1], "ann")
    second = checklists.finish(FLOW, "ann", "all equal")
    checklists.finish(FLOW, "ann", "equal again")

    assert (first.standing, first.steps[0].who) == ("on demand", "ann")
    assert (second.standing, second.steps[0].who) == ("on demand", None)
    assert [each.verification for each in checklists.get(FLOW).done] == ["equal again", "all equal"]


def test_a_schedule_that_can_not_be_read_is_said(state: State) -> None:
    with pytest.raises(SorbusError, match="its schedule can't be read, so nothing is ever due: 'sometimes' is"):
        Checklists(company("sometimes"), state).all()


MINUTES = st.integers(0, 60 * 24 * 90)


@given(st.sampled_from(["daily", "Monday before 09:00", "monthly", "every 3d"]), MINUTES, st.lists(MINUTES, max_size=8))
def test_whoever_does_what_is_in_hand_is_never_overdue(schedule: str, start: int, works: list[int]) -> None:
    """A round done at whatever time, early or late, leaves nothing overdue until the next time comes."""
    routine, since, done = parse_schedule(schedule), MONDAY + timedelta(minutes=start), list[Round]()
    for minutes in sorted(works):
        now = since + timedelta(minutes=minutes)
        hand = in_hand(routine, since, done, now)
        if any(each.due == hand.round for each in done):
            assert hand.overdue_since is None
            continue
        done.append(Round(hand.round, now, "ann", "equal"))
        after = in_hand(routine, since, done, now)
        assert after.overdue_since is None
        assert after.due is not None
        late = in_hand(routine, since, done, after.due + timedelta(days=100))
        assert late.overdue_since is not None
        assert late.overdue_since >= after.due


def test_the_commands_show_tick_and_finish(sorbus: Sorbus, database: str, tmp_path: Path) -> None:
    file = tmp_path / "map.yaml"
    file.write_text(MAP.replace("SCHEDULE", "Monday before 09:00"))
    opened = State(database)
    migrate(opened)

    def typed(*words: str, status: int = 0) -> str:
        done = sorbus("--map", str(file), "checklists", *words, SORBUS_DATABASE=database, SORBUS_USER="ann")
        assert done.exit_code == status, done.output
        return done.output

    [listed] = [json.loads(line) for line in typed("list", "--json").splitlines()]
    assert (listed["flow"], listed["standing"], listed["address"]) == (FLOW, "open", "field@example.com")
    assert "[x] 1. Export the prices.  (ann" in typed("tick", FLOW, "1")
    assert typed("list", "--check").count("1 of 3") == 1
    opened.run(b"update checklist set since = now() - interval '15 days'")
    typed("list", "--check", status=1)
    assert "overdue, since" in typed("show", FLOW)
    finished = json.loads(typed("done", FLOW, "-m", "ten compared, all equal", "--json"))
    assert (finished["standing"], finished["done"][0]["by"]) == ("open", "ann")
    assert "no step 7" in typed("tick", FLOW, "7", status=1)
    opened.close()
