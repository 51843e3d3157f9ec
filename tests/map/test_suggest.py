"""What values look like, and the rows proposed from names, kinds and values."""

from __future__ import annotations

from pathlib import Path

import pytest

from sorbus.errors import MapError
from sorbus.map.authoring.profiling import looks_of
from sorbus.map.authoring.suggest import Suggestion, marked, suggest
from sorbus.map.checks.check import check
from sorbus.map.load import load_map
from sorbus.map.loaded import LoadedMap
from sorbus.map.route import with_rows

MAP = """
systems:
  crm: {kind: postgres, connection: {dsn: "${CRM_DSN}"}}
  accounting: {kind: postgres, connection: {dsn: "${ACCOUNTING_DSN}"}}
data_types:
  customer: {system_of_record: crm, source: {table: customers}}
flows:
  - {data_type: customer, to: accounting, target: {table: debtors, existing: true, key: debtor_no}}
"""
CRM = """
system: crm
resources:
  public.customers:
    key: [id]
    fields:
      id: {kind: int}
      company: {kind: string}
      tel: {kind: string}
      credit_limit: {kind: double}
      created_at: {kind: string}
      shoe_size: {kind: int}
"""
ACCOUNTING = """
system: accounting
resources:
  public.debtors:
    key: [debtor_no]
    fields:
      debtor_no: {kind: string, required: true}
      name: {kind: string, required: true}
      telephone: {kind: string}
      colour: {kind: string}
"""


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedMap:
    (tmp_path / "catalog").mkdir()
    (tmp_path / "map.yaml").write_text(MAP, "utf-8")
    (tmp_path / "catalog" / "crm.yaml").write_text(CRM, "utf-8")
    (tmp_path / "catalog" / "accounting.yaml").write_text(ACCOUNTING, "utf-8")
    return load_map(tmp_path / "map.yaml")


def _by_pair(found: list[Suggestion]) -> dict[tuple[str, str], Suggestion]:
    return {(each.row.source_field, each.row.target_field): each for each in found}


@pytest.mark.parametrize(
    ("values", "what", "rule"),
    [
        (["a@example.com", "b@example.org", "c.d@example.net"], "an e-mail address", ""),
        (["+49 30 901820", "(020) 7946-0958", "030/901820"], "a telephone number", ""),
        (["31/12/2025", "01/02/2026", "03/04/2026"], "a date", 'value | date("%d/%m/%Y")'),
        (["12/31/2025", "01/02/2026", "03/04/2026"], "a date", 'value | date("%m/%d/%Y")'),
        (["2025-12-31", "2026-01-02", "2026-03-04"], "a date", "value | date"),
        (["DE", "FR", "GB"], "a country", "value | country"),
        (["Germany", "France", "Japan"], "a country", "value | country"),
        (["EUR", "USD", "CHF"], "a currency code", ""),
        (["DE89370400440532013000", "GB82WEST12345698765432", "FR1420041010050500013M02606"], "an IBAN", ""),
        (["1.234,56", "7,00", "0,5"], "a number", 'value | decimal(",", ".")'),
        (["https://example.com", "www.example.org", "http://example.net/a"], "a web address", ""),
    ],
)
def test_values_are_recognised_with_the_rule_that_reads_them(values: list[str], what: str, rule: str) -> None:
    found = looks_of(values)
    assert found is not None
    assert (found.what, found.rule) == (what, rule)


def test_an_order_of_day_and_month_that_values_leave_open_is_said() -> None:
    found = looks_of(["01/02/2026", "03/04/2026", "11/12/2025"])
    assert found is not None
    assert found.rule == ""
    assert 'date("%d/%m/%Y") or date("%m/%d/%Y")' in found.doubt


def test_too_few_or_mixed_values_look_like_nothing() -> None:
    assert looks_of(["a@example.com"]) is None
    assert looks_of(["a@example.com", "hello", "7", "b"]) is None


def test_rows_are_proposed_for_both_sides_with_confidence_and_why(loaded: LoadedMap) -> None:
    found = _by_pair(suggest(loaded, "crm", "accounting"))
    name = found["customers.company", "customer.name"]
    assert (name.confidence, name.why) == (0.85, "synonym")
    assert found["customer.name", "debtors.name"].confidence == 1.0
    assert ("customer.phone", "debtors.telephone") in found
    assert found["customers.credit_limit", "customer.credit_limit"].row.rule == "value | decimal"
    assert "a point in time needs its time zone" in found["customers.created_at", "customer.created_at"].doubt
    assert not any("shoe_size" in source or "colour" in into for source, into in found)


def test_what_is_taken_is_sound_or_marked(loaded: LoadedMap) -> None:
    found = suggest(loaded, "crm", "accounting")
    rows = marked(loaded, [each.row for each in found])
    assert [row.source_field for row in rows if row.notes.startswith("TO DO")] == ["customers.created_at"]
    sound = with_rows(loaded, [row for row in rows if not row.notes.startswith("TO DO")])
    assert check(sound) == []
    left = {(each.row.source_field, each.row.target_field) for each in suggest(sound, "crm", "accounting")}
    assert left == {("customers.created_at", "customer.created_at")}


def test_two_systems_without_a_flow_are_a_finding(loaded: LoadedMap) -> None:
    with pytest.raises(MapError, match="no flow brings a data type of accounting to crm"):
        suggest(loaded, "accounting", "crm")
