"""Our spreadsheet connectors pass the conformance suite."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import openpyxl
import pytest

from sorbus.conformance import ProducerConformance, Source, Thing
from sorbus.producers.spreadsheet.options import SpreadsheetSource
from sorbus.producers.spreadsheet.producer import SpreadsheetProducer

FIELDS = ["name", "note", "amount", "count", "active", "made_on", "seen_at"]


def text(value: object) -> str:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    return "" if value is None else str(value)


class SheetThings(Source):
    """Things in a file that is written anew with every change, as a person's program does."""

    connector = SpreadsheetProducer
    longest = 30_000
    patience = 20.0
    file: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.connection = {"path": "."}
        self.options = {
            "file": self.file,
            "key": ["id"],
            "removed_rows": "delete",
            "max_deletes": 100,
            "every": "every 1s",
            "settle": 0.02,
            "time_zone": "UTC",
        }
        self.path = folder / self.file
        self.rows: dict[str, dict[str, object]] = {}
        self.save()

    def put(self, things: Mapping[str, Thing]) -> None:
        self.rows |= {id: dict(thing) for id, thing in things.items()}
        self.save()

    def remove(self, id: str) -> None:
        del self.rows[id]
        self.save()

    def spoil(self, id: str) -> None:
        self.rows[id] = {**self.rows[id], "made_on": "soon"}
        self.save()

    @contextmanager
    def broken(self) -> Iterator[None]:
        away = self.path.with_suffix(".away")
        self.path.rename(away)
        try:
            yield
        finally:
            away.rename(self.path)

    def save(self) -> None:
        new = self.path.with_name(f".{self.path.name}")
        self.write(new)
        new.replace(self.path)

    def write(self, path: Path) -> None:
        raise NotImplementedError


class CsvThings(SheetThings):
    file = "things.csv"

    def write(self, path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as opened:
            writer = csv.writer(opened, delimiter=";")
            writer.writerow(["id", *FIELDS])
            writer.writerows([id, *(text(row.get(name)) for name in FIELDS)] for id, row in self.rows.items())


class XlsxThings(SheetThings):
    file = "things.xlsx"
    many = 300

    def write(self, path: Path) -> None:
        book = openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet("Things")
        sheet.append(["id", *FIELDS])
        for id, row in self.rows.items():
            values = [row.get(name) for name in FIELDS]
            sheet.append(
                [id, *(str(value) if hasattr(value, "tzinfo") and value.tzinfo else value for value in values)]
            )
        book.save(path)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at twenty times a second, which no map can say."""
    monkeypatch.setattr(SpreadsheetSource, "seconds", 0.05)


class TestCsv(ProducerConformance):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        return CsvThings(tmp_path)


@pytest.mark.slow
class TestXlsx(ProducerConformance):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        return XlsxThings(tmp_path)
