"""Documentation spreadsheets as people keep them become mapping rows, and what isn't understood is said."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from sorbus.errors import MapError
from sorbus.map.checks.check import check
from sorbus.map.load import load_map
from sorbus.map.loaded import LoadedMap
from sorbus.map.sheets.import_sheet import Brought, bring_in, rows_of
from sorbus.map.sheets.rewrite import append_rows

MAP = """
systems:
  crm: {kind: postgres, connection: {dsn: "${CRM_DSN}"}}
  price-list: {kind: postgres, connection: {dsn: "${PRICES_DSN}"}}
  accounting: {kind: postgres, connection: {dsn: "${ACCOUNTING_DSN}"}}
data_types:
  customer: {system_of_record: crm, source: {table: customers}}
flows:
  - {data_type: customer, to: accounting, target: {table: debtors, existing: true, key: debtor_no}}
lookups:
  customer_status: {A: ACTIVE, X: INACTIVE}
"""
CRM = """
system: crm
resources:
  public.customers:
    key: [id]
    fields:
      id: {kind: int}
      company_name: {kind: string}
      first_name: {kind: string}
      last_name: {kind: string}
      e_mail: {kind: string}
      telephone: {kind: string}
      stage: {kind: string}
      customer_since: {kind: string}
"""
ACCOUNTING = """
system: accounting
resources:
  public.debtors:
    key: [debtor_no]
    fields:
      debtor_no: {kind: string, required: true}
      name: {kind: string}
      contact_name: {kind: string}
      mail: {kind: string}
      phone_no: {kind: string}
      status: {kind: string}
"""


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedMap:
    (tmp_path / "catalog").mkdir()
    (tmp_path / "map.yaml").write_text(MAP, "utf-8")
    (tmp_path / "catalog" / "crm.yaml").write_text(CRM, "utf-8")
    (tmp_path / "catalog" / "accounting.yaml").write_text(ACCOUNTING, "utf-8")
    return load_map(tmp_path / "map.yaml")


@pytest.fixture
def brought(loaded: LoadedMap, tmp_path: Path) -> Callable[..., list[Brought]]:
    def bring(rows: Sequence[Sequence[str]], **options: str) -> list[Brought]:
        file = tmp_path / "fields.csv"
        with file.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows(rows)
        return bring_in(loaded, file, **options)

    return bring


def _cells(each: Brought) -> tuple[str, ...]:
    assert each.row is not None, each.unclear
    row = each.row
    return row.source_system, row.source_field, row.target_system, row.target_field, row.rule


@pytest.mark.parametrize(
    "rows",
    [
        [["Source", "Target", "Transformation"], ["CRM.Customers.Company Name", "Accounting.Debtors.Name", "UPPER"]],
        [
            ["Field mapping, version 7", "", "", "", "", ""], [], ["", "approved by Finance"],
            ["Legacy System", "Table", "Legacy field", "To application", "To field", "Logic", "Comment"],
            ["crm", "", "company_name", "accounting", "name", "convert to uppercase", ""],
        ],
        [["CRM field", "Accounting field", "Mapping rule"], ["Company name", "NAME", "in capitals"]],
        [
            ["Source", "", "", "Target", "", "", "Transformation"],
            ["System", "Table", "Field", "System", "Table", "Field", ""],
            ["CRM", "customers", "Company Name", "Accounting", "Debtors", "Name", "upper case"],
        ],
        [
            ["From", "To", "Rule"], ["CRM to Accounting: customers", "", ""],
            ["customers.company_name", "debtors.name", "value | upper"],
        ],
    ],
)  # fmt: skip
def test_headings_of_many_kinds_are_recognised(brought: Callable[..., list[Brought]], rows: list[list[str]]) -> None:
    (found,) = brought(rows)
    assert _cells(found) == ("crm", "customers.company_name", "accounting", "debtors.name", "value | upper")
    assert found.findings == []
    assert any("through customer.name" in what for what in found.assumed)


def test_what_the_file_leaves_out_is_said_on_the_command_line(brought: Callable[..., list[Brought]]) -> None:
    rows = [["Source", "Target"], ["company_name", "name"]]
    assert brought(rows)[0].row is None
    assert "--system" in brought(rows)[0].unclear[0]
    assert _cells(brought(rows, source="crm", target="accounting")[0])[:2] == ("crm", "customers.company_name")


def test_cells_that_count_for_many_rows_are_filled_down_until_the_next_title(
    brought: Callable[..., list[Brought]],
) -> None:
    found = brought(
        [
            ["Source system", "Source table", "Source field", "Target system", "Target field"],
            ["CRM", "Customers", "Company name", "Accounting", "Name"],
            ["", "", "E-mail", "", "Mail"],
        ]
    )
    assert _cells(found[1]) == ("crm", "customers.e_mail", "accounting", "debtors.mail", "")


def test_a_note_that_is_not_understood_stays_a_note_and_so_do_other_columns(
    brought: Callable[..., list[Brought]],
) -> None:
    (found,) = brought(
        [
            ["Source field", "Owner", "Target field", "Transformation", "Notes"],
            ["telephone", "Sales", "phone_no", "ask the switchboard", "=old"],
        ],
        source="crm",
        target="accounting",
    )
    assert found.row is not None
    assert (found.row.rule, found.row.notes) == ("", "=old; ask the switchboard; Owner: Sales")
    assert found.unclear == ["the transformation stays a note: ask the switchboard"]


def test_several_source_fields_and_a_concatenation_become_one_rule(brought: Callable[..., list[Brought]]) -> None:
    rows = [
        ["Source field", "Target field", "Transformation"],
        ["First name, Last name", "contact_name", ""],
        ["", "contact_name", "concat first name and last name"],
    ]
    for found in brought(rows, source="crm", target="accounting"):
        assert _cells(found)[1:] == (
            "",
            "accounting",
            "debtors.contact_name",
            'record.first_name ~ " " ~ record.last_name',
        )


def test_a_constant_needs_no_source_field(brought: Callable[..., list[Brought]]) -> None:
    rows = [["Source field", "Target field", "Transformation"], ["", "status", "always ACTIVE"]]
    (found,) = brought(rows, source="crm", target="accounting")
    assert _cells(found) == ("crm", "", "accounting", "debtors.status", '"ACTIVE"')
    assert found.assumed == ["a constant", "status is debtors.status"]


def test_names_that_are_nearly_right_are_assumed_with_less_confidence(brought: Callable[..., list[Brought]]) -> None:
    (found,) = brought(
        [["Source", "Target"], ["CRM.Custmers.Telefone", "Acounting.debtors.phone no"]]
    )  # three slips of the pen
    assert found.row is None or found.confidence < 0.8
    (found,) = brought([["Source", "Target"], ["CRM.Customers.Telephon", "Accounting.debtors.phone no"]])
    assert _cells(found)[1] == "customers.telephone"
    assert (found.confidence, "Telephon is telephone" in found.assumed) == (0.7, True)


def test_a_row_that_the_check_refuses_is_written_with_a_mark_and_no_other_is(
    brought: Callable[..., list[Brought]], loaded: LoadedMap
) -> None:
    found = brought(
        [
            ["Source", "Target", "Transformation"],
            ["crm.customers.company_name", "accounting.debtors.name", "max 40 chars"],
            ["crm.customers.shoe_size", "accounting.debtors.size", ""],
            ["crm.customers.stage", "accounting.debtors.status", "lookup status"],
        ]
    )
    rows = list(rows_of(found))
    assert [row.notes.startswith("TO DO: ") for row in rows] == [False, True, False]
    append_rows(loaded.folder / "mappings" / "fields.csv", rows)
    refused = {each.line for each in check(load_map(loaded.file)) if each.file.name == "fields.csv"}
    assert refused == {3}
    assert len(list(rows_of(found, sound=True))) == 2


def test_what_is_there_already_is_not_written_twice(
    brought: Callable[..., list[Brought]], loaded: LoadedMap, tmp_path: Path
) -> None:
    rows = [["Source", "Target"], ["crm.customers.company_name", "accounting.debtors.name"]]
    append_rows(loaded.folder / "mappings" / "fields.csv", list(rows_of(brought(rows))))
    (again,) = bring_in(load_map(loaded.file), tmp_path / "fields.csv")
    assert again.row is None
    assert "there already, in fields.csv:2" in again.unclear[0]


def test_a_workbook_is_read_tab_by_tab_with_merged_titles(loaded: LoadedMap, tmp_path: Path) -> None:
    book = Workbook()
    for name in ("Customers", "Old"):
        tab = book.create_sheet(name)
        tab.append(["CRM to Accounting"])
        tab.merge_cells("A1:C1")
        tab.append(["Source", "Target", "Logic"])
        tab.append(["CRM: customers / e_mail", "Accounting: debtors / mail", "lower case"])
    book.save(tmp_path / "m.xlsx")
    (found,) = bring_in(loaded, tmp_path / "m.xlsx", tab="Customers")
    assert _cells(found) == ("crm", "customers.e_mail", "accounting", "debtors.mail", "value | lower")
    assert (found.file.name, found.line) == ("m.xlsx#Customers", 3)
    with pytest.raises(MapError, match="no tab is called"):
        bring_in(loaded, tmp_path / "m.xlsx", tab="New")


@given(
    data=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: f"Source,Target\n{text}".encode()))
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_any_file_gives_rows_or_a_finding(loaded: LoadedMap, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "any.csv").write_bytes(data)
    with suppress(MapError):
        bring_in(loaded, tmp_path / "any.csv", source="crm", target="accounting")
