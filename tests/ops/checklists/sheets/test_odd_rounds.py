"""Rounds that go another way: last week's sheet, one too many, none needed, half of the changes, two people at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest

from sorbus.ops.checklists.sheets import manual_sync
from sorbus.ops.checklists.sheets.changes import ConfirmedRecord, OwnerRecord, changes
from sorbus.ops.checklists.sheets.manual_sync import ManualSync, Preparation
from sorbus.ops.checklists.store import Checklists
from sorbus.state import State
from tests.ops.checklists.sheets.person import COLUMNS, company, edited, mark, save

FLOW = "price-to-price_book"
RECORDS = [OwnerRecord(str(n), {"name": f"bolt {n}", "price": Decimal(n)}) for n in range(1, 4)]


def weekly(state: State) -> ManualSync:
    """A flow that is due every day, and known for a week."""
    checklists = Checklists(company(schedule="daily"), state)
    checklists.all()
    state.run(b"update checklist set since = now() - interval '7 days'")
    return ManualSync(checklists, state, FLOW, "asked")


def prepared(sync: ManualSync, records: Sequence[OwnerRecord] = RECORDS, **options: int) -> Preparation:
    return sync.prepare(records, COLUMNS, "Larkspur", "ann", **options)


def count(records: int) -> dict[str, Decimal]:
    return {"records": Decimal(records)}


def test_the_sheet_of_an_earlier_round_does_not_finish_a_later_one(state: State, tmp_path: Path) -> None:
    sync = weekly(state)
    made = prepared(sync)
    assert made.sheet is not None
    earlier = made.sheet.round - timedelta(days=1)
    state.run(b"update manual_sheet set round = %s", [earlier])

    late = sync.import_file(save(tmp_path, edited(made.file, mark)), "ann", entered=count(3))

    assert (late.count("done"), late.finished) == (3, False)
    assert "was prepared for an earlier round" in late.why_open
    assert sync.checklist.standing == "overdue"


def test_a_round_in_which_nothing_changed_is_verified_by_figures(state: State, tmp_path: Path) -> None:
    sync = weekly(state)
    sync.baseline(RECORDS, "ann", "all compared")
    dry = prepared(sync, dry_run=True)
    assert (dry.sheet, dry.file) == (None, b"")

    made = prepared(sync)
    wrong = sync.import_file(save(tmp_path, edited(made.file, mark, {"records": 4})), "ann")
    right = sync.import_file(save(tmp_path, edited(made.file, mark, {"records": 3})), "ann")

    assert (made.rows, wrong.finished, right.finished) == ([], False, True)
    assert sync.checklist.rounds_without_figures == 0
    ahead = sync.import_file(save(tmp_path, edited(prepared(sync).file, mark, {"records": 3})), "ann")
    assert (ahead.finished, sync.checklist.standing) == (True, "done")
    again = prepared(sync)
    assert (again.sheet, again.file) == (None, b""), "no round is due: there is nothing to verify"


def test_changes_that_did_not_fit_keep_the_round_open(state: State, tmp_path: Path) -> None:
    sync = weekly(state)

    part = sync.import_file(save(tmp_path, edited(prepared(sync, limit=2).file, mark)), "ann", entered=count(2))
    rest = sync.import_file(save(tmp_path, edited(prepared(sync, limit=2).file, mark)), "ann", entered=count(3))

    assert (part.finished, part.why_open[:25]) == (False, "1 more changes did not fi")
    assert rest.finished


def test_a_sheet_that_is_prepared_twice_is_answered_once(state: State, tmp_path: Path) -> None:
    sync = weekly(state)
    made = prepared(sync)
    prepared(sync)

    done = sync.import_file(save(tmp_path, edited(made.file, mark)), "ann", entered=count(3))

    assert (done.count("done"), done.finished, done.why_open) == (3, True, "")


def test_another_sheets_answer_does_not_count_for_a_newer_state(state: State, tmp_path: Path) -> None:
    sync = weekly(state)
    made = prepared(sync)
    prepared(sync, [*RECORDS[:2], OwnerRecord("3", {"name": "nut", "price": None})])

    done = sync.import_file(save(tmp_path, edited(made.file, mark)), "ann", entered=count(3))

    assert (done.count("done"), done.why_open) == (3, "1 row is not answered yet")


def test_two_people_who_answer_a_row_at_once_do_not_contradict_each_other(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = weekly(state)
    made = prepared(sync)
    both = [
        save(tmp_path, edited(made.file, mark), "ann.xlsx"),
        save(tmp_path, edited(made.file, lambda rows: mark(rows, "not done", "no time")), "bob.xlsx"),
    ]
    read, barrier = manual_sync.read_filled, threading.Barrier(2)

    def together(path: Path) -> object:
        found = read(path)
        barrier.wait(30)
        return found

    monkeypatch.setattr(manual_sync, "read_filled", together)
    for _ in range(5):
        with ThreadPoolExecutor(2) as people:
            found = list(people.map(lambda path: sync.import_file(path, path.stem), both))
        stored = state.run(
            b"select r.outcome = 'done', m.id is not null from manual_sheet_row r left join manual_record m using (id)"
        )
        assert all(is_done == is_confirmed for is_done, is_confirmed in stored)
        if found[0].recorded and found[1].findings:
            assert {each.what for each in found[1].findings} == {"it is recorded as done"}
        state.run(b"delete from manual_record")
        state.run(b"update manual_sheet_row set outcome = null, reason = ''")


@pytest.mark.parametrize(
    ("before", "after", "differing"),
    [
        ({"name": "bolt"}, {"name": "bolt", "fax": None}, None),
        ({"name": "bolt", "fax": "1"}, {"name": "bolt"}, None),
        ({"name": "bolt", "fax": "1"}, {"name": "nut"}, ["name"]),
        ({"name": "bolt"}, {"name": "bolt", "fax": "1"}, ["fax"]),
    ],
)
def test_a_changed_mapping_asks_for_what_changed_alone(
    before: dict[str, str | None], after: dict[str, str | None], differing: list[str] | None
) -> None:
    found = list(changes([OwnerRecord("1", after)], {"1": ConfirmedRecord(before)}))

    assert [each.differing for each in found] == ([] if differing is None else [differing])


def test_why_it_was_not_done_is_in_the_next_sheet_until_it_is_done(state: State, tmp_path: Path) -> None:
    sync = weekly(state)
    file = edited(prepared(sync, RECORDS[:2]).file, lambda rows: mark(rows, "not done", "the price list is missing"))
    assert sync.import_file(save(tmp_path, file), "ann", entered=count(0)).finished

    again = prepared(sync, RECORDS)
    sheet = openpyxl.load_workbook(save(tmp_path, again))["Changes"]
    told = [row[3] for row in sheet.iter_rows(min_row=2, values_only=True)]
    assert told == ["Create it.\nNot done last time: the price list is missing"] * 2 + ["Create it."]
    sync.import_file(save(tmp_path, edited(again.file, mark)), "ann", entered=count(3))
    changed = [one._replace(fields={"name": "nut", "price": None}) for one in RECORDS]
    assert {row.last_reason for row in prepared(sync, changed).rows} == {""}


def test_the_row_of_a_record_that_was_erased_is_told(state: State, tmp_path: Path) -> None:
    sync = weekly(state)
    made = prepared(sync)
    state.run(b"delete from manual_sheet_row where id = '2'")  # as `sorbus forget` does

    found = sync.import_file(save(tmp_path, edited(made.file, mark)), "ann")

    assert (found.count("done"), [each.record for each in found.findings]) == (2, ["2"])
    assert "was erased (`sorbus forget`)" in found.findings[0].what


def test_times_of_a_sheet_name_their_zone(state: State, tmp_path: Path) -> None:
    sync = weekly(state)
    texts = [row[0] for row in openpyxl.load_workbook(save(tmp_path, prepared(sync)))["Figures"].values if row[0]]

    zone = datetime.now(UTC).astimezone().tzname()
    assert zone
    assert any(f"{zone} for Field sales" in str(text) for text in texts)
