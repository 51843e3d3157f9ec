"""LibreOffice opens what the consumer writes, shows the same values, and saves what is read back the same."""

from __future__ import annotations

import csv
import shutil
import subprocess
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from sorbus.conformance.sample_type import NAME, SCHEMA, decode, rows
from sorbus.connector import BoundSource, BoundSystem, Change
from sorbus.mapfile.model import DataType, System
from sorbus.producers.spreadsheet.options import SpreadsheetSource
from sorbus.producers.spreadsheet.producer import SpreadsheetProducer
from sorbus.spreadsheet.files import SpreadsheetConnection
from tests.consumers.spreadsheet.office import Office
from tests.consumers.spreadsheet.test_consumer import MAPPING, books

pytestmark = [pytest.mark.real, pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice isn't there")]
RECORDS = {
    "b1": {"name": "Bolt M8", "amount": Decimal("1.75"), "made_on": date(2026, 11, 29)},
    "00042": {"name": "=1+1", "amount": Decimal("-1234.5"), "made_on": date(1999, 12, 31)},
    "ü/日": {"name": "two\nlines, “quoted” & <b> _x0041_", "amount": Decimal("0.0001"), "made_on": None},
    "-7": {"name": "00123", "amount": None, "made_on": date(2024, 2, 29)},
}


@pytest.fixture(autouse=True)
def state(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SORBUS_DATABASE", database)


def convert(file: Path, to: str, folder: Path) -> Path:
    """LibreOffice opens it and saves it."""
    folder.mkdir(exist_ok=True)
    profile = f"-env:UserInstallation=file://{folder}/profile"
    command = ["soffice", profile, "--headless", "--convert-to", to, "--outdir", str(folder), str(file)]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    return folder / f"{file.stem}.{to.partition(':')[0]}"


def read(folder: Path, file: str, **options: object) -> dict[str, dict[str, object]]:
    """As a source."""
    given = {"file": file, "key": ["No"], "settle": 0, "keyless_rows": "skip", **options}
    source_options = SpreadsheetSource.model_validate(given)
    mapping = [(field, f"{source_options.resource}.{column}", "") for field, column, _ in MAPPING]
    data_type = DataType(system_of_record="office")
    source = BoundSource(NAME, data_type, SCHEMA, rows("office", mapping, into=False), source_options)
    system = BoundSystem("office", System(kind="spreadsheet"), SpreadsheetConnection(path=Path()), "", folder)
    found = {}
    for batch in SpreadsheetProducer.scan(system, source):
        for one in batch:
            assert isinstance(one, Change), one
            assert one.data is not None
            record = decode(one.data)
            found[one.id.decode()] = {field: record[field] for field, _, _ in MAPPING}
    return found


@pytest.mark.parametrize("is_new", [True, False], ids=["a file of Sorbus's", "a person's file"])
def test_libreoffice_shows_and_keeps_what_was_written(tmp_path: Path, *, is_new: bool) -> None:
    office = Office(tmp_path, "prices.xlsx", MAPPING, **({} if is_new else {"sheet": "Sheet"}))
    if not is_new:
        books(office.path)
    office.prepare()
    assert office.deliver(RECORDS) == []
    sheet = {} if is_new else {"sheet": "Sheet"}
    wanted = {id: {"name": None, "amount": None, "made_on": None, **record} for id, record in RECORDS.items()}
    before = read(tmp_path, "prices.xlsx", **sheet)
    assert {id: before[id] for id in wanted} == wanted, "read back by Sorbus"

    shown = convert(
        office.path, "csv:Text - txt - csv (StarCalc):59,34,76,1,,0,false,true,false,false,false,1", tmp_path / "shown"
    )
    with next(shown.parent.glob("prices*.csv")).open(encoding="utf-8", newline="") as opened:
        lines = list(csv.reader(opened, delimiter=";"))
    head = next(line for line in lines if "No" in line)
    by_key = {line[head.index("No")]: dict(zip(head, line, strict=False)) for line in lines}
    for id, record in RECORDS.items():
        assert by_key[id]["Name"] == record["name"]
    if not is_new:
        assert by_key["b1"]["Gross"].startswith("2.1"), "calculated again from the new price"

    convert(office.path, "xlsx:Calc MS Excel 2007 XML", tmp_path / "saved")
    assert read(tmp_path / "saved", "prices.xlsx", **sheet) == before, "as LibreOffice saved it"
    after = Office(tmp_path / "saved", "prices.xlsx", MAPPING, **sheet)
    after.version = 10
    assert after.deliver({"b1": {"name": "again"}}) == []
    assert read(tmp_path / "saved", "prices.xlsx", **sheet)["b1"]["name"] == "again"
