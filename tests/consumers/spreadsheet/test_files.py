"""A file that isn't whole or may not be at rest is left alone; what other programs write is never lost."""

from __future__ import annotations

import os
import re
import zipfile
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest
from openpyxl.worksheet.formula import ArrayFormula

from sorbus.errors import TransientError
from tests.consumers.spreadsheet.office import Office

D = Decimal
MAPPING = [("name", "Name", ""), ("amount", "Price", "")]
ONE = {"name": "one", "amount": D(1)}


@pytest.fixture(autouse=True)
def state(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SORBUS_DATABASE", database)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('1;"o"ne;1\r\n', r"row 2 can't be split into cells \(line 2 of the file\)"),
        ('2;two;2\r\nx;"open\r\n', r"row 3 can't be split into cells"),
        ("2;two;2\r\n3;thr", "row 3 ends before its last cells"),
    ],
)
def test_a_text_file_with_a_row_that_is_none_waits(tmp_path: Path, row: str, said: str) -> None:
    office = Office(tmp_path, "k.csv", MAPPING)
    office.prepare()
    with office.path.open("a", encoding="utf-8", newline="") as opened:
        opened.write(row)
    before = office.path.read_bytes()
    for _ in range(2):
        with pytest.raises(TransientError, match=said):
            office.deliver({"1": {"name": "ONE"}, "2": {"name": "two"}})
    with pytest.raises(TransientError, match=said):
        office.consumer().totals(office.flow, ["Price"])
    assert office.path.read_bytes() == before


def test_sums_keep_every_digit(tmp_path: Path) -> None:
    office = Office(tmp_path, "k.csv", MAPPING)
    office.prepare()
    with office.path.open("a", encoding="utf-8", newline="") as opened:
        opened.write(f"2;two;1{'0' * 30}\r\n3;three;1\r\n")
    found = office.consumer().totals(office.flow, ["Price"])
    assert found.sums["Price"] == 10**30 + 1


@pytest.mark.parametrize("heading", ["Price", "PRICE"])
def test_two_columns_of_one_name_are_named(tmp_path: Path, heading: str) -> None:
    office = Office(tmp_path, "k.csv", MAPPING)
    office.path.write_text(f"No;Name;price;{heading}\n", "utf-8")
    if heading == "Price":  # the one that is spelt as the map has it counts
        office.prepare()
        assert office.deliver({"1": ONE}) == []
        assert office.cells()[1] == ["1", "one", "", "1"]
        return
    for attempt in (office.prepare, lambda: office.deliver({"1": ONE})):
        with pytest.raises(TransientError, match=r"two columns called 'Price' \(C and D\): rename one"):
            attempt()
    assert office.path.read_text("utf-8") == f"No;Name;price;{heading}\n"


def test_a_text_file_that_a_program_is_still_writing_waits(tmp_path: Path) -> None:
    office = Office(tmp_path, "k.csv", MAPPING, settle=60)
    office.prepare()
    with office.path.open("w", encoding="utf-8") as export:
        export.write("No;Name;Price\r\n7;seven;7\r\n")
        export.flush()
        with pytest.raises(TransientError, match=r"still be being written.*for 60 s") as waits:
            office.deliver({"1": ONE})
        assert 0 < (waits.value.retry_after or 0) <= 60
        export.write("8;eight;8\r\n")
    rested = office.path.stat().st_mtime - 61
    os.utime(office.path, (rested, rested))
    assert office.deliver({"1": ONE}) == []
    assert [row[0] for row in office.cells()] == ["No", "7", "8", "1"]


def test_what_sorbus_wrote_needs_no_rest_whichever_process_it_was(tmp_path: Path) -> None:
    """Two flows, or a flow and a replay, would keep each other waiting for ever."""
    office = Office(tmp_path, "k.csv", MAPPING, settle=60)
    office.prepare()
    rested = office.path.stat().st_mtime - 61
    os.utime(office.path, (rested, rested))
    consumers = [office.consumer(), office.consumer()]
    for version in (1, 2, 3, 4):
        assert consumers[version % 2].apply(office.made(version, {"1": {"name": f"name {version}"}})) == []
    assert office.cells()[1][1] == "name 4"
    office.path.touch()
    with pytest.raises(TransientError, match="still be being written"):
        office.deliver({"2": ONE})


def test_a_workbook_whose_attributes_are_written_in_another_way(tmp_path: Path) -> None:
    """XML allows single quotes and spaces around =, and a sheet may begin below row 1."""
    office = Office(tmp_path, "k.xlsx", MAPPING)
    office.prepare()
    assert office.deliver({"1": ONE, "2": {"name": 'tw"o', "amount": D(2)}}) == []
    sheet = "xl/worksheets/sheet1.xml"

    def lower(found: re.Match[str]) -> str:
        tag = re.sub(r'\br="([A-Z]*)(\d+)"', lambda place: f'r="{place[1]}{int(place[2]) + 10}"', found[0])
        return tag.replace('"', "'").replace("=", " = ", 1)

    _rewrite(office.path, sheet, lambda xml: re.sub(r"<(row|c|dimension)\b[^>]*>", lower, xml))
    assert office.deliver({"1": {"name": "ONE", "amount": D(1)}, "3": {"name": "three"}}) == []
    rows = [row for row in office.cells() if any(cell is not None for cell in row)]
    assert rows == [["No", "Name", "Price"], ["1", "ONE", 1], ["2", 'tw"o', 2], ["3", "three", None]]
    with zipfile.ZipFile(office.path) as book:
        xml = book.read(sheet).decode()
    assert re.findall(r'<row [^>]*?r="(\d+)"', xml) == ["11", "12", "13", "14"]


def test_a_workbook_with_something_else_between_its_rows_waits(tmp_path: Path) -> None:
    office = Office(tmp_path, "k.xlsx", MAPPING)
    office.prepare()
    office.deliver({"1": ONE})
    _rewrite(office.path, "xl/worksheets/sheet1.xml", lambda xml: xml.replace("<row", "<!-- x --><row", 1))
    before = office.path.read_bytes()
    with pytest.raises(TransientError, match="in an unusual way: save it again"):
        office.deliver({"1": {"name": "ONE"}})
    assert office.path.read_bytes() == before


def _rewrite(path: Path, part: str, change: object) -> None:
    with zipfile.ZipFile(path) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    parts[part] = change(parts[part].decode()).encode()  # type: ignore[operator]
    with zipfile.ZipFile(path, "w") as book:
        for name, content in parts.items():
            book.writestr(name, content)


def test_a_symbolic_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    office = Office(tmp_path, "k.csv", MAPPING)
    office.prepare()
    (tmp_path / "share").mkdir()
    real = tmp_path / "share" / "real.csv"
    office.path.rename(real)
    office.path.symlink_to(real)
    assert office.deliver({"1": ONE}) == []
    assert office.path.is_symlink()
    assert "one" in real.read_text("utf-8-sig")
    real.with_name("~$real.csv").write_bytes(b"\x04Anna")
    with pytest.raises(TransientError, match="open by Anna"):
        office.deliver({"1": {"name": "two"}})


@pytest.mark.parametrize("file", ["k.xlsx", "k.csv"])
def test_another_file_in_its_place_after_the_reading_is_read_again(
    tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sheet that was renamed, a text in another encoding: whatever fails then, the new file is read."""
    office = Office(tmp_path, file, MAPPING)
    office.prepare()

    def changed(*_: object) -> None:
        office.path.write_bytes(b"\xff\xfe\xff")
        raise UnicodeError

    for name in ("edit_text", "edit_workbook"):
        monkeypatch.setattr(f"sorbus.consumers.spreadsheet.target_sheet.{name}", changed)
    with pytest.raises(TransientError, match="saved by another program meanwhile"):
        office.deliver({"1": ONE})
    assert office.path.read_bytes() == b"\xff\xfe\xff"


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    office = Office(tmp_path, "k.csv", MAPPING)
    office.prepare()
    old, new, other = (tmp_path / name for name in (".k-abcd_123.tmp", ".k-abcd1234.tmp", ".k-2-abcd1234.tmp"))
    for path in (old, new, other):
        path.touch()
    for path in (old, other):
        os.utime(path, (1, 1))
    assert office.deliver({"1": ONE}) == []
    assert [path.exists() for path in (old, new, other)] == [False, True, True]


def test_a_remark_beside_the_last_column_stays(tmp_path: Path) -> None:
    """Of a row that isn't found any more, it may be the row: a cell that held a delimiter gives it more cells, too."""
    office = Office(tmp_path, "k.csv", MAPPING)
    office.prepare()
    assert office.deliver({"1": ONE, "2": {"name": "two"}, "4": {"name": "four"}}) == []
    text = office.path.read_text("utf-8-sig").replace("1;one;1", "1;one;1;call her").replace("4;four;\n", "")
    office.path.write_text(text, "utf-8-sig")
    (refused,) = office.deliver({"1": {"name": "ONE"}, "3": {"name": "three"}, "4": {"name": "FOUR"}})
    assert "row 2 has more cells than the header" in str(refused.error)
    assert [row[:2] for row in office.cells()[1:]] == [["1", "ONE"], ["2", "two"], ["3", "three"]]
    assert office.cells()[1][3] == "call her"


def test_a_row_with_more_cells_whose_key_may_have_moved_waits(tmp_path: Path) -> None:
    office = Office(tmp_path, "k.csv", MAPPING)
    office.path.write_text("Price;No;Name\n", "utf-8")
    office.prepare()
    office.write_below("1", "50", "2", "name")
    with pytest.raises(TransientError, match="row 2 has more cells than the header"):
        office.deliver({"50": ONE})


def test_a_value_in_a_sheets_last_row_lets_the_flow_wait_and_damages_nothing(tmp_path: Path) -> None:
    office = Office(tmp_path, "k.xlsx", [("name", "No", ""), ("amount", "Price", "")])
    office.prepare()
    assert office.deliver({"a": {"name": "A"}}) == []
    office.change("F1048576", "x")
    before = office.path.read_bytes()
    with pytest.raises(TransientError, match=r"row 1,048,576.*delete"):
        office.deliver({"b": {"name": "B"}})
    assert office.path.read_bytes() == before
    assert office.deliver({"a": {"name": "A", "amount": D(2)}}) == [], "no row is added"
    office.change("F1048576", None)
    assert office.deliver({"b": {"name": "B"}}) == []
    assert [row[0] for row in office.cells()[1:]] == ["A", "B"]


def test_a_cell_that_merged_cells_hide_is_a_dead_letter_and_holds_up_no_other(tmp_path: Path) -> None:
    office = Office(tmp_path, "k.xlsx", [("name", "No", ""), ("amount", "Price", "")])
    office.prepare()
    assert office.deliver({id: {"name": id, "amount": D(1)} for id in "abc"}) == []
    book = openpyxl.load_workbook(office.path)
    book.worksheets[0].merge_cells("B2:B3")
    book.save(office.path)
    [refused] = office.deliver({id: {"name": id, "amount": D(9)} for id in "abc"})
    assert refused.place == 1
    assert "row 3, column B (Price) is a part of the merged cells B2:B3" in str(refused.error)
    assert office.cells()[1:] == [["a", 9], ["b", None], ["c", 9]]


def test_a_cell_that_another_cells_formula_fills_lets_the_flow_wait(tmp_path: Path) -> None:
    office = Office(tmp_path, "k.xlsx", [("name", "No", ""), ("amount", "Price", "")])
    office.prepare()
    assert office.deliver({id: {"name": id, "amount": D(1)} for id in "abc"}) == []
    office.change("B2", ArrayFormula("B2:B3", "=ROW(B2:B3)"))
    before = office.path.read_bytes()
    with pytest.raises(TransientError, match="cell B3 holds a formula"):
        office.deliver({"b": {"name": "b", "amount": D(9)}})
    assert office.path.read_bytes() == before
    assert office.deliver({"c": {"name": "c", "amount": D(9)}}) == []
