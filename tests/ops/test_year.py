"""The year's own parts: the ledger sees a lost cent, the faults fill any run, the picture shows everything."""

from __future__ import annotations

import ast
import sqlite3
import sys
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.map.load import load_map
from sorbus.ops.demo.company import examples
from sorbus.ops.demo.year import facts
from sorbus.ops.demo.year import ledger as ledger_module
from sorbus.ops.demo.year.facts import Customer, Line, Order, Payment
from sorbus.ops.demo.year.faults import KINDS, Outcome, schedule
from sorbus.ops.demo.year.ledger import Ledger, cents, differences, trimmed
from sorbus.ops.demo.year.picture import picture
from sorbus.ops.demo.year.run import MonthEnd
from sorbus.ops.demo.year.systems import keyed
from tests.commands import type_command

CENTS = st.integers(1, 10**9).map(lambda number: Decimal(number) / 100)


def company() -> Ledger:
    """One customer with an order that was shipped, invoiced and half paid."""
    made = Ledger()
    made.customers[7] = Customer(7, "C-1", "Weiß GmbH", "a@b.example", "DE", "active", 30, True)
    line = Line(1, "GA-0001", Decimal("2.5"), Decimal("19.99"), Decimal("0.05"), Decimal("0.19"))
    made.orders[3] = Order(3, "SO-1", 7, "confirmed", date(2026, 1, 3), [line])
    invoice = made.ship(made.orders[3], date(2026, 1, 9))
    made.pay(Payment("B-1", date(2026, 1, 20), ((invoice.number, Decimal("20.00")),)))
    return made


@pytest.mark.parametrize("module", [facts, ledger_module])
def test_the_ledger_owes_nothing_to_sorbus(module: ModuleType) -> None:
    tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [one.name for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names]
    assert {name.partition(".")[0] for name in names if name != facts.__name__} <= sys.stdlib_module_names


def test_an_order_becomes_an_invoice_to_the_cent() -> None:
    expected = company().expected()
    assert expected["accounting.invoices"]["INV-SO-1"] == (
        "7", "2026-01-09", "2026-02-08", "47.48", "9.02", "56.5", "20", "PARTLY_PAID",
    )  # fmt: skip
    assert expected["erp.month_end"] == {
        "sold 2026-01": ("1", "47.48", "9.02", "56.5"), "owed by 7": ("36.5",), "owed": ("36.5",),
    }  # fmt: skip
    assert expected["mailing.customers"] == {"7": ("C-1", "Weiß GmbH", "a@b.example")}


@pytest.mark.parametrize("relation", sorted(company().expected()))
def test_what_is_lost_added_or_changed_in_any_system_is_a_difference(relation: str) -> None:
    wanted = company().expected()
    found = {name: dict(rows) for name, rows in wanted.items()}
    assert differences(wanted, lambda name: found[name]) == []
    found[relation]["extra"] = ("1",)
    if wanted[relation]:
        key = next(iter(wanted[relation]))
        found[relation][key] = (*wanted[relation][key][:-1], "0.01")
    told = [str(one) for one in differences(wanted, lambda name: found[name])]
    assert len(told) == 1 + bool(wanted[relation])
    assert all(line.startswith(f"{relation} ") for line in told)


def test_a_record_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"support.customers: 7 is there twice"):
        keyed("support.customers", [("7", "a"), ("7", "a")])


@given(CENTS, st.integers(0, 4))
def test_trailing_zeros_say_nothing_and_every_other_digit_counts(amount: Decimal, zeros: int) -> None:
    assert trimmed(f"{amount}{'0' * zeros}" if "." in f"{amount}" else f"{amount}") == trimmed(f"{amount}")
    assert trimmed(f"{amount + Decimal('0.0001')}") != trimmed(f"{amount}")
    assert Decimal(trimmed(f"{amount:.6f}")) == amount


@given(st.integers(-(10**9), 10**9))
def test_cents_are_rounded_halves_away_from_zero(tenths: int) -> None:
    whole, rest = divmod(abs(tenths), 10)
    wanted = (whole + (rest >= 5)) * (1 if tenths >= 0 else -1)
    assert cents(Decimal(tenths) / 1000) == Decimal(wanted) / 100


@pytest.mark.parametrize("months", range(1, 13))
def test_every_fault_comes_once_in_a_run_of_any_length(months: int) -> None:
    planned = schedule(months)
    assert [kind for kinds in planned.values() for kind in kinds] == list(KINDS)
    assert all(1 <= month <= months and 1 <= week <= 4 for month, week in planned)
    assert (1, 1) not in planned


def test_the_picture_shows_every_flow_month_and_fault() -> None:
    map = load_map(examples() / "year" / "map.yaml").map
    flows = {flow.id: number for number, flow in enumerate(map.flows)}
    month = MonthEnd(1, 1200, 30, 9000, {"erp.orders": 4}, 2.0, "10.50", "1.00", ["erp", "crm"], moved=flows)
    steps = ["the new key into SUPPORT_KEY's file", "wait"]
    month.faults = [Outcome("API key revoked", 1, 2, "stopped", "sorbus status", "support: API key was revoked", steps)]
    drawn = picture(map, [month, replace(month, month=2)], {"crm: order": 1200})
    words = [element.text or "" for element in ET.fromstring(drawn).iter() if element.text]
    assert {*map.systems, *map.data_types} <= set(words)
    assert {f"{2 * number:,}" for number in flows.values()} <= set(words)
    assert words.count("week 2: API key revoked") == 2
    assert words.count("sorbus status, then the new key into SUPPORT_KEY's file (and 1 more)") == 2
    assert words.count("\n".join(["support: API key was revoked", *steps])) == 2
    assert {"10.50 €", "1.00 €", "1,200"} <= set(words)


def test_bars_of_one_picture_share_a_scale() -> None:
    map = load_map(examples() / "year" / "map.yaml").map
    months = [MonthEnd(1, 300, unsettled={"erp.orders": 600}), MonthEnd(2, 400, unsettled={"erp.orders": 1})]
    drawn = ET.fromstring(picture(map, months, {}))
    widths = {
        kind: [float(bar.get("width", 0)) for bar in drawn.iter() if bar.get("class") == kind]
        for kind in ("bar", "late")
    }
    assert widths["bar"] == [pytest.approx(widths["late"][0] * share, abs=0.1) for share in (0.5, 2 / 3)]
    assert widths["late"][1] < widths["bar"][0]


def test_a_dry_run_says_what_would_go_wrong_when_and_starts_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "year"
    said = type_command("demo", "--year", "--months", "2", "--dry-run", "--folder", str(folder))
    assert said.exit_code == 0, said.output
    assert all(kind.title in said.stdout for kind in KINDS)
    assert not folder.exists()


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("", "utf-8")
    said = type_command("demo", "--year", "--folder", str(tmp_path))
    assert said.exit_code == 2
    assert "name a new --folder" in said.stderr


def test_the_http_application_refuses_a_revoked_key_and_keeps_what_it_is_given(tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    from sorbus.ops.demo.year.http_application import PeopleAndTickets

    key = tmp_path / "key"
    key.write_text("old", "utf-8")
    client = TestClient(PeopleAndTickets(tmp_path / "people.sqlite", key).application(), headers={"x-api-key": "old"})
    made = client.post("/people", json={"number": "C-1", "name": "Weiß", "ours": "7"})
    assert made.status_code == 201
    assert client.get("/people", params={"field": "ours", "value": "7"}).json()["total"] == 1
    assert client.patch("/people/1", json={"name": "Weiss"}).json()["name"] == "Weiss"
    key.write_text("new", "utf-8")
    assert client.get("/people/1").status_code == 401
    assert sqlite3.connect(tmp_path / "people.sqlite").execute("select name from people").fetchall() == [("Weiss",)]
