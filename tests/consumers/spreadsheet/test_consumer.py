"""What people have in a file stays theirs, and what Sorbus writes is found again."""

from __future__ import annotations

import re
import zipfile
from datetime import date
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest
from openpyxl.chart import BarChart, Reference
from openpyxl.styles import Font, PatternFill
from openpyxl.worksheet.table import Table
from openpyxl.worksheet.worksheet import Worksheet

from sorbus.abilities import SupportsErasure, SupportsLookup, SupportsVersions
from sorbus.consumers.spreadsheet.consumer import SpreadsheetConsumer
from sorbus.dry_run import DryRunReads, SupportsDryRun
from sorbus.errors import TransientError
from sorbus.spreadsheet.files import FileStamp
from tests.consumers.spreadsheet.office import Office, make

D = Decimal
MAPPING = [("name", "Name", ""), ("amount", "Price", ""), ("made_on", "Since", "")]


@pytest.fixture(autouse=True)
def state(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SORBUS_DATABASE", database)


def books(path: Path) -> None:
    """A price list as people keep it: a title, colours, a filter, a table, a chart, remarks, their own formulas."""
    made = openpyxl.Workbook()
    sheet = made.active
    assert isinstance(sheet, Worksheet)
    rows = [
        ["Prices, for internal use"],
        [],
        ["Remark", "Name", "No", "Price", "Gross", "Since"],
        ["ask Anna", "Bolt", "b1", 1.5, "=D4*1.2", date(2020, 1, 2)],
        [None, "Nut", "n1", 0.25, "=D5*1.2", date(2021, 3, 4)],
    ]
    for row in rows:
        sheet.append(row)
    sheet["B4"].fill = PatternFill("solid", fgColor="FFFF00")
    sheet["D4"].number_format = sheet["D5"].number_format = "#,##0.00 €"
    sheet["F4"].number_format = sheet["F5"].number_format = "dd.mm.yyyy"
    sheet["B3"].font = Font(bold=True)
    sheet.column_dimensions["B"].width = 42
    sheet.auto_filter.ref = "A3:F5"
    chart = BarChart()
    chart.add_data(Reference(sheet, min_col=4, min_row=3, max_row=5), titles_from_data=True)
    sheet.add_chart(chart, "H3")
    other = made.create_sheet("Stock")
    other.append(["No", "Count"])
    other.append(["b1", 3])
    other.add_table(Table(displayName="Stock", ref="A1:B2"))
    made.save(path)


def test_a_price_list_stays_as_people_have_it(tmp_path: Path) -> None:
    office = Office(tmp_path, "prices.xlsx", MAPPING, sheet="Sheet")
    books(office.path)
    assert "file" not in " ".join(office.prepare())
    with zipfile.ZipFile(office.path) as before:
        parts = {name: before.read(name) for name in before.namelist()}
    assert (
        office.deliver(
            {
                "b1": {"name": "Bolt M8", "amount": D("1.75"), "made_on": date(2026, 11, 29)},
                "w1": {"name": "=1+1", "amount": D("-3"), "made_on": None},
            }
        )
        == []
    )
    assert [row[:6] for row in office.cells()][3:] == [
        ["ask Anna", "Bolt M8", "b1", 1.75, "=D4*1.2", office.sheet()["F4"].value],
        [None, "Nut", "n1", 0.25, "=D5*1.2", office.sheet()["F5"].value],
        [None, "=1+1", "w1", -3, None, None],
    ]
    sheet = office.sheet()
    assert sheet["F4"].value.date() == date(2026, 11, 29)  # type: ignore[union-attr]
    assert sheet["B6"].data_type == "s", "text, and no formula"
    assert sheet["B4"].fill.fgColor.rgb == "00FFFF00"
    assert sheet["D4"].number_format == sheet["D6"].number_format == "#,##0.00 €"
    assert sheet.column_dimensions["B"].width == 42
    assert sheet.auto_filter.ref == "A3:F6"
    with zipfile.ZipFile(office.path) as after:
        changed = {name for name in parts if after.read(name) != parts[name]}
        assert b'fullCalcOnLoad="1"' in after.read("xl/workbook.xml"), "Gross is calculated again"
    assert changed <= {"xl/worksheets/sheet1.xml", "xl/workbook.xml"}, "charts, tables and styles to the byte"


def test_new_rows_take_the_place_of_empty_formatted_ones(tmp_path: Path) -> None:
    office = Office(tmp_path, "prices.xlsx", [("name", "Name", ""), ("amount", "Price", "")])
    made = openpyxl.Workbook()
    sheet = made.active
    assert isinstance(sheet, Worksheet)
    sheet.append(["No", "Name", "Price"])
    for row in range(2, 40):
        sheet.cell(row, 3).number_format = "0.00"
    made.save(office.path)
    office.prepare()
    assert office.deliver({str(n): {"name": f"name {n}", "amount": D(n)} for n in range(1, 4)}) == []
    assert office.cells()[1:4] == [["1", "name 1", 1], ["2", "name 2", 2], ["3", "name 3", 3]]
    assert office.sheet()["C2"].number_format == "0.00"
    with zipfile.ZipFile(office.path) as archive:
        xml = archive.read("xl/worksheets/sheet1.xml").decode()
    numbers = [int(found) for found in re.findall(r'<row [^>]*?r="(\d+)"', xml)]
    assert numbers == sorted(set(numbers)), "each row once, in order"


def test_rows_are_found_again_when_people_sort_and_move_columns(tmp_path: Path) -> None:
    office = Office(tmp_path, "prices.xlsx", MAPPING)
    assert [what for what in office.prepare() if "file" in what]
    office.deliver({str(n): {"name": f"name {n}"} for n in range(1, 6)})
    book = openpyxl.load_workbook(office.path)
    sheet = book.active
    assert isinstance(sheet, Worksheet)
    head, *rows = [list(row) for row in sheet.iter_rows(values_only=True)]
    sheet.delete_rows(1, 10)
    for row in [head, *rows[::-1]]:
        sheet.append(["mine", *row[::-1]])
    sheet["A1"] = "Remark"
    book.save(office.path)
    office.deliver({"2": {"name": "changed"}, "4": None, "6": {"name": "six"}})
    found = {row[4]: (row[0], row[3]) for row in office.cells()}
    assert found.pop("No") == ("Remark", "Name")
    assert found == {
        "1": ("mine", "name 1"), "2": ("mine", "changed"), "3": ("mine", "name 3"), "5": ("mine", "name 5"),
        "6": (None, "six"), None: ("mine", None),
    }, "the remark beside a deleted record is a person's, and stays"  # fmt: skip


def test_a_text_file_keeps_every_other_byte(tmp_path: Path) -> None:
    office = Office(tmp_path, "prices.csv", MAPPING, decimals="1.234,56", dates="%d.%m.%Y")
    before = b'Preisliste;;;;\r\n"No";"Name";Price;Since;"Mein ""Feld"""\r\n1;"alt";1,50;;"x;y"\r\n2;zwei;2;;'
    office.path.write_bytes(before)
    assert not [what for what in office.prepare() if "file" in what]
    refused = office.deliver({
        "1": {"name": "M\u00fcller", "amount": D("1234.5"), "made_on": date(2026, 1, 2)},
        "3": {"name": "=cmd()", "amount": D(-1)},
        "4": {"name": "+41 44 123"},
        "5": {"name": "bad\u0141etter"},
    })  # fmt: skip
    lines = office.path.read_bytes().split(b"\r\n")
    assert lines[:2] == before.split(b"\r\n")[:2]
    assert lines[2].decode() == '1;Müller;1.234,5;02.01.2026;"x;y"'
    assert lines[3] == b"2;zwei;2;;"
    assert [line.decode() for line in lines[4:]] == ["3;'=cmd();-1;", "4;+41 44 123;;", "5;badŁetter;;", ""]
    assert refused == []
    office.deliver({"1": None, "3": None})
    assert [row[0] for row in office.cells()] == ["Preisliste", "No", "", "2", "4", "5"]


def test_a_letter_that_the_encoding_lacks_is_a_dead_letter(tmp_path: Path) -> None:
    office = Office(tmp_path, "prices.csv", [("name", "Name", "")])
    office.path.write_bytes("No;Name\r\n1;Müller\r\n".encode("cp1252"))
    office.prepare()
    [refused] = office.deliver({"1": {"name": "Jäger"}, "2": {"name": "Łódź"}})
    assert "Ł" in str(refused.error)
    assert "cp1252" in str(refused.error)
    assert office.path.read_bytes() == "No;Name\r\n1;Jäger\r\n".encode("cp1252")


def test_an_open_file_and_one_saved_meanwhile_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office(tmp_path, "prices.xlsx", [("name", "Name", "")])
    office.prepare()
    office.deliver({"1": {"name": "one"}})
    lock = office.path.with_name("~$prices.xlsx")
    lock.write_bytes(b"\x04Anna")
    with pytest.raises(TransientError, match="open by Anna"):
        office.deliver({"1": {"name": "two"}})
    lock.unlink()
    stamps = iter([FileStamp.of(office.path), FileStamp(1, 1, 1, 1)])
    with monkeypatch.context() as patched:
        patched.setattr(FileStamp, "of", lambda _: next(stamps))
        with pytest.raises(TransientError, match="saved by another program"):
            office.deliver({"1": {"name": "two"}})
    assert not list(tmp_path.glob("*.tmp")) + list(tmp_path.glob(".*.tmp"))
    assert office.deliver({"1": {"name": "two"}}) == []
    assert office.cells()[1][:2] == ["1", "two"]


def test_keys_of_the_mapping_that_collide_are_dead_letters_and_may_move(tmp_path: Path) -> None:
    office = Office(tmp_path, "prices.xlsx", [("name", "No", ""), ("note", "Note", "")])
    office.prepare()
    [refused] = office.deliver({"a": {"name": "K1"}, "b": {"name": "K1"}, "c": {"name": "K3"}})
    assert refused.place == 1
    assert "belongs to the row of another record, a" in str(refused.error)
    assert office.deliver({"a": {"name": "K3", "note": "a"}, "c": {"name": "K1", "note": "c"}}) == []
    assert office.cells()[1:] == [["K3", "a"], ["K1", "c"]]
    office.deliver({"a": None})
    assert office.deliver({"b": {"name": "K3"}}) == []


def test_a_row_that_a_person_has_doubled_is_a_dead_letter(tmp_path: Path) -> None:
    office = Office(tmp_path, "prices.csv", [("name", "Name", "")])
    office.prepare()
    office.path.write_text("No;Name\n1;a\n1;b\n")
    [refused] = office.deliver({"1": {"name": "x"}, "2": {"name": "y"}})
    assert "rows 2, 3" in str(refused.error)


def test_soft_deletes_mark_the_row(tmp_path: Path) -> None:
    office = Office(tmp_path, "prices.xlsx", [("name", "Name", "")], deletes="soft")
    office.prepare()
    office.deliver({"1": {"name": "a"}, "2": {"name": "b"}})
    office.deliver({"1": None})
    assert office.cells() == [["No", "Name", "Deleted"], ["1", "a", True], ["2", "b", None]]
    office.deliver({"1": {"name": "again"}})
    assert office.cells()[1] == ["1", "again", None]


def test_a_plan_says_what_would_happen(tmp_path: Path) -> None:
    office = Office(tmp_path, "prices.xlsx", [("name", "Name", "")])
    office.prepare()
    office.deliver({"1": {"name": "a"}, "2": {"name": "b"}, "4": {"name": "d"}})
    consumer = SpreadsheetConsumer(office.flow)
    consumer.begin_dry_run(DryRunReads())
    told = consumer.preview_all([
        make("1", 9, {"name": "z"}), make("2", 9, {"name": "b"}), make("3", 9, {"name": "c"}), make("4", 10, None),
    ])  # fmt: skip
    assert [each.action for each in told] == ["update", "nothing", "create", "delete"]
    assert told[0].request == {"changes": {"Name": ["a", "z"]}}
    assert consumer.look("1") == {"No": "1", "Name": "a"}
    assert office.cells()[1] == ["1", "a"]


def test_columns_that_the_mapping_gained_are_added_by_apply(tmp_path: Path) -> None:
    Office(tmp_path, "prices.xlsx", [("name", "Name", "")]).prepare()
    wider = Office(tmp_path, "prices.xlsx", MAPPING)
    with pytest.raises(TransientError, match=r"no column Price, Since.*sorbus apply"):
        wider.deliver({"1": {"name": "a"}})
    assert wider.prepare() == ["columns Price, Since of prices"]
    wider.deliver({"1": {"name": "a", "amount": D(1)}})
    assert wider.cells() == [["No", "Name", "Price", "Since"], ["1", "a", 1, None]]


def test_a_plan_to_make_a_lost_file_again_says_that_its_rows_are_gone(tmp_path: Path) -> None:
    office = Office(tmp_path, "copy.csv", [("name", "Name", "")])
    assert all("replay" not in step.detail for step in SpreadsheetConsumer.plan(office.flow))
    office.prepare()
    office.deliver({"1": {"name": "a"}})
    office.path.unlink()
    (step,) = SpreadsheetConsumer.plan(office.flow)
    assert step.detail.endswith("then `sorbus replay sample-to-office`")


def test_what_a_soft_delete_leaves_is_erased(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sorbus.consumers.spreadsheet.record_cells.personal_names", lambda _: frozenset({"name"}))
    office = Office(tmp_path, "people.xlsx", [("name", "Name", ""), ("amount", "Price", "")], deletes="soft")
    office.prepare()
    office.deliver({"1": {"name": "Anna", "amount": D(3)}, "2": {"name": "Ben"}})
    office.deliver({"1": None})
    consumer = SpreadsheetConsumer(office.flow)
    assert consumer.erase("1", dry_run=True).rows == 1
    assert consumer.erase("1").rows == 1
    assert consumer.erase("1").rows == 0
    assert office.cells()[1:] == [["1", None, 3, True], ["2", "Ben", None, None]]


def test_doctor_says_who_has_a_file_open(tmp_path: Path) -> None:
    office = Office(tmp_path, "prices.xlsx", [("name", "Name", "")])
    office.prepare()
    office.path.with_name(".~lock.prices.xlsx#").write_text("Anna Keller,anna,desk,29.11.2026 09:12,file:///x;")
    found = list(SpreadsheetConsumer.diagnose(office.flow.system))
    assert [(each.what, each.level) for each in found] == [("folder", "ok"), ("prices.xlsx", "warning")]
    assert "Anna Keller" in found[1].found


def test_it_offers_what_plans_reconciliation_and_forget_ask_for(tmp_path: Path) -> None:
    consumer = SpreadsheetConsumer(Office(tmp_path, "prices.xlsx", MAPPING).flow)
    assert isinstance(consumer, SupportsDryRun)
    assert isinstance(consumer, SupportsErasure)
    assert isinstance(consumer, SupportsLookup)
    assert isinstance(consumer, SupportsVersions)
