"""What programs make of a prepared sheet: text files, other formats, long texts and numbers, locks, bombs."""

from __future__ import annotations

import csv
import io
import zipfile
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest

from sorbus.errors import SorbusError
from sorbus.ops.checklists.sheets.changes import OwnerRecord
from sorbus.ops.checklists.sheets.manual_sync import ManualSync, Preparation
from sorbus.state import State
from tests.ops.checklists.sheets.person import COLUMNS, edited, mark, opened_sync, save

RECORDS = [
    OwnerRecord("00042", {"name": "Bolt", "price": Decimal("1234.5")}),
    OwnerRecord("1E5", {"name": "Nut", "price": Decimal(-2)}),
    OwnerRecord("7", {"name": "Screw", "price": None}),
]


def prepared(sync: ManualSync, records: list[OwnerRecord] = RECORDS) -> Preparation:
    return sync.prepare(records, COLUMNS, "Larkspur", "ann")


def as_csv(made: Preparation, **cells: dict[str, str]) -> str:
    """The changes as a program saves them as text, marked; `cells`: record -> column -> what it wrote instead."""
    assert made.sheet is not None
    out = io.StringIO()
    heads = ("Row", "Record ID", *COLUMNS, "Done?")
    writer = csv.DictWriter(out, heads, delimiter=";")
    writer.writeheader()
    for number, row in enumerate(made.rows, 1):
        fields = {name: "" if value is None else str(value) for name, value in (row.after or {}).items()}
        line = {"Row": f"{made.sheet.code}-{number}", "Record ID": row.id, "Done?": "done", **fields}
        writer.writerow(line | cells.get(f"of_{row.id}", {}))
    return out.getvalue()


def imported(sync: ManualSync, folder: Path, text: str) -> tuple[int, list[tuple[str, str, str]]]:
    file = folder / "prices.csv"
    file.write_text(text)
    found = sync.import_file(file, "ann")
    return found.count("done"), [(each.record, each.what, each.fix) for each in found.findings]


@pytest.mark.parametrize("price", ["1234,5", "1.234,5", "1 234,50", "1,234.50", "1'234.5"])
def test_numbers_may_be_written_as_people_of_any_country_write_them(state: State, tmp_path: Path, price: str) -> None:
    sync = opened_sync(state)
    assert imported(sync, tmp_path, as_csv(prepared(sync), of_00042={"price": price})) == (3, [])


@pytest.mark.parametrize("price", ["1234,6", "12345", "1.23E+03", "-1234.5"])
def test_another_number_is_told(state: State, tmp_path: Path, price: str) -> None:
    sync = opened_sync(state)
    done, findings = imported(sync, tmp_path, as_csv(prepared(sync), of_00042={"price": price}))
    assert (done, [each[0] for each in findings]) == (2, ["00042"])


def test_ids_that_lost_their_zeros_are_understood_unless_they_are_anothers(state: State, tmp_path: Path) -> None:
    sync = opened_sync(state)
    lost = {"of_00042": {"Record ID": "42"}, "of_1E5": {"Record ID": "100000"}}
    assert imported(sync, tmp_path, as_csv(prepared(sync), **lost)) == (3, [])

    other = opened_sync(state, "other")
    made = prepared(other, [*RECORDS, OwnerRecord("42", {"name": "Pin", "price": None})])
    done, findings = imported(other, tmp_path, as_csv(made, **lost))
    assert done == 3
    [(record, what, fix)] = findings
    assert (record, what.endswith("and the file says 42")) == ("00042", True)
    assert fix == "a program changed how the IDs are written: restore them, or import the .xlsx file"


def test_numbers_are_shown_in_full_and_true_is_no_word_of_a_language(state: State, tmp_path: Path) -> None:
    record = OwnerRecord("1", {"name": True, "price": Decimal("123456789012.5")})
    made = prepared(opened_sync(state), [record])
    sheet = openpyxl.load_workbook(save(tmp_path, made))["Changes"]
    heads = [cell.value for cell in sheet[1]]
    name, price = (sheet.cell(2, heads.index(column) + 1) for column in COLUMNS)

    assert (price.value, price.number_format) == (123456789012.5, "0.0"), "General exports it as 1.23457E+11"
    assert (name.value, name.data_type) == ("true", "s"), "as a truth value it is saved as WAHR or VRAI"


def test_a_text_longer_than_a_cell_is_left_out_and_never_cut(state: State, tmp_path: Path) -> None:
    sync = opened_sync(state)
    emoji = "🔩" * 16_384
    records = [OwnerRecord("1", {"name": emoji, "price": None}), OwnerRecord("2", {"name": emoji[1:], "price": None})]
    made = prepared(sync, records)

    [(record, why)] = made.left_out
    assert (record, why.partition(":")[0]) == ("1", "field name has 32,768 characters, and a cell holds 32,767")
    sheet = openpyxl.load_workbook(save(tmp_path, made))["Changes"]
    longest = max(len(str(cell.value).encode("utf-16-le")) // 2 for row in sheet for cell in row)
    assert longest == 32_766
    done = sync.import_file(save(tmp_path, edited(made.file, mark, {"records": 1})), "ann")
    assert done.finished
    assert sync.checklist.done[0].verification.endswith("; 1 left out")
    changed = prepared(sync, [records[1]._replace(fields={"name": emoji[:-2] + "!", "price": None})])
    sheet = openpyxl.load_workbook(save(tmp_path, changed))["Changes"]
    assert len(str(sheet.cell(2, 4).value)) < 1000, "both values are in full nowhere but in their own cells"


@pytest.mark.parametrize("suffix", [".ods", ".xls", ".pdf", ""])
def test_other_formats_are_named_with_what_to_do(state: State, tmp_path: Path, suffix: str) -> None:
    sync = opened_sync(state)
    with pytest.raises(SorbusError, match=r"files can't be read: save it as .xlsx or .csv"):
        sync.import_file(save(tmp_path, prepared(sync), f"prices{suffix}"), "ann")


@pytest.mark.parametrize("lock", ["~$prices.xlsx", ".~lock.prices.xlsx#"])
def test_a_file_that_is_open_may_hold_unsaved_marks(state: State, tmp_path: Path, lock: str) -> None:
    sync = opened_sync(state)
    file = save(tmp_path, edited(prepared(sync).file, mark))
    (tmp_path / lock).write_bytes(b"\x03Ann" if lock[0] == "~" else b"Ann,ann,host,now,;")

    with pytest.raises(SorbusError, match=r"prices.xlsx is open by Ann"):
        sync.import_file(file, "ann")


def test_a_small_file_that_unpacks_to_much_is_refused_before_it_is_read(state: State, tmp_path: Path) -> None:
    sync = opened_sync(state)
    file = save(tmp_path, prepared(sync))
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("xl/media/x.png", "w") as part:
        for _ in range(301):
            part.write(bytes(1_000_000))
    assert file.stat().st_size < 1_000_000

    with pytest.raises(SorbusError, match="unpacks to 301 MB; a prepared sheet is smaller"):
        sync.import_file(file, "ann")
