"""From a sheet to two others while people save, and everything is killed in the middle: equal at the end.

What is compared is what openpyxl and csv read; Sorbus's code has no part in it.
"""

from __future__ import annotations

import csv
import json
import random
import sys
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest

from sorbus.ops.embedded import Addresses
from tests.acceptance.office import Office, unlike
from tests.conftest import Report

pytestmark = pytest.mark.slow
SORBUS = str(Path(sys.executable).with_name("sorbus"))
NUMBER = {"type": "bytes", "logicalType": "decimal", "precision": 19, "scale": 4}
SCHEMA: list[object] = [
    {"name": "name", "type": "string"},
    {"name": "price", "type": ["null", NUMBER], "default": None},
    {"name": "since", "type": ["null", {"type": "int", "logicalType": "date"}], "default": None},
    {"name": "note", "type": ["null", "string"], "default": None},
]
COLUMNS = ("Name", "Price", "Since", "Note")
ROWS = [
    *(("share", f"list.{column}", "canonical", f"item.{column.lower()}", "") for column in COLUMNS),
    *(("canonical", f"item.{column.lower()}", to, f"copy.{column}", "")
      for to in ("books", "export") for column in COLUMNS),
]  # fmt: skip
Rows = dict[str, dict[str, object]]
CHANGES, ROUNDS, KILLS = 10_000, 20, 6


class Writer:
    """A person who changes rows of a sheet, moves them about, and saves."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows, self.changes = path, Rows(), 0
        self._chance, self._next = random.Random(18), 1

    def work(self, changes: int) -> None:
        """So many rows are new, changed or gone; then it is saved."""
        for _ in range(changes):
            self.changes += 1
            kind = self._chance.random()
            if kind < 0.35 or len(self.rows) < 50:
                self.rows[f"{self._next:05d}"] = self._row()
                self._next += 1
            elif kind < 0.9:
                self.rows[self._chance.choice(list(self.rows))] = self._row()
            else:
                del self.rows[self._chance.choice(list(self.rows))]
        self.save()

    def _row(self) -> dict[str, object]:
        number = self._chance.randrange(1_000_000)
        return {
            "Name": f"=Name {number}" if number % 50 == 0 else f"Name {number} ü",
            "Price": None if number % 9 == 0 else Decimal(number) / 100,
            "Since": date(2000, 1, 1) + timedelta(number % 9000) if number % 4 else None,
            "Note": ("00123", "+41 44", None, "a;b", "two\nlines")[number % 5],
        }

    def save(self) -> None:
        """As programs do: whole, in place of the old file."""
        book = openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet("List")
        sheet.append(["Name", "Price", "No", "Since", "Note"])
        order = list(self.rows)
        self._chance.shuffle(order)
        for id in order:
            row = self.rows[id]
            name = openpyxl.cell.WriteOnlyCell(sheet, row["Name"])
            name.data_type = "s"
            sheet.append([name, row["Price"], id, row["Since"], row["Note"]])
        temporary = self.path.with_suffix(".tmp")
        book.save(temporary)
        temporary.replace(self.path)


def workbook(path: Path) -> Rows:
    """By key, as openpyxl reads it."""
    head, *rows = openpyxl.load_workbook(path, read_only=True).worksheets[0].iter_rows(values_only=True)
    found = [
        {**dict.fromkeys(map(str, head)), **dict(zip(map(str, head), row, strict=False))}
        for row in rows
        if any(cell is not None for cell in row)
    ]
    made = Rows()
    for row in found:
        key = str(row["No"])
        assert key not in made, f"{key} is there twice"
        since, price = row["Since"], row["Price"]
        assert isinstance(price, int | float | None)
        made[key] = {
            "Name": row["Name"],
            "Price": None if price is None else Decimal(str(price)),
            "Since": since.date() if isinstance(since, datetime) else since,
            "Note": row["Note"],
        }
    return made


def text(path: Path) -> Rows:
    """By key, as csv reads it; the apostrophe before what looks like a formula is taken off."""
    made = Rows()
    with path.open(encoding="utf-8-sig", newline="") as opened:
        for row in csv.DictReader(opened, delimiter=";"):
            assert row["No"] not in made, f"{row['No']} is there twice"
            made[row["No"]] = {
                "Name": row["Name"].removeprefix("'"),
                "Price": Decimal(row["Price"]) if row["Price"] else None,
                "Since": date.fromisoformat(row["Since"]) if row["Since"] else None,
                "Note": row["Note"] or None,
            }
    return made


def test_ten_thousand_changes_with_kills_in_the_middle(
    stack: Addresses, make_database: Callable[[str], str], unique: str, tmp_path: Path, report: Report
) -> None:
    office = Office(tmp_path, unique, {**stack.env(), "SORBUS_DATABASE": make_database("")})
    folder = {"connection": {"path": "."}, "kind": "spreadsheet"}
    flows = [
        {"data_type": "item", "to": to, "target": {"file": file, "key": "No"}}
        for to, file in (("books", "copy.xlsx"), ("export", "copy.csv"))
    ]
    source = {
        "file": "list.xlsx",
        "key": "No",
        "removed_rows": "delete",
        "max_deletes": 5000,
        "every": "every 1s",
        "settle": 0.2,
    }
    office.write(
        {
            "systems": {name: {**folder, "owner": "Sales"} for name in ("share", "books", "export")},
            "data_types": {"item": {"system_of_record": "share", "source": source}},
            "flows": flows,
        },
        ROWS,
        {"item": SCHEMA},
    )
    writer = Writer(tmp_path / "list.xlsx")
    writer.work(2000)
    office.sorbus("map", "check")
    office.sorbus("apply", "--yes")
    began = time.monotonic()
    per_kill, told = ROUNDS // KILLS, list[str]()
    for _ in range(KILLS):
        with office.killed():
            before = (tmp_path / "copy.xlsx").stat().st_ino
            for _ in range(per_kill):
                writer.work((CHANGES - 2000) // (KILLS * per_kill) + 1)
                time.sleep(writer.changes % 7 / 10)  # not always at the same moment of Sorbus's work
            office.until(lambda: "" if (tmp_path / "copy.xlsx").stat().st_ino != before else "nothing written yet", 60)  # noqa: B023
    with office.up():

        def missing() -> str:
            wanted = workbook(tmp_path / "list.xlsx")
            return unlike(workbook(tmp_path / "copy.xlsx"), wanted) or unlike(text(tmp_path / "copy.csv"), wanted)

        office.until(missing, 120, every=1.0)
        for to in ("books", "export"):
            planned = json.loads(office.sorbus("plan", f"item-to-{to}", "--json"))
            assert planned["counts"]["nothing"] == planned["records"], planned
            told.append(office.sorbus("reconcile", f"item-to-{to}"))
            assert "no difference found" in told[-1]
    report(f"{writer.changes} changes, {KILLS} kills, {len(writer.rows)} rows, {time.monotonic() - began:.0f} s")
    report("\n".join(told))
    assert writer.changes >= CHANGES
    assert workbook(tmp_path / "list.xlsx").keys() == writer.rows.keys()
