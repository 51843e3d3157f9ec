"""Our spreadsheet connectors pass the conformance suite."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

import openpyxl
import pytest

from sorbus.conformance import ConsumerConformance, ProducerConformance, Source, Target, Thing
from sorbus.consumers.spreadsheet.consumer import SpreadsheetConsumer
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


class SheetTarget(Target):
    """A sheet with a person's own column, read without Sorbus."""

    connector = SpreadsheetConsumer
    longest = 32_000
    many = 300
    file: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.options = {"file": self.file, "settle": 0.0}
        self.path = folder / self.file

    @contextmanager
    def broken(self) -> Iterator[None]:
        """Somebody has it open."""
        lock = self.path.with_name(f"~${self.file}")
        lock.write_bytes(b"\x04Anna")
        try:
            yield
        finally:
            lock.unlink()

    def writes(self) -> int:
        return self.path.stat().st_ino

    def table(self) -> list[list[object]]:
        raise NotImplementedError

    def thing(self, name: str, value: object) -> object:
        raise NotImplementedError

    def read(self) -> Mapping[str, Thing]:
        head, *rows = self.table()
        found = [dict(zip(map(str, head), row, strict=False)) for row in rows if any(cell is not None for cell in row)]
        return {str(row["id"]): {name: self.thing(name, row.get(name)) for name in FIELDS} for row in found}


class XlsxTarget(SheetTarget):
    file = "target.xlsx"

    def table(self) -> list[list[object]]:
        book = openpyxl.load_workbook(self.path)
        sheet = book.active
        assert sheet is not None
        return [list(row) for row in sheet.iter_rows(values_only=True)]

    def thing(self, name: str, value: object) -> object:
        if isinstance(value, datetime):
            return value.date()
        if name == "amount" and isinstance(value, int | float):
            return Decimal(str(value))
        return datetime.fromisoformat(value) if name == "seen_at" and isinstance(value, str) else value

    def refused(self) -> Thing:
        return {"name": "x" * 40_000}

    def damage(self, id: str) -> None:
        book = openpyxl.load_workbook(self.path)
        sheet = book.active
        assert sheet is not None
        row = next(row for row in sheet.iter_rows() if str(row[0].value) == id)
        row[1].value = "damaged"
        book.save(self.path)


class CsvTarget(SheetTarget):
    file = "target.csv"

    def table(self) -> list[list[object]]:
        with self.path.open(encoding="utf-8-sig", newline="") as opened:
            return [[cell or None for cell in row] for row in csv.reader(opened, delimiter=";")]

    def thing(self, name: str, value: object) -> object:
        if value is None or name in ("name", "note"):
            return value
        text = str(value)
        if name == "active":
            return text == "TRUE"
        types: dict[str, Callable[[str], object]] = {
            "amount": Decimal,
            "count": int,
            "made_on": date.fromisoformat,
            "seen_at": datetime.fromisoformat,
        }
        return types[name](text)

    def damage(self, id: str) -> None:
        text = self.path.read_text("utf-8-sig")
        lines = [line.replace("Thing", "damaged") if line.startswith(f"{id};") else line for line in text.splitlines()]
        self.path.write_text("\n".join(lines), "utf-8-sig")


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


@pytest.fixture
def state(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where versions are kept."""
    monkeypatch.setenv("SORBUS_DATABASE", database)


@pytest.mark.usefixtures("state")
class TestXlsxTarget(ConsumerConformance):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Target:
        return XlsxTarget(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("state")
class TestCsvTarget(ConsumerConformance):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Target:
        return CsvTarget(tmp_path)
