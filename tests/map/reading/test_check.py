"""What `sorbus map check` finds, one kind of mistake at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sorbus.errors import Finding
from sorbus.map.check import check
from sorbus.map.load import load_map

Findings = Callable[..., list[Finding]]

EXAMPLES = Path(__file__).parents[3] / "examples"
SYSTEMS = """
systems:
  crm: {kind: postgres, connection: {dsn: "${CRM_DSN}"}}
  erp: {kind: postgres, connection: {dsn: "${ERP_DSN}"}}
  web: {kind: postgres, connection: {dsn: "${WEB_DSN}"}}
"""
OWNED = "data_types:\n  customer: {system_of_record: crm, source: {table: customers}}\n"
INTO_ERP = "flows:\n  - {data_type: customer, to: erp, target: {table: partners}}\n"
INTO_PARTNERS = (
    "flows:\n  - {data_type: customer, to: erp, target: {table: partners, existing: true, key: partner_no}}\n"
)
CRM = """
system: crm
resources:
  public.customers:
    key: [id]
    fields:
      id: {kind: int}
      company: {kind: string}
      since: {kind: string}
      balance: {kind: double, native: real}
      extra: {kind: string, native: jsonb}
  public.lines:
    fields:
      order_id: {kind: int}
      amount: {kind: decimal}
"""
ERP = """
system: erp
resources:
  public.partners:
    key: [partner_no]
    fields:
      partner_no: {kind: string, required: true}
      name: {kind: string, required: true}
      opened: {kind: date}
      rating: {kind: double}
"""


def _codes(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.code, finding.cure) for finding in findings]


@pytest.mark.parametrize("name", ["company", "northwind"])
def test_the_examples_have_nothing_to_mend(name: str) -> None:
    assert check(load_map(EXAMPLES / name / "map.yaml")) == []


@pytest.mark.parametrize(
    ("owner", "code", "cure"),
    [
        ("{}", "no-owner", "write system_of_record: crm"),
        (
            "{system_of_record: [crm, erp]}",
            "two-owners",
            "write system_of_record: crm, and under field_owners: the fields that erp owns",
        ),
        ("{system_of_record: [erp]}", "two-owners", "write system_of_record: erp"),
        ("{system_of_record: cmr}", "unknown-system", "did you mean crm?"),
        ("{system_of_record: crm, source: {table: c}, required: [nam]}", "unknown-field", "did you mean name?"),
        ("{system_of_record: crm, source: {table: c}, match: [e-mail]}", "unknown-field", "did you mean email?"),
        (
            "{system_of_record: crm, source: {table: c}, field_owners: {email: epr}}",
            "unknown-system",
            "did you mean erp?",
        ),
        ("{system_of_record: crm, source: {tabel: c}}", "missing", "write table: …"),
        (
            "{system_of_record: crm, source: {table: c, children: {lines: {table: l, parent: [id]}}}}",
            "unknown-field",
            "customer has no list of records: take it out",
        ),
    ],
)
def test_a_data_type_has_one_owner_and_its_own_fields(findings_of: Findings, owner: str, code: str, cure: str) -> None:
    assert (code, cure) in _codes(findings_of(SYSTEMS + f"data_types:\n  customer: {owner}\n"))


def test_an_unknown_schema_is_found_with_the_closest(findings_of: Findings) -> None:
    [finding] = findings_of(SYSTEMS + "data_types:\n  client:\n    system_of_record: crm\n    schema: custommer\n")

    assert (finding.line, finding.code) == (9, "bad-schema")
    assert "did you mean customer?" in finding.message


@pytest.mark.parametrize(
    ("flow", "code", "cure"),
    [
        ("{data_type: custmer, to: erp, target: {table: t}}", "unknown-data-type", "did you mean customer?"),
        ("{data_type: customer, to: epr, target: {table: t}}", "unknown-system", "did you mean erp?"),
        (
            "{data_type: customer, to: erp, from: web, target: {table: t}}",
            "not-owner",
            "write from: crm, or leave `from:` out",
        ),
        ("{data_type: customer, to: crm, target: {table: t}}", "own-source", "write another target, such as to: erp"),
        (
            "{data_type: customer, to: erp, timing: hourly, target: {table: t}}",
            "bad-timing",
            "write real-time, every 15m (s, m, h or d), or cron 0 2 * * * Europe/London",
        ),
        (
            "{data_type: customer, to: erp, none: no, manual: {checklist: [], schedule: s, responsible: r, verification: v}}",
            "contradiction",
            "keep the one that is true",
        ),
        ("{data_type: customer, to: erp, target: {tabel: t}}", "unknown-key", "did you mean table?"),
    ],
)
def test_a_flow_goes_from_its_owner_to_another_system(findings_of: Findings, flow: str, code: str, cure: str) -> None:
    assert (code, cure) in _codes(findings_of(SYSTEMS + OWNED + f"flows:\n  - {flow}\n"))


def test_a_flow_written_twice_is_found(findings_of: Findings) -> None:
    [finding] = findings_of(
        SYSTEMS + OWNED + INTO_ERP + "  - {data_type: customer, to: erp, target: {table: partners}}\n"
    )

    assert (finding.line, finding.code) == (10, "double-flow")
    assert "first in line 9" in finding.message


def test_two_flows_of_a_data_type_to_one_system_need_names(findings_of: Findings) -> None:
    text = SYSTEMS + OWNED + INTO_ERP + "  - {data_type: customer, to: erp, target: {table: contacts}}\n"

    assert _codes(findings_of(text)) == [
        ("double-name", "give this one a name of its own, such as name: customer-to-erp-2")
    ]


LOOP = """
data_types:
  customer: {system_of_record: crm, source: {table: public.customers}}
  supplier: {system_of_record: erp, schema: customer, source: {table: partners}}
  person: {system_of_record: web, schema: customer, source: {table: people}}
flows:
  - {data_type: customer, to: erp, target: {table: public.partners}}
  - {data_type: supplier, to: web, target: {table: people}}
"""


def test_a_loop_over_three_systems_is_found_once_with_its_way(findings_of: Findings) -> None:
    [finding] = findings_of(SYSTEMS + LOOP + "  - {data_type: person, to: crm, target: {table: customers}}\n")

    assert (finding.line, finding.code) == (14, "loop")
    assert finding.message == (
        "a loop: crm customers → customer erp partners → supplier web people → person crm customers"
    )


def test_flows_that_end_elsewhere_are_no_loop(findings_of: Findings) -> None:
    assert findings_of(SYSTEMS + LOOP + "  - {data_type: person, to: crm, target: {table: visitors}}\n") == []


def test_a_two_way_flow_alone_is_no_loop_but_with_another_it_is(findings_of: Findings) -> None:
    two_way = "flows:\n  - {data_type: customer, to: erp, direction: two-way, target: {table: partners}}\n"
    assert findings_of(SYSTEMS + OWNED + two_way) == []

    supplier = "  supplier: {system_of_record: web, schema: customer, source: {table: people}}\n"
    more = "  - {data_type: supplier, to: erp, target: {table: partners}}\n"
    assert findings_of(SYSTEMS + OWNED + supplier + two_way + more) == []
    more = "  - {data_type: customer, to: web, target: {table: people}}\n" + more
    assert [finding.code for finding in findings_of(SYSTEMS + OWNED + supplier + two_way + more)] == ["loop"]


@pytest.mark.parametrize(
    ("row", "code", "cure"),
    [
        (
            "crm,customers.a,erp,partners.b,,",
            "no-canonical-side",
            "make it two rows: crm to canonical, and canonical to erp",
        ),
        (
            "canonical,customer.id,canonical,customer.name,,",
            "no-canonical-side",
            "write a system of the map on one side",
        ),
        ("crn,customers.a,canonical,customer.name,,", "unknown-system", "did you mean crm?"),
        (
            "erp,partners.a,canonical,customer.name,,",
            "not-owner",
            "delete the row, write crm for its Source System, or make it own the field: field_owners",
        ),
        ("crm,customers.a,canonical,custmer.name,,", "unknown-data-type", "did you mean customer?"),
        ("crm,customers.a,canonical,customer.nmae,,", "unknown-field", "did you mean name?"),
        ("crm,customers.a,canonical,customer.lines[].sku,,", "unknown-field", "customer has no list of records"),
        (
            "crm,customers.a,canonical,customer.id,,",
            "id-mapped",
            "delete the row; another key is named in the data type's `source:`",
        ),
        ("crm,customers.a,canonical,customer.email,value | trmi,", "bad-rule", "did you mean trim?"),
        ('crm,customers.a,canonical,customer.status,"value | lookup(""stauts"")",', "bad-rule", "did you mean status?"),
        ('crm,customers.a,canonical,customer.status,"""ACTIV""",', "bad-value", "did you mean ACTIVE?"),
        (
            "crm,,canonical,customer.email,,",
            "no-source",
            'name the source field, or write a rule such as "GB" or record.NAME',
        ),
        ("crm,cutomers.a,canonical,customer.email,,", "unused-row", "write customers.a, or delete the row"),
        (
            "canonical,customer.name,web,people.name,,",
            "unused-row",
            "add a flow (data_type: customer, to: web), or delete the row",
        ),
        ("canonical,customer.name,erp,partner.name,,", "unused-row", "write partners.name, or delete the row"),
        ("canonical,customer.name,erp,,,", "no-target", "write RESOURCE.COLUMN"),
    ],
)
def test_a_row_that_means_nothing_is_found_with_its_line(findings_of: Findings, row: str, code: str, cure: str) -> None:
    sound = "crm,customers.company,canonical,customer.name,,\ncanonical,customer.name,erp,partners.n,,\n"
    lookups = "lookups: {status: {a: ACTIVE}}\n"

    findings = findings_of(SYSTEMS + OWNED + INTO_ERP + lookups, sound + row + "\n")

    assert [(found.line, found.code, found.cure.partition("; ")[0]) for found in findings] == [
        (4, code, cure.partition("; ")[0])
    ]


def test_a_column_filled_twice_names_the_first_row(findings_of: Findings) -> None:
    rows = "canonical,customer.name,erp,partners.n,,\ncanonical,customer.email,erp,public.partners.n,,\n"

    [finding] = findings_of(SYSTEMS + OWNED + INTO_ERP.replace("partners", "public.partners"), rows)

    assert (finding.line, finding.code) == (3, "filled-twice")
    assert "first at sheet.csv:2" in finding.message


@pytest.mark.parametrize(
    ("row", "cure"),
    [
        (
            "crm,customers.since,canonical,customer.created_at,,",
            'write the rule value | datetime("%d/%m/%Y", tz="UTC")',
        ),
        ("crm,customers.balance,canonical,customer.credit_limit,,", "write the rule value | decimal"),
        (
            "crm,customers.company,canonical,customer.credit_limit,value | trim,",
            "write the rule (value | trim) | decimal",
        ),
        ("crm,customers.company,canonical,customer.tags,,", 'write the rule value | split(";")'),
        ("canonical,customer.credit_limit,erp,partners.rating,,", "write the rule value | float"),
        ("canonical,customer.created_at,erp,partners.opened,,", 'write the rule value | date(tz="Europe/London")'),
    ],
)
def test_types_that_do_not_convert_show_the_rule_that_does_it(findings_of: Findings, row: str, cure: str) -> None:
    sound = "crm,customers.company,canonical,customer.name,,\ncanonical,customer.name,erp,partners.name,,\n"

    findings = findings_of(SYSTEMS + OWNED + INTO_PARTNERS, sound + row + "\n", {"crm": CRM, "erp": ERP})

    assert [(found.line, found.code, found.cure) for found in findings] == [(4, "bad-type", cure)]


@pytest.mark.parametrize(
    "row",
    [
        'crm,customers.since,canonical,customer.created_at,"value | datetime(""%Y"", tz=""UTC"")",',
        "crm,customers.balance,canonical,customer.credit_limit,value | decimal,",
        "crm,customers.extra,canonical,customer.tags,value.tags,",
        "crm,customers.id,canonical,customer.number,,",
        "canonical,customer.id,erp,partners.partner_no,,",
    ],
)
def test_types_that_convert_are_no_finding(findings_of: Findings, row: str) -> None:
    sound = "crm,customers.company,canonical,customer.name,,\ncanonical,customer.name,erp,partners.name,,\n"

    assert findings_of(SYSTEMS + OWNED + INTO_PARTNERS, sound + row + "\n", {"crm": CRM, "erp": ERP}) == []


def test_what_a_catalog_does_not_have_is_found(findings_of: Findings) -> None:
    rows = """crm,customers.compny,canonical,customer.name,,
crm,customers.company,canonical,customer.legal_name,record.compny | default(value),
canonical,customer.name,erp,partners.nam,,
canonical,customer.name,erp,partners.name,,
"""
    text = SYSTEMS + OWNED + INTO_PARTNERS

    assert [(found.line, found.code, found.cure) for found in findings_of(text, rows, {"crm": CRM, "erp": ERP})] == [
        (2, "unknown-column", "did you mean company?"),
        (3, "bad-rule", "did you mean company?"),
        (4, "unknown-column", "did you mean name?"),
    ]


def test_a_table_that_a_catalog_does_not_have_is_found(findings_of: Findings) -> None:
    text = SYSTEMS + OWNED.replace("table: customers", "table: custumers")

    [finding] = findings_of(text, "", {"crm": CRM})

    assert (finding.line, finding.code) == (7, "unknown-resource")
    assert "did you mean public.customers?" in finding.cure


def test_a_required_column_that_nothing_fills_is_found_with_the_row_to_add(findings_of: Findings) -> None:
    rows = 'canonical,customer.created_at,erp,partners.opened,"value | date(tz=""UTC"")",\n'

    assert _codes(findings_of(SYSTEMS + OWNED + INTO_PARTNERS, rows, {"erp": ERP})) == [
        ("unfilled", "add a row: canonical,customer.name,erp,partners.name")
    ]


def test_a_required_canonical_field_that_nothing_fills_is_found(findings_of: Findings) -> None:
    owned = "data_types:\n  customer: {system_of_record: crm, source: {table: customers}, required: [email]}\n"
    rows = "crm,customers.company,canonical,customer.legal_name,,\n"

    assert _codes(findings_of(SYSTEMS + owned, rows)) == [
        ("unfilled", "add a row: crm,customers.COLUMN,canonical,customer.email"),
        ("unfilled", "add a row: crm,customers.COLUMN,canonical,customer.name"),
    ]


def test_a_list_without_its_required_fields_is_found(findings_of: Findings) -> None:
    text = """
data_types:
  order:
    system_of_record: crm
    source: {table: orders, children: {lines: {table: lines, parent: [order_id]}}}
"""
    rows = """crm,orders.customer_id,canonical,order.customer_id,,
crm,,canonical,order.currency,\"\"\"EUR\"\"\",
crm,lines.amount,canonical,order.lines[].net_amount,,
"""

    assert _codes(findings_of(SYSTEMS + text, rows)) == [
        ("unfilled", "add a row: crm,lines.COLUMN,canonical,order.lines[].quantity")
    ]


@pytest.mark.parametrize(
    "written",
    [
        "dsn: postgresql://sorbus:hunter22@crm/db",
        "dsn: host=crm password=hunter22 dbname=x",
        "password: hunter22",
        "api_key: 22334455hunter22",
        "nested: {client-secret: hunter22}",
        "dsn: postgresql://${USER}:hunter22@crm/db",
    ],
)
def test_a_secret_in_the_clear_is_found_and_not_shown(findings_of: Findings, written: str) -> None:
    text = f"systems:\n  crm:\n    kind: postgres\n    connection:\n      {written}\ndata_types: {{}}\n"

    findings = [found for found in findings_of(text) if found.code == "clear-secret"]

    assert [found.line for found in findings] == [5]
    assert "hunter22" not in str(findings_of(text))
    assert "${CRM_" in findings[0].cure


@pytest.mark.parametrize(
    "written",
    [
        "dsn: postgresql://sorbus:${CRM_PASSWORD}@crm/db",
        "dsn: host=crm password=${CRM_PASSWORD}",
        "password: ${CRM_PASSWORD}",
        "token_url: https://crm.example/token",
        "dsn: postgresql://crm/db",
    ],
)
def test_a_reference_to_a_secret_is_no_finding(findings_of: Findings, written: str) -> None:
    text = f"systems:\n  crm:\n    kind: postgres\n    connection:\n      {written}\ndata_types: {{}}\n"

    assert findings_of(text) == []


def test_systems_that_only_people_serve_need_no_connector(findings_of: Findings) -> None:
    text = """
systems:
  crm: {kind: postgres, connection: {dsn: "${CRM_DSN}"}}
  prices: {kind: spreadsheet}
  payroll: {kind: fax}
data_types:
  customer: {system_of_record: crm, source: {table: customers}}
  employee: {system_of_record: payroll}
flows:
  - {data_type: customer, to: prices, none: nobody reads it}
  - data_type: employee
    to: prices
    manual: {checklist: [look], schedule: daily, responsible: Ann, verification: she says so}
"""

    assert findings_of(text) == []


def test_a_running_flow_needs_a_connector(findings_of: Findings) -> None:
    text = SYSTEMS.replace("erp: {kind: postgres", "erp: {kind: postgrs") + OWNED + INTO_ERP

    [finding] = findings_of(text)

    assert (finding.line, finding.code, finding.cure) == (4, "unknown-kind", "did you mean postgres?")
