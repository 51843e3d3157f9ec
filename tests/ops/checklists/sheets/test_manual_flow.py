"""A manual flow end to end: events in Kafka, a person who types them into a table, sheets that ask and verify."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import openpyxl
import psycopg
import pytest

from sorbus.bus.status import reporting
from sorbus.state.database import migrate
from sorbus.telemetry.health import Health
from tests.consumers.gadgets import gadget
from tests.consumers.line import Line
from tests.consumers.plugin import line, make_line
from tests.ops.checklists.sheets.person import Rows, edited, mark

__all__ = ["line", "make_line"]

FLOW = "gadget-to-price_book"
MORE = """
  - data_type: gadget
    to: price_book
    where: name != "secret"
    target: {table: prices, existing: true, key: sku}
    manual:
      checklist: [Type the changes into the price book.]
      schedule: on demand
      responsible: Field sales <field@example.com>
      verification: Count and sum are equal.
      totals: [amount]
"""
SHEET = """Source System,Source Field,Target System,Target Field,Rule,Notes
canonical,gadget.id,price_book,prices.sku,,
canonical,gadget.name,price_book,prices.title,value | upper,capitals
canonical,gadget.price,price_book,prices.amount,,
canonical,gadget.made_on,price_book,prices.since,,
"""


@pytest.fixture
def book(line: Line) -> Line:
    text = (line.folder / "map.yaml").read_text()
    text = text.replace("data_types:", '  price_book: {kind: postgres, connection: {dsn: "${BOOKS_DSN}"}}\ndata_types:')
    (line.folder / "map.yaml").write_text(text + MORE)
    (line.folder / "mappings").mkdir()
    (line.folder / "mappings" / "price_book.csv").write_text(SHEET)
    line.execute("create table prices (sku text primary key, title text, amount numeric, since date)")
    migrate(line.state)
    return line


def typed(line: Line, file: Path) -> None:
    """The person makes the changes that the sheet lists."""
    sheet = openpyxl.load_workbook(file)["Changes"]
    heads, *lines = list(sheet.iter_rows(values_only=True))
    with psycopg.connect(line.dsn) as session:
        for values in lines:
            row = dict(zip(heads, values, strict=True))
            session.execute("delete from prices where sku = %s", [row["Record ID"]])
            if row["Change"] != "deleted":
                fields = [row["sku"], row["title"], row["amount"], row["since"]]
                session.execute("insert into prices values (%s, %s, %s, %s)", fields)


def told(line: Line, *words: str, status: int = 0) -> dict[str, object]:
    found = json.loads(line.sorbus("checklists", *words, "--json", status=status).splitlines()[0])
    assert isinstance(found, dict)
    return found


def test_a_person_transfers_what_changed_and_sorbus_counts(book: Line) -> None:
    file = book.folder / "prices.xlsx"
    book.publish(
        [
            ("00042", 1, gadget("bolt", price=Decimal("1.50"), lines=[])),
            ("g2", 2, gadget("=1+1", price=None, lines=[])),
            ("g3", 3, gadget("nut", price=Decimal(3), lines=[])),
            ("g4", 4, gadget("secret", price=Decimal(9), lines=[])),
        ]
    )
    dry = told(book, "sheet", FLOW, "-o", str(file), "--dry-run")
    assert (dry["rows"], dry["sheet"], file.exists()) == ({"new": 3}, None, False)

    told(book, "sheet", FLOW, "-o", str(file))
    typed(book, file)
    file.write_bytes(edited(file.read_bytes(), mark))
    would = told(book, "import", FLOW, str(file), "--dry-run")
    assert (would["done"], would["finished"], would["why_open"]) == (3, False, "")
    done = told(book, "import", FLOW, str(file))
    assert (done["done"], done["finished"]) == (3, True)
    figures = {each["name"]: each for each in done["figures"]}  # type: ignore[attr-defined]
    assert figures["records"] == {"name": "records", "owner": "3", "confirmed": "3", "target": "3", "how": "read"}
    assert figures["amount"] == {"name": "amount", "owner": "4.5", "confirmed": "4.5", "target": "4.5", "how": "read"}
    assert told(book, "import", FLOW, str(file))["done"] == 0

    book.publish(
        [
            ("g2", 5, gadget("screw", price=Decimal(2), lines=[])),
            ("g3", 6, None),
            ("g4", 7, gadget("open", price=Decimal(9), lines=[])),
            ("00042", 8, gadget("bolt", price=Decimal("1.50"), note="not in the price book", lines=[])),
        ]
    )
    marked = file.read_bytes()
    assert "use another name, or --force" in book.sorbus("checklists", "sheet", FLOW, "-o", str(file), status=2)
    assert file.read_bytes() == marked, "hours of marks may be in it"
    made = told(book, "sheet", FLOW, "-o", str(file), "--force")
    assert made["rows"] == {"deleted": 1, "changed": 1, "new": 1}
    [row] = [
        dict(zip(next(iter(sheet.values)), values, strict=True))
        for sheet in [openpyxl.load_workbook(file)["Changes"]]
        for values in sheet.values
        if values[1] == "changed"
    ]
    assert (row["Record ID"], row["What to do"]) == ("g2", "title: =1+1 → SCREW\namount: (empty) → 2")

    def one_left(rows: Rows) -> Rows:
        return [
            row | ({"Done?": "not done", "Reason if not done": "no price list"} if row["Change"] == "new" else {})
            for row in mark(rows)
        ]

    typed(book, file)
    book.execute("delete from prices where sku = 'g4'")
    book.execute("insert into prices values ('forgotten', 'X', 1)")
    file.write_bytes(edited(file.read_bytes(), one_left))
    differs = told(book, "import", FLOW, str(file))
    assert (differs["done"], differs["not_done"], differs["finished"]) == (2, 1, False)
    assert "records: 3 in the target, 2 confirmed" in str(differs["why_open"])
    book.execute("delete from prices where sku = 'forgotten'")
    assert told(book, "import", FLOW, str(file))["finished"] is True
    assert told(book, "sheet", FLOW, "--dry-run")["rows"] == {"new": 1}, "what was not done is asked for again"

    shown = told(book, "show", FLOW)
    assert [len(each["figures"]) for each in shown["done"]] == [2, 2]  # type: ignore[attr-defined]
    assert "2 done, 1 not done" in shown["done"][0]["verification"]  # type: ignore[index]


@pytest.mark.slow
def test_a_target_that_was_filled_before_is_confirmed_at_once(book: Line) -> None:
    book.publish([(f"g{n}", n, gadget("nut", price=Decimal(n), lines=[])) for n in range(1, 6)])
    assert told(book, "baseline", FLOW, "-m", "compared", "--dry-run")["records"] == "5"
    assert told(book, "sheet", FLOW, "--dry-run")["rows"] == {"new": 5}
    told(book, "baseline", FLOW, "-m", "compared all five")
    assert told(book, "sheet", FLOW, "--dry-run")["rows"] == {}
    book.sorbus("checklists", "reopen", FLOW, "g3", "-m", "wrong line")
    assert told(book, "sheet", FLOW, "--dry-run")["rows"] == {"check": 1}
    assert "not confirmed" in book.sorbus("checklists", "reopen", FLOW, "g9", "-m", "x", status=1)
    audit = book.state.run(b"select action, reason from audit where subject = %s order by number", [FLOW])
    assert audit[-2:] == [("baseline", "compared all five"), ("reopen", "wrong line")]


def test_a_sheet_tells_that_the_owners_producer_does_not_run(book: Line) -> None:
    book.publish([("g1", 1, gadget("nut", lines=[]))])
    assert told(book, "sheet", FLOW, "--dry-run")["trouble"] == ""
    with reporting(book.settings, book.names, "produce crm", Health()):
        pass

    file = book.folder / "prices.xlsx"
    made = told(book, "sheet", FLOW, "-o", str(file))

    assert str(made["trouble"]).startswith("crm: its producer is not running since ")
    texts = [str(row[0]) for row in openpyxl.load_workbook(file)["Figures"].values]
    assert any(text.startswith("Attention: crm: its producer is not running") for text in texts)


@pytest.mark.slow
def test_nothing_is_asked_of_people_while_nothing_is_published(book: Line) -> None:
    assert "nothing is published of gadget" in book.sorbus("checklists", "sheet", FLOW, status=1)
