"""A sheet that people work in, and a consumer that delivers into it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import openpyxl
from openpyxl.worksheet.worksheet import Worksheet

from sorbus.conformance.sample_type import NAME, SCHEMA, Deliveries, rows
from sorbus.connector import BoundFlow, BoundSystem, Delivery, RejectedDelivery
from sorbus.consumers.spreadsheet.consumer import SpreadsheetConsumer
from sorbus.consumers.spreadsheet.options import SpreadsheetTarget
from sorbus.mapfile.model import DataType, Flow, System
from sorbus.spreadsheet.files import SpreadsheetConnection

make = Deliveries(SCHEMA).make


class Office:
    """`mapping`: rows (field of a sample, column, rule)."""

    def __init__(
        self, folder: Path, file: str, mapping: list[tuple[str, str, str]], *, deletes: str = "hard", **options: object
    ) -> None:
        self.path = folder / file
        self.options = SpreadsheetTarget.model_validate({"file": file, "key": "No", "settle": 0, **options})
        named = [(field, f"{self.options.resource}.{column}", rule) for field, column, rule in mapping]
        self.flow = BoundFlow(
            Flow.model_validate({"data_type": NAME, "from": "suite", "to": "office", "deletes": deletes}),
            DataType(system_of_record="suite"),
            SCHEMA,
            rows("office", named, into=True),
            self.options,
            BoundSystem("office", System(kind="spreadsheet"), SpreadsheetConnection(path=Path()), "", folder),
        )
        self.version = 0

    def prepare(self) -> list[str]:
        """As `sorbus apply` does."""
        steps = SpreadsheetConsumer.plan(self.flow)
        for step in steps:
            if step.apply is not None:
                step.apply()
        return [step.what for step in steps]

    def deliver(self, records: Mapping[str, Mapping[str, object] | None]) -> list[RejectedDelivery]:
        """The next version of each."""
        self.version += 1
        return self.consumer().apply(self.made(self.version, records))

    def consumer(self) -> SpreadsheetConsumer:
        """Opened."""
        consumer = SpreadsheetConsumer(self.flow)
        consumer.open()
        return consumer

    def made(self, version: int, records: Mapping[str, Mapping[str, object] | None]) -> list[Delivery]:
        """This version of each."""
        return [make(id, version, record) for id, record in records.items()]

    def sheet(self) -> Worksheet:
        """As openpyxl reads it."""
        found = openpyxl.load_workbook(self.path).worksheets[0]
        assert isinstance(found, Worksheet)
        return found

    def change(self, place: str, value: object) -> None:
        """As a person does in a workbook."""
        book = openpyxl.load_workbook(self.path)
        book.worksheets[0][place] = value
        book.save(self.path)

    def write_below(self, *cells: object) -> None:
        """A person's own row."""
        if self.path.suffix == ".csv":
            with self.path.open("a", encoding="utf-8", newline="") as opened:
                csv.writer(opened, delimiter=";").writerow(cells)
            return
        book = openpyxl.load_workbook(self.path)
        sheet = book.worksheets[0]
        assert isinstance(sheet, Worksheet)
        sheet.append(cells)
        book.save(self.path)

    def cells(self) -> list[list[object]]:
        """Every row."""
        if self.path.suffix == ".csv":
            with self.path.open(encoding="utf-8-sig", newline="") as opened:
                return [list(row) for row in csv.reader(opened, delimiter=";")]
        return [list(row) for row in self.sheet().iter_rows(values_only=True)]
