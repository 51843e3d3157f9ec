"""The data-flow document: both mapping sheets joined, in Markdown, CSV and XLSX."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from openpyxl import load_workbook

from sorbus.map.load import load_map
from sorbus.map.render.lineage import KEY, FieldPath
from sorbus.map.render.markdown import to_markdown
from sorbus.map.render.report import COLUMNS, Report, document, to_csv
from sorbus.map.render.xlsx import WIDEST, to_xlsx


@pytest.fixture
def doc(larkspur: Path) -> Report:
    return document(load_map(larkspur))


def paths(doc: Report, flow: str) -> dict[str, FieldPath]:
    """One flow's ways by target field; where one target field has several, the last."""
    (found,) = (item for item in doc.flows if item.flow.id == flow)
    return {path.target_field: path for path in found.paths}


def test_the_markdown_is_as_somebody_found_it_good(doc: Report, golden: Callable[[str, str], None]) -> None:
    golden("data-flows.md", to_markdown(doc))


def test_a_field_is_followed_from_its_source_to_its_target_with_both_rules(doc: Report) -> None:
    assert paths(doc, "customer-to-accounting")["debtors.name"] == FieldPath(
        "crm",
        "accounts.title",
        "accounting",
        "debtors.name",
        ("value | trim", "customer.name", "value | truncate(60)"),
        "As on the contract; The column is short",
    )


def test_a_rule_that_reads_other_fields_has_them_all_as_sources(doc: Report) -> None:
    (flow,) = (item for item in doc.flows if item.flow.id == "customer-to-accounting")
    labels = [path.source_field for path in flow.paths if path.target_field == "debtors.label"]
    assert labels == ["accounts.no", "accounts.vat"]
    assert paths(doc, "customer-to-shop")["customer.contact_name"].source_field == "accounts.first, accounts.last"


def test_the_key_and_constants_and_what_nothing_fills_are_told_apart(doc: Report) -> None:
    found = paths(doc, "customer-to-accounting")
    assert found["debtors.key"].source_field == KEY
    assert found["debtors.ledger"].rule == "1"
    assert found["debtors.mail"].notes == "nothing fills customer.email"


def test_a_target_without_a_sheet_gets_each_field_that_the_owner_fills(doc: Report) -> None:
    assert set(paths(doc, "customer-to-shop")) == {
        "customer.id", "customer.name", "customer.number", "customer.contact_name", "customer.tax_number",
        "customer.mobile",
    }  # fmt: skip


def test_items_of_a_list_are_followed_too(doc: Report) -> None:
    assert paths(doc, "order-to-accounting")["postings.text"].rule == (
        'value | upper → order.lines[].sku → value | replace("|", "/")'
    )


def test_what_is_captured_and_delivered_nowhere_is_named(larkspur: Path) -> None:
    loaded = load_map(larkspur)
    kept = [flow for flow in loaded.map.flows if flow.data_type != "customer"]
    object.__setattr__(loaded, "map", loaded.map.model_copy(update={"flows": kept}))
    (table,) = (each for each in document(loaded).tables() if each.title == "Captured but not delivered")
    assert ("crm", "accounts.fax", "customer.mobile", "Nobody asked for it") in table.rows


def test_every_flow_is_in_the_csv_also_one_by_hand_or_not_integrated(doc: Report) -> None:
    rows = list(csv.reader(io.StringIO(to_csv(doc))))
    assert tuple(rows[0]) == COLUMNS
    assert {(row[0], row[2]) for row in rows[1:]} == {(item.arrow.source, item.arrow.target) for item in doc.flows}
    rules = [row[4] for row in rows]
    assert "price, by hand, first Monday of the month: Field sales" in rules
    assert any(rule.startswith("price, not integrated: prices change") for rule in rules)


def test_the_workbook_has_the_six_columns_frozen_filtered_and_wide_enough(doc: Report) -> None:
    book = load_workbook(io.BytesIO(to_xlsx(doc)))
    sheet = book["Fields"]
    assert tuple(cell.value for cell in sheet[1]) == COLUMNS
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("A2", sheet.dimensions)
    assert all(
        len(head) < sheet.column_dimensions[column].width <= WIDEST
        for head, column in zip(COLUMNS, "ABCDEF", strict=True)
    )
    assert sheet.max_row == 1 + len(doc.fields().rows)
    assert book.sheetnames == ["Fields", "Systems", "Data types", "Flows", "By hand", "Captured but not delivered"]


def test_no_cell_is_run_as_a_formula(doc: Report) -> None:
    changed = [path._replace(notes="=1+1") for item in doc.flows for path in item.paths][:1]
    (flow, *_) = doc.flows
    doc = Report(doc.company, doc.file, (type(flow)(flow.flow, flow.arrow, tuple(changed)),), ())
    cell = load_workbook(io.BytesIO(to_xlsx(doc)))["Fields"]["F2"]
    assert (cell.value, cell.data_type) == ("=1+1", "s")
    assert "'=1+1" in to_csv(doc)


def test_a_bar_in_a_rule_does_not_break_the_table(doc: Report) -> None:
    for line in to_markdown(doc).splitlines():
        if line.startswith("| orders |") and "postings.text" in line:
            assert line.replace("\\|", "").count("|") == len(COLUMNS) + 1
            break
    else:
        pytest.fail("the row of postings.text is missing")
