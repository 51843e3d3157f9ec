"""What `map check` says of process steps, and which map they become."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sorbus.errors import MapError
from sorbus.map.checks.check import check
from sorbus.map.load import load_map
from tests.acceptance.office import HEAD, Row
from tests.acceptance.steps_company import SCHEMAS, SHEET, steps_map

Map = dict[str, object]
Change = Callable[[Map], None]


def write(folder: Path, change: Change = lambda _: None, rows: list[Row] | None = None) -> Path:
    """The company's map, changed."""
    written = steps_map("x")
    change(written)
    (folder / "map.yaml").write_text(json.dumps(written, indent=1), "utf-8")
    for name in ("schemas", "mappings"):
        (folder / name).mkdir()
    for name, fields in SCHEMAS.items():
        schema = {"type": "record", "name": name, "fields": fields}
        (folder / "schemas" / f"{name}.avsc").write_text(json.dumps(schema), "utf-8")
    with (folder / "mappings" / "sheet.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEAD, *(SHEET if rows is None else rows)])
    return folder / "map.yaml"


def step(number: int, **keys: object) -> Change:
    def change(written: Map) -> None:
        written["steps"][number].update(keys)  # type: ignore[index]

    return change


def data_type(name: str, **keys: object) -> Change:
    return lambda written: written["data_types"].__setitem__(name, keys)  # type: ignore[attr-defined]


def flow(**keys: object) -> Change:
    return lambda written: written["flows"].append(keys)  # type: ignore[attr-defined]


def test_a_map_with_steps_has_nothing_to_fix(tmp_path: Path) -> None:
    loaded = load_map(write(tmp_path))
    assert check(loaded) == []
    assert loaded.map.owner_of("invoice") == "delivery-to-invoice"
    assert loaded.map.systems["delivery-to-invoice"].owner == "Finance"


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (step(0, where="state == 'a'"), "bad-condition", "did you mean status?"),
        (step(0, **{"from": "oder"}), "unknown-data-type", "did you mean order?"),
        (step(0, makes="order"), "loop", "name another data type"),
        (step(2, makes="delivery"), "two-owners", "made by two steps"),
        (data_type("invoice", system_of_record="crm", source={"table": "i"}), "two-owners", "delete its system_of"),
        (data_type("invoice", source={"table": "i"}), "contradiction", "delete the source"),
        (step(0, name="crm"), "double-name", "a system is called crm"),
        (step(0, name="delivery-to-books"), "double-name", "a flow is called"),
        (step(0, name="same"), "", ""),
        (step(1, count="total"), "no-per", "add per: [FIELD]"),
        (step(2, on_leave="keep"), "wrong-sum", "on_leave: delete"),
        (step(2, begin="now"), "wrong-sum", "begin: beginning"),
        (step(2, per=["custmer"]), "unknown-field", "did you mean customer?"),
        (step(2, per=["amount"]), "bad-type", "no single spelling"),
        (step(2, sum={"paid": "reference"}), "bad-type", "is no number"),
        (step(2, sum={"paid": "amnt"}), "bad-rule", "did you mean amount?"),
        (step(2, sum={"paid": "1"}), "bad-rule", "names no field"),
        (step(2, sum={"payed": "amount"}), "unknown-field", "did you mean paid?"),
        (step(2, list="lins"), "unknown-field", "did you mean lines?"),
        (step(0, on_leave=None), "", "on_leave"),
        (step(0, begin="soon"), "", "begin"),
        (step(0, owner="a <b"), "bad-contact", ""),
        (
            flow(data_type="invoice", to="crm", target={"table": "orders"}),
            "loop",
            "delete one of these flows and steps: invoice-to-crm, order-to-delivery, delivery-to-invoice",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_fix(change: Change, code: str, words: str, tmp_path: Path) -> None:
    try:
        found = check(load_map(write(tmp_path, change)))
    except MapError as error:
        found = list(error.findings)
    if not code and not words:
        assert found == []
        return
    told = [f"{one.message}; {one.fix}" for one in found if not code or one.code == code]
    assert any(words in one for one in told), found
    lines = (tmp_path / "map.yaml").read_text("utf-8").splitlines()
    assert all(1 <= one.line <= len(lines) for one in found)


@pytest.mark.parametrize(
    ("keys", "is_wrong"),
    [
        ({}, True),
        ({"per": ["customer", "currency"]}, False),
        ({"where": 'currency == "EUR"'}, False),
        ({"where": 'reference == "EUR"'}, True),
        ({"sum": {"paid": 'amount if currency == "EUR" else 0 | decimal'}}, False),
        ({"sum": {"paid": "quantity"}}, False),
    ],
)
def test_amounts_of_several_currencies_are_not_added_up(
    keys: dict[str, object], is_wrong: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = [{"name": "currency", "type": "string"}, {"name": "quantity", "type": "long"}]
    monkeypatch.setitem(SCHEMAS, "payment", [*SCHEMAS["payment"], *more])
    found = [one for one in check(load_map(write(tmp_path, step(2, **keys)))) if one.code == "wrong-sum"]
    assert bool(found) == is_wrong
    assert all("whatever their currency" in one.message and "to per" in one.fix for one in found)


@pytest.mark.parametrize(
    ("row", "code", "words"),
    [
        (("canonical", "order.amnt", "canonical", "delivery.words", ""), "unknown-column", "did you mean amount?"),
        (
            ("canonical", "payment.id", "canonical", "delivery.words", ""),
            "no-canonical-side",
            "order-to-delivery makes",
        ),
        (("canonical", "order.amount", "canonical", "payment.amount", ""), "no-canonical-side", "both sides"),
        (("canonical", "order.note", "canonical", "delivery.items[].sku", ""), "other-part", ""),
        (("canonical", "payment.amount", "canonical", "balance.paid", ""), "unknown-column", ""),
    ],
)
def test_a_row_that_cannot_be_is_said(row: Row, code: str, words: str, tmp_path: Path) -> None:
    rows = [one for one in SHEET if one[3] != row[3]]
    found = check(load_map(write(tmp_path, rows=[*rows, row])))
    assert any(one.code == code and words in f"{one.message}; {one.fix}" for one in found), found


def test_a_required_field_that_nothing_fills_is_said(tmp_path: Path) -> None:
    found = check(load_map(write(tmp_path, rows=[one for one in SHEET if one[3] != "invoice.state"])))
    assert [one.code for one in found] == ["unfilled"]
    assert "canonical,invoice.state" in found[0].fix


def test_types_that_do_not_agree_are_said(tmp_path: Path) -> None:
    rows = [(*one[:4], "") if one[3] == "invoice.total" else one for one in SHEET]
    found = check(load_map(write(tmp_path, rows=rows)))
    assert [one.code for one in found] == ["bad-type"]
