"""Manual sync by clicks: the sheet as a download, the file with its marks as an upload, and what came of each row."""

from __future__ import annotations

import io

import openpyxl
import pytest

from sorbus.map.loaded import LoadedMap
from sorbus.ops.checklists.sheets.changes import OwnerRecord
from sorbus.ops.checklists.sheets.manual_sync import ManualSync
from sorbus.ops.checklists.sheets.open_sync import OpenedSync
from sorbus.ops.checklists.store import Checklists
from sorbus.state import State
from tests.ops.checklists.sheets.person import Rows, edited, mark
from tests.ops.console.visitor import Served, Visitor

FLOW = "customer-to-plan"
HERE = f"/checklists/{FLOW}"
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def visitor(console: Served) -> Visitor:
    return console.visitor()


def test_a_sheet_is_imported_by_a_click_and_each_refused_row_says_why(
    visitor: Visitor, state: State, loaded: LoadedMap
) -> None:
    sync = ManualSync(Checklists(loaded.map, state), state, FLOW, "asked")
    records = [OwnerRecord("1", {"name": EVIL}), OwnerRecord("2", {"name": "Alder & Ash"})]
    made = sync.prepare(records, ("name",), "Larkspur", "ann")
    assert made.sheet is not None
    assert f"Sheet {made.sheet.code}" in visitor.get(HERE).text

    def altered(rows: Rows) -> Rows:
        return [mark(rows)[0] | {"Record ID": EVIL}, *mark(rows)[1:]]

    def sent(file: bytes, name: str = "customers.xlsx", **more: str) -> str:
        answer = visitor.post(f"{HERE}/import", more, form=HERE, files={"file": (name, file)})
        return answer.text if answer.status_code == 200 else visitor.get(answer.headers["location"]).text

    trial = sent(edited(made.file, mark, {"records": 2}), trial="1")
    assert "What this file would record" in trial
    assert sync.store.confirmed() == {}
    wrong = sent(edited(made.file, altered))
    assert "row 2" in wrong
    assert "the file says &lt;script&gt;" in wrong
    assert EVIL not in wrong
    done = sent(edited(made.file, mark, {"records": 2}))
    assert "The round is finished." in done
    assert "agrees" in done
    assert "2 of 2" in visitor.get(HERE).text
    assert "save it as .xlsx or .csv" in sent(b"MZ", "virus.exe")
    assert "isn&#39;t an .xlsx workbook" in sent(b"MZ")
    assert visitor.post(f"{HERE}/import", form=HERE).status_code == 303
    assert visitor.post("/checklists/nothing/sheet", form=HERE).status_code == 404


def test_figures_that_a_text_file_lacks_are_entered_on_the_page(
    visitor: Visitor, state: State, loaded: LoadedMap
) -> None:
    sync = ManualSync(Checklists(loaded.map, state), state, FLOW, "asked")
    made = sync.prepare([OwnerRecord("1", {"name": "Alder"})], ("name",), "Larkspur", "ann")
    assert made.sheet is not None
    file = f"Row;Done?\n{made.sheet.code}-1;done\n".encode()

    def sent(figure: str) -> str:
        answer = visitor.post(
            f"{HERE}/import", {"figure:records": figure}, form=HERE, files={"file": ("customers.csv", file)}
        )
        return answer.text if answer.status_code == 200 else visitor.get(answer.headers["location"]).text

    assert "Records in plan (if the file does not say)" in visitor.get(HERE).text
    assert "records: &#39;one&#39; is not a valid number" in sent("one")
    assert "enter what the target holds: records" in sent("")
    assert "figures differ" in sent("2")
    assert "The round is finished." in sent("1")


def test_a_sheet_is_prepared_by_a_click(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = visitor.post(f"{HERE}/sheet", form=HERE)
    assert "nothing is published of customer" in visitor.get(nothing.headers["location"]).text
    monkeypatch.setattr(OpenedSync, "records", lambda *_: [OwnerRecord("1", {"name": "Alder"})])

    answer = visitor.post(f"{HERE}/sheet", form=HERE)

    assert answer.headers["content-disposition"].startswith(f'attachment; filename="{FLOW}-')
    sheet = openpyxl.load_workbook(io.BytesIO(answer.content))["Changes"]
    assert [cell.value for cell in sheet[2]][1:4] == ["new", "1", "Create it."]
