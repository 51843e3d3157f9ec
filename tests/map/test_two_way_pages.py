"""What people read of a two-way data type: whose change counts, what goes and what comes back, and no part of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from sorbus.map.load import load_map
from sorbus.map.render.markdown import to_markdown
from sorbus.map.render.pages.markdown_page import to_markdown_page
from sorbus.map.render.pages.overview import pages
from sorbus.map.render.report import document
from tests.two_way.test_two_way_map import ROWS, written

SAME_NAMED = [row for row in ROWS if not row.startswith("crm,")]
"""The owner's columns are called as the fields: no row says so."""


@pytest.mark.parametrize("rows", [ROWS, SAME_NAMED], ids=["rows", "same names"])
def test_what_goes_and_what_comes_back_is_told(tmp_path: Path, rows: list[str]) -> None:
    loaded = written(tmp_path, rows)
    shown = {page.name: to_markdown_page(page) for page in pages(loaded)}
    told, listed = shown["customer"], to_markdown(document(loaded))

    assert set(shown) == {"index", "customer"}
    for text in (*shown.values(), listed):
        for word in ("merge", "proposals", "nothing fills", "stays empty", "(nothing)"):
            assert word not in text, word
    assert "title (from name), mail (from email)" in told
    assert "What comes back from books" in told
    assert "email (from mail), credit (from limit)" in told
    assert "| books | partners.limit | crm | customers.credit |" in listed


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("latest", "| email | may be changed in crm and books; of two changes at a time the later one counts |"),
        ("ask", "| email | may be changed in crm and books; if two change it at a time, a person decides"),
    ],
)
def test_whose_change_counts_is_told_of_each_field(tmp_path: Path, rule: str, words: str) -> None:
    told = to_markdown_page(pages(written(tmp_path, merge={"email": rule}))[1])

    assert words in told
    assert "| credit | books decides; what is changed elsewhere is replaced by the value of books |" in told
    assert "All other fields belong to crm" in told
    assert ("Two systems change the same field at a time (email)" in told) == (rule == "ask")
    assert "A record is deleted in books: it is created there again" in told


def test_a_field_that_nothing_fills_has_its_default(tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text(
        "systems: {crm: {kind: postgres, connection: {dsn: x}}, book: {kind: postgres, connection: {dsn: y}}}\n"
        "data_types: {invoice: {system_of_record: crm, source: {table: invoices}}}\n"
        "flows: [{data_type: invoice, to: book, target: {table: invoices}}]\n"
    )
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "book.csv").write_text(
        "Source System,Source Field,Target System,Target Field,Rule\n"
        "crm,invoices.no,canonical,invoice.number,\n"
        "canonical,invoice.number,book,invoices.number,\ncanonical,invoice.kind,book,invoices.kind,\n"
        "canonical,invoice.terms,book,invoices.terms,\n"
    )
    told = to_markdown_page(pages(load_map(tmp_path / "map.yaml"))[1])

    assert "| kind | (nothing) | always UNKNOWN |" in told
