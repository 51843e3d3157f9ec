"""What `sorbus discover` finds in a folder is what a map can say."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest
from pydantic import ValidationError

from sorbus.errors import TransientError
from sorbus.map.authoring.draft_map import source_options
from sorbus.map.authoring.matching import Proposal
from sorbus.producers.spreadsheet.options import SpreadsheetSource
from sorbus.spreadsheet.discovery import discover_sheets, sample_rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    book = openpyxl.Workbook()
    for name in ("Bolts", "Nuts"):
        sheet = book.create_sheet(name)
        sheet.append(["Price list"])
        sheet.append(["No", "Name", "Price", "Since"])
        sheet.append([1, "a", 1.5, date(2026, 1, 2)])
        sheet.append([2, None, 2, date(2026, 1, 3)])
    del book["Sheet"]
    book.save(tmp_path / "prices.xlsx")
    (tmp_path / "people.csv").write_text("Postcode;Joined;Hours\n01234;31.12.2020;38,5\n80331;01.02.2021;40\n")
    (tmp_path / "~$prices.xlsx").write_bytes(b"\4Anna")
    (tmp_path / "notes.docx").write_bytes(b"x")
    return tmp_path


def test_sheets_columns_kinds_and_keys(folder: Path) -> None:
    found = {resource.name: resource for resource in discover_sheets(folder)}
    assert found.keys() == {"people", "prices.Bolts", "prices.Nuts"}
    assert {field.name: field.kind for field in found["people"].fields} == {
        "Postcode": "string", "Joined": "date", "Hours": "decimal",
    }  # fmt: skip
    bolts = found["prices.Bolts"]
    assert [(field.name, field.kind, field.required) for field in bolts.fields] == [
        ("No", "long", True), ("Name", "string", False), ("Price", "decimal", True), ("Since", "date", True),
    ]  # fmt: skip
    assert bolts.key == ("No",)
    assert bolts.records == 2
    assert sample_rows(folder, "prices.Nuts", 1) == [
        {"No": 1, "Name": "a", "Price": Decimal("1.5"), "Since": date(2026, 1, 2)}
    ]


def test_a_draft_of_a_map_names_the_sheet_as_it_was_found(folder: Path) -> None:
    for resource in discover_sheets(folder):
        options = source_options(Proposal("item", resource, 1.0, (), (), (), ()), SpreadsheetSource)
        assert options is not None
        source = SpreadsheetSource.model_validate(options)
        assert source.resource == resource.name
    assert SpreadsheetSource.model_validate({"file": "prices.Bolts", "key": "No"}).sheets == ("Bolts",)
    assert SpreadsheetSource.model_validate({"file": "prices.2026.xlsx", "key": "No"}).sheets == ()


def test_a_folder_that_is_away_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="is the drive connected"):
        discover_sheets(tmp_path / "share")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"decimals": "1_234"}, "1,234.56"),
        ({"every": "real-time"}, "every 10s"),
        ({"time_zone": "Mars"}, "Europe"),
        ({"key": []}, "key"),
    ],
)
def test_a_wrong_option_says_what_to_write(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        SpreadsheetSource.model_validate({"file": "x.csv", "key": "No", **wrong})
