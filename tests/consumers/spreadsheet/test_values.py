"""A value comes back unchanged or is a dead letter; whatever it is, its row stays one row and others are delivered."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from sorbus.conformance.sample_type import NAME, Deliveries
from sorbus.connector import RejectedDelivery
from sorbus.consumers.spreadsheet.consumer import SpreadsheetConsumer
from sorbus.schema import parse_schema
from tests.consumers.spreadsheet.office import Office

D = Decimal
MAPPING = [("name", "Name", ""), ("amount", "Price", "")]
TEXTS = [
    " lead", "trail ", 'q"uote', "a;b", "a\nb", "a\r\nb", "a\rb", "\r", "'=1", "=1+1", "-5", "+41 44", "\t", "sep=;",
    "#", "''", '"', "\u2028x", "\x0bx", "\x85x", "\x1cx", "_x0041_", "]]>", "<a&b>", "\U0001f600", "\ufffe", "\\1",
    "\\g<0>", "$1",
]  # fmt: skip
TWO = {"name": "two", "amount": D(2)}


@pytest.fixture(autouse=True)
def state(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SORBUS_DATABASE", database)


def is_whole(office: Office, rows: int) -> bool:
    if office.path.suffix == ".xlsx":
        return len(office.cells()) == rows
    with office.path.open(encoding="utf-8-sig", newline="") as opened:
        return len(list(csv.reader(opened, delimiter=";"))) == rows


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("name", TEXTS)
def test_a_text_comes_back_from_a_text_file(tmp_path: Path, name: str, end: str) -> None:
    office = Office(tmp_path, "k.csv", MAPPING)
    office.path.write_bytes(f"No;Name;Price{end}".encode())
    _twice(office, "1", name)


@pytest.mark.parametrize("name", [*TEXTS, "a\0b"])
def test_a_text_comes_back_from_a_workbook(tmp_path: Path, name: str) -> None:
    office = Office(tmp_path, "k.xlsx", MAPPING)
    _twice(office, "1", name)
    _twice(office, "k" + name.replace("\0", ""), name)


def _twice(office: Office, id: str, name: str) -> None:
    office.prepare()
    assert office.deliver({id: {"name": name, "amount": D(1)}, "2": TWO}) == []
    first, count = office.path.read_bytes(), len(office.cells())
    assert office.deliver({id: {"name": name, "amount": D(1)}, "2": TWO}) == []
    assert office.path.read_bytes() == first
    assert is_whole(office, count)


@pytest.mark.parametrize("number", ["0.0001", "-0", "999999999999999", "12345678901.2345", "1E+14", "-1.10"])
def test_a_number_comes_back_from_a_workbook(tmp_path: Path, number: str) -> None:
    office = Office(tmp_path, "k.xlsx", MAPPING)
    office.prepare()
    refused = office.deliver({"1": {"name": "one", "amount": D(number)}})
    first = office.path.read_bytes()
    assert office.deliver({"1": {"name": "one", "amount": D(number)}}) == refused == []
    assert office.path.read_bytes() == first


@pytest.mark.parametrize("file", ["k.xlsx", "k.csv"])
def test_a_text_that_can_not_be_kept_stops_no_other(tmp_path: Path, file: str) -> None:
    office = Office(tmp_path, file, MAPPING)
    if file == "k.csv":
        office.path.write_text("No;Name;Price\n", "utf-8")
    office.prepare()
    for _ in range(2):
        refused = office.deliver({"1": {"name": "a\0b", "amount": D(1)}, "2": TWO})
        assert [one.place for one in refused] == [0] * (file == "k.csv")
        assert bool(office.consumer().versions(office.made(1, {"1": None}))) != bool(refused)
        assert ["2" in map(str, row) for row in office.cells()][-1]


@pytest.mark.parametrize("file", ["k.xlsx", "k.csv"])
def test_a_key_that_the_state_can_not_hold_stops_no_other(tmp_path: Path, file: str) -> None:
    office = Office(tmp_path, file, [("name", "No", "")])
    office.prepare()
    assert [one.place for one in office.deliver({"1": {"name": "a\0b"}, "2": {"name": "two"}})] == [0]
    assert [str(row[0]) for row in office.cells()] == ["No", "two"]


BIG = parse_schema(
    {
        "type": "record",
        "name": NAME,
        "fields": [
            {
                "name": "amount",
                "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 2}],
                "default": None,
            },
            {
                "name": "made_at",
                "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}],
                "default": None,
            },
        ],
    }
)


def _deliver(office: Office, *records: dict[str, object]) -> list[RejectedDelivery]:
    office.flow = replace(office.flow, schema=BIG)
    office.prepare()
    make = Deliveries(BIG).make
    return SpreadsheetConsumer(office.flow).apply(
        [make(str(place), 1, record) for place, record in enumerate(records, 1)]
    )


@pytest.mark.parametrize("number", ["123456789012345678901234567890.12", "99999999999999999999999999999999.00"])
def test_a_number_of_thirty_digits_is_exact_or_refused(tmp_path: Path, number: str) -> None:
    mapping = [("amount", "Price", "")]
    text, book = Office(tmp_path, "k.csv", mapping), Office(tmp_path, "k.xlsx", mapping)
    assert _deliver(text, {"amount": D("1.50")}, {"amount": D(number)}) == []
    assert text.cells()[1:] == [["1", "1.5"], ["2", number.removesuffix(".00")]]
    (refused,) = _deliver(book, {"amount": D("1.50")}, {"amount": D(number)})
    assert "more than 15 digits" in str(refused.error)
    assert book.cells()[1:] == [["1", 1.5]]


def test_a_moment_beyond_the_calendar_of_its_time_zone_stops_no_other(tmp_path: Path) -> None:
    office = Office(tmp_path, "k.csv", [("made_at", "At", "")], time_zone="Europe/Zurich")
    last = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    (refused,) = _deliver(office, {"made_at": last}, {"made_at": datetime(2026, 11, 30, 12, tzinfo=UTC)})
    assert refused.place == 0
    assert office.cells()[1:] == [["2", "2026-11-30 13:00:00"]]


def test_a_date_before_the_first_one_of_a_workbook_is_text(tmp_path: Path) -> None:
    office = Office(tmp_path, "k.xlsx", [("name", "No", ""), ("made_on", "Day", "")])
    office.prepare()
    book = openpyxl.load_workbook(office.path)
    book.epoch = CALENDAR_MAC_1904
    book.save(office.path)
    days = {"a": date(1903, 12, 31), "b": date(1904, 1, 2), "c": date(2026, 1, 1)}
    assert office.deliver({id: {"name": id, "made_on": day} for id, day in days.items()}) == []
    shown = {id: office.consumer().look(id) for id in days}
    assert {id: row and row["Day"] for id, row in shown.items()} == {id: str(day) for id, day in days.items()}
    assert [type(row[1]) for row in office.cells()[1:]] == [str, datetime, datetime]
