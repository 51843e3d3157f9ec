"""Rows from system to system go through the canonical field between them, and what was assumed is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sorbus.map.checks.check import check
from sorbus.map.load import load_map
from sorbus.map.loaded import LoadedMap
from sorbus.mapfile.model import FieldMapping

MAP = """
systems:
  crm: {kind: postgres, connection: {dsn: "${CRM_DSN}"}}
  accounting: {kind: postgres, connection: {dsn: "${ACCOUNTING_DSN}"}}
  shop: {kind: postgres, connection: {dsn: "${SHOP_DSN}"}}
data_types:
  customer: {system_of_record: crm, source: {table: customers}}
  order:
    system_of_record: crm
    source: {table: orders, children: {lines: {table: order_lines, parent: [order_id]}}}
flows:
  - {data_type: customer, to: accounting, target: {table: contacts, existing: true, key: contact_no}}
  - {data_type: customer, to: shop, target: {table: people, existing: true, key: id}}
  - data_type: order
    to: accounting
    target:
      {table: sales, existing: true, key: no, children: {lines: {table: sale_lines, parent: sale_no, position: place}}}
"""
NAME = "crm,customers.company,canonical,customer.name,,\n"
CATALOG = """
system: crm
resources:
  public.customers:
    key: [id]
    fields:
      id: {kind: int}
      company: {kind: string}
      tel: {kind: string}
      since: {kind: string}
      created: {kind: timestamp}
"""
Load = Callable[..., LoadedMap]


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    def load(rows: str, *, catalog: bool = False) -> LoadedMap:
        (tmp_path / "map.yaml").write_text(MAP, "utf-8")
        (tmp_path / "mappings").mkdir(exist_ok=True)
        head = "Source System,Source Field,Target System,Target Field,Rule,Notes\n"
        (tmp_path / "mappings" / "crm.csv").write_text(head + rows, "utf-8")
        if catalog:
            (tmp_path / "catalog").mkdir(exist_ok=True)
            (tmp_path / "catalog" / "crm.yaml").write_text(CATALOG, "utf-8")
        return load_map(tmp_path / "map.yaml")

    return load


def _cells(row: FieldMapping) -> tuple[str, ...]:
    return row.source_system, row.source_field, row.target_system, row.target_field, row.rule, row.notes


def _rows(loaded: LoadedMap) -> list[tuple[str, ...]]:
    assert loaded.unrouted == ()
    return [_cells(row) for row in loaded.mappings]


def test_a_direct_row_becomes_two_with_its_rule_and_notes_on_the_targets_side(loaded: Load) -> None:
    found = loaded("crm,customers.tel,accounting,contacts.phone,\"value | replace('-', '')\",ask Finance\n")
    assert _rows(found) == [
        ("crm", "customers.tel", "canonical", "customer.phone", "", ""),
        ("canonical", "customer.phone", "accounting", "contacts.phone", "value | replace('-', '')", "ask Finance"),
    ]
    assert {(row.file.name, row.line) for row in found.mappings} == {("crm.csv", 2)}
    assert [row.source_field for row in found.written] == ["customers.tel"]


def test_what_was_assumed_is_said_with_file_and_line(loaded: Load) -> None:
    (route,) = loaded("crm,customers.phone,accounting,contacts.tel_no,,\n").routes
    assert str(route).endswith(
        "crm.csv:2: crm.customers.phone -> accounting.contacts.tel_no goes through customer.phone (same name)"
    )


def test_the_field_that_another_row_uses_for_the_source_is_taken_whatever_its_name(loaded: Load) -> None:
    found = loaded("crm,customers.tel,canonical,customer.mobile,,\ncrm,customers.tel,accounting,contacts.phone,,\n")
    assert _rows(found)[1:] == [("canonical", "customer.mobile", "accounting", "contacts.phone", "", "")]
    assert found.routes[0].why == "another row uses it for this field"


def test_one_source_for_two_targets_fills_its_canonical_field_once(loaded: Load) -> None:
    found = loaded(
        "crm,customers.tel,accounting,contacts.phone,,\ncrm,customers.tel,shop,people.telephone,value | trim,\n"
    )
    assert _rows(found) == [
        ("crm", "customers.tel", "canonical", "customer.phone", "", ""),
        ("canonical", "customer.phone", "accounting", "contacts.phone", "", ""),
        ("canonical", "customer.phone", "shop", "people.telephone", "value | trim", ""),
    ]


def test_the_records_key_goes_through_its_id(loaded: Load) -> None:
    found = loaded("crm,customers.id,accounting,contacts.reference,,\n")
    assert _rows(found) == [("canonical", "customer.id", "accounting", "contacts.reference", "", "")]


def test_a_rule_that_makes_the_sources_text_fit_the_canonical_kind_stays_with_the_source(loaded: Load) -> None:
    parse = 'value | datetime("%d/%m/%Y", tz="Europe/London")'
    row = f'crm,customers.since,accounting,contacts.created_at,"{parse.replace(chr(34), chr(34) * 2)}",\n'
    for catalog in (False, True):
        assert _rows(loaded(row, catalog=catalog)) == [
            ("crm", "customers.since", "canonical", "customer.created_at", parse, ""),
            ("canonical", "customer.created_at", "accounting", "contacts.created_at", "", ""),
        ]


def test_a_rule_on_a_value_that_fits_already_stays_with_the_target(loaded: Load) -> None:
    rule = 'value | text("%d.%m.%Y")'
    row = f'crm,customers.created,accounting,contacts.created_on,"{rule.replace(chr(34), chr(34) * 2)}",\n'
    assert _rows(loaded(row, catalog=True)) == [
        ("crm", "customers.created", "canonical", "customer.created_at", "", ""),
        ("canonical", "customer.created_at", "accounting", "contacts.created_on", rule, ""),
    ]


def test_a_rule_over_other_columns_is_the_sources(loaded: Load) -> None:
    rule = 'record.first ~ " " ~ record.last'
    found = loaded(f'crm,,accounting,contacts.contact_name,"{rule.replace(chr(34), chr(34) * 2)}",\n')
    assert _rows(found) == [
        ("crm", "", "canonical", "customer.contact_name", rule, ""),
        ("canonical", "customer.contact_name", "accounting", "contacts.contact_name", "", ""),
    ]


def test_a_constant_needs_no_canonical_field(loaded: Load) -> None:
    found = loaded('crm,,accounting,contacts.ledger,"""AR""",\n')
    assert _rows(found) == [("canonical", "", "accounting", "contacts.ledger", '"AR"', "")]
    assert "is a constant" in str(found.routes[0])


def test_items_of_a_list_are_routed_to_the_items(loaded: Load) -> None:
    found = loaded("crm,order_lines.qty,accounting,sale_lines.quantity,,\n")
    assert _rows(found) == [
        ("crm", "order_lines.qty", "canonical", "order.lines[].quantity", "", ""),
        ("canonical", "order.lines[].quantity", "accounting", "sale_lines.quantity", "", ""),
    ]


def test_of_two_fields_of_like_names_the_surer_pair_is_taken_first(loaded: Load) -> None:
    rows = "crm,customers.cell,accounting,contacts.phone,,\ncrm,customers.phone,accounting,contacts.phone_2,,\n"
    found = {route.row.source_field: route.canonical for route in loaded(rows).routes}
    assert found == {"customers.phone": "customer.phone", "customers.cell": "customer.mobile"}


@pytest.mark.parametrize(
    ("row", "message", "fix"),
    [
        ("crm,customers.shoe,accounting,contacts.size,,", "no field of customer has a name similar to", "schemas/"),
        ("crm,customers.phone,accounting,contacts.mobile,,", "customer.phone or customer.mobile", "in two rows"),
        ("crm,leads.tel,accounting,contacts.phone,,", "no data type of crm is stored where leads.tel is", "`source:`"),
        ("crm,customers.tel,accounting,ledger.phone,,", "writes where ledger.phone is", "`target:`"),
        ("crm,orders.number,shop,people.number,,", "no flow brings order to shop", "add a flow"),
        ("shop,people.tel,accounting,contacts.phone,,", "shop owns no data type", "system_of_record"),
        ("crm,order_lines.qty,accounting,sales.quantity,,", "the other an item of its list", "pair fields"),
        ("crm,number,accounting,number,,", "could be of customer or order", "two rows"),
    ],
)
def test_what_cannot_be_told_is_a_finding_with_its_cure(loaded: Load, row: str, message: str, fix: str) -> None:
    findings = [each for each in check(loaded(NAME + row + "\n")) if each.code == "no-route"]
    assert len(findings) == 1
    assert (findings[0].file.name, findings[0].line) == ("crm.csv", 3)
    assert message in findings[0].message
    assert fix in findings[0].fix


def test_two_rules_for_one_canonical_field_are_a_finding(loaded: Load) -> None:
    rows = "crm,customers.limit,accounting,contacts.credit_limit,value | decimal,\n"
    found = loaded(rows + "crm,customers.limit,shop,people.credit_limit,value | integer,\n")
    assert [each.line for each in found.unrouted] == [3]
    assert "two rules" in found.unrouted[0].message


def test_a_sound_map_with_direct_rows_has_no_findings(loaded: Load) -> None:
    rows = NAME + "crm,customers.company,accounting,contacts.name,value | upper,\n"
    rows += "crm,customers.tel,shop,people.phone,,\n"
    found = [each for each in check(loaded(rows)) if each.file.name == "crm.csv"]
    assert found == []
