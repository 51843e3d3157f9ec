"""What people do to a prepared sheet: each row is recorded as it says, or refused with its place, reason and fix."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest

from sorbus.audit import AuditTrail
from sorbus.errors import SorbusError
from sorbus.ops.checklists.sheets.changes import OwnerRecord
from sorbus.ops.checklists.sheets.figures import Totals
from sorbus.ops.checklists.sheets.manual_sync import ManualSync, Preparation
from sorbus.state import State
from tests.ops.checklists.sheets.person import COLUMNS, Rows, edited, mark, opened_sync, save

RECORDS = [
    OwnerRecord("00042", {"name": "=HYPERLINK(1)", "price": Decimal("12.5")}),
    OwnerRecord("MAR-1", {"name": "two\nlines", "price": None}),
    OwnerRecord("3", {"name": "00123", "price": Decimal("12345678901234567.89")}),
]


def prepared(sync: ManualSync, records: list[OwnerRecord] = RECORDS) -> Preparation:
    return sync.prepare(records, COLUMNS, "Larkspur", "ann")


def first(**cells: object) -> Callable[[Rows], Rows]:
    """All rows marked done, and other cells in the first."""

    def change(rows: Rows) -> Rows:
        head, *rest = mark(rows)
        return [head | {name.replace("_", " "): value for name, value in cells.items()}, *rest]

    return change


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (first(**{"Done?": "perhaps"}), "“perhaps” under Done? is neither done nor not done"),
        (first(**{"Done?": None, "Reason_if_not_done": "later"}), "it has a reason, but is not marked"),
        (first(**{"Done?": "not done"}), "it is marked not done without a reason"),
        (first(name="Bolt"), "name isn't what it was when the sheet was prepared"),
        (first(price=13), "price isn't what it was when the sheet was prepared"),
        (first(Record_ID="43"), "is of record 00042, and the file says 43"),
        (first(Row=None), "it has no row code"),
        (first(Row="BCDFGH-1"), "no sheet of this flow has a row BCDFGH-1"),
        (first(Row="=1/0"), "no sheet of this flow has a row"),
        (lambda rows: [*mark(rows), mark(rows, "not done", "no")[0]], "is in the file 2 times, with different answers"),
    ],
)
def test_a_row_that_is_not_in_order_is_refused_alone(
    state: State, tmp_path: Path, change: Callable[[Rows], Rows], what: str
) -> None:
    sync = opened_sync(state)
    file = save(tmp_path, edited(prepared(sync).file, change))

    found = sync.import_file(file, "ann", entered={"records": Decimal(2)})

    assert found.findings
    assert all(what in each.what and each.fix and each.place.startswith("prices.xlsx") for each in found.findings)
    assert found.count("done") == 2
    assert not found.finished
    assert found.why_open == "rows or figures of the file need a correction"


def test_a_sorted_renamed_and_shortened_file_is_understood(state: State, tmp_path: Path) -> None:
    sync = opened_sync(state)
    made = prepared(sync)
    file = save(tmp_path, edited(made.file, lambda rows: list(reversed(mark(rows)))))
    book = openpyxl.load_workbook(file)
    book["Changes"].title = "Prices of March"
    book["Prices of March"].insert_rows(1, 3)
    book["Prices of March"].delete_cols(5)
    book.create_sheet("My notes", 0)["A1"] = "Done? Row?"
    book.save(file)

    found = sync.import_file(file, "ann", entered={"records": Decimal(3)})

    assert (found.findings, found.count("done"), found.finished) == ([], 3, True)


def test_a_csv_file_is_understood_unless_a_program_changed_its_values(state: State, tmp_path: Path) -> None:
    sync = opened_sync(state)
    made = prepared(sync)
    assert made.sheet is not None
    code = made.sheet.code
    lines = f"Row;Record ID;name;price;Done?\n{code}-1;00042;=HYPERLINK(1);12.5;done\n{code}-3;3;123;;done\n"
    file = tmp_path / "prices.csv"
    file.write_text(lines)

    found = sync.import_file(file, "ann")

    assert [each.row.id for each in found.recorded] == ["00042"]
    assert [(each.record, each.what) for each in found.findings] == [
        ("3", "name isn't what it was when the sheet was prepared")
    ]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "isn't an .xlsx workbook"),
        (b"PK\x03\x04 cut off", "cut off or damaged"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old .xls format, or protected"),
        (b"x" * 20_000_001, "larger than 20 MB"),
    ],
)
def test_a_file_that_is_no_sheet_changes_nothing(state: State, tmp_path: Path, content: bytes, what: str) -> None:
    sync = opened_sync(state)
    with pytest.raises(SorbusError, match=what):
        sync.import_file(save(tmp_path, content), "ann")


def test_a_file_of_another_flow_is_refused(state: State, tmp_path: Path) -> None:
    file = save(tmp_path, edited(prepared(opened_sync(state, "other")).file, mark))

    with pytest.raises(SorbusError, match="no row that was prepared for price-to-price_book"):
        opened_sync(state).import_file(file, "ann")


def test_figures_come_from_the_target_or_from_the_file_and_must_agree(state: State, tmp_path: Path) -> None:
    sync = opened_sync(state, totals=["price"])
    total = Decimal("12345678901234580.39")
    made = prepared(sync)
    wrong = {"records": 4, "price": str(total)}

    differing = sync.import_file(save(tmp_path, edited(made.file, mark, wrong)), "ann")
    assert differing.why_open.startswith("figures differ (records: 4 in the target, 3 confirmed)")
    silent = sync.import_file(save(tmp_path, edited(made.file, mark, {"records": 3})), "ann")
    assert silent.why_open == "enter what the target holds: price (asked)"
    text = sync.import_file(save(tmp_path, edited(made.file, mark, {"records": "three"})), "ann")
    assert "records: 'three' is not a valid number" in text.faults[0]
    both = opened_sync(state, read=Totals(3, {"price": total}), totals=["price"])
    contradicted = both.import_file(save(tmp_path, edited(made.file, mark, wrong)), "ann")
    assert contradicted.faults == ["records: 4 was entered, and the target itself says 3"]
    accepted = {**wrong, "If a figure differs: why": "one is entered twice, deleted on Monday"}
    done = sync.import_file(save(tmp_path, edited(made.file, mark, accepted)), "ann")
    assert done.finished
    [finished] = [each for each in AuditTrail(state).page() if each.action == "finish"]
    assert finished.reason.endswith("accepted: one is entered twice, deleted on Monday")


def test_the_numbers_of_the_target_are_kept_and_belong_to_one_record(state: State, tmp_path: Path) -> None:
    sync = opened_sync(state)
    made = prepared(sync)

    def number(rows: Rows) -> Rows:
        return [row | {"Number in the target": "D-0017"} for row in mark(rows)[:2]]

    found = sync.import_file(save(tmp_path, edited(made.file, number)), "ann")
    assert [each.what for each in found.findings] == ["D-0017 is already the number of record 00042 in the target"]
    changed = [RECORDS[0]._replace(fields={"name": "Bolt", "price": None}), *RECORDS[1:]]
    assert {row.id: row.target_number for row in prepared(sync, changed).rows} == {
        "00042": "D-0017",
        "MAR-1": "",
        "3": "",
    }


def test_many_records_that_vanish_from_the_topic_are_not_taken_for_deletes(state: State) -> None:
    sync = opened_sync(state)
    many = [OwnerRecord(str(n), {"name": "x", "price": None}) for n in range(30)]
    sync.baseline(many, "ann", "all compared")

    with pytest.raises(SorbusError, match="20 of 30 confirmed records are no longer on the topic"):
        prepared(sync, many[:10])
    made = sync.prepare(many[:10], COLUMNS, "Larkspur", "ann", accept_deletes=True)
    assert made.counts() == {"deleted": 20}


def test_a_record_whose_fields_cannot_be_made_is_named_and_stays_open(state: State) -> None:
    sync = opened_sync(state)
    made = prepared(sync, [*RECORDS[:1], OwnerRecord("9", None, "field name: 'x' is not a valid country")])

    assert (made.counts(), made.left_out) == ({"new": 1}, [("9", "field name: 'x' is not a valid country")])
    assert made.owner.records == 2


def test_text_of_a_record_is_never_a_formula(state: State, tmp_path: Path) -> None:
    risky = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "=cmd|' /C calc'!A0"]
    made = prepared(opened_sync(state), [OwnerRecord(text, {"name": text, "price": None}) for text in risky])
    sheet = openpyxl.load_workbook(save(tmp_path, made))["Changes"]

    cells = [cell for row in sheet.iter_rows(min_row=2) for cell in row if cell.value is not None]
    assert {cell.data_type for cell in cells} == {"s"}
    assert {cell.number_format for cell in cells} == {"@"}
    assert all(cell.quotePrefix for cell in cells)
