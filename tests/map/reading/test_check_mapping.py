"""What `sorbus map check` finds in the mapping sheets: rows without meaning, types that do not fit, empty fields."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.errors import Finding

Findings = Callable[..., list[Finding]]

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
      made: {kind: timestamp, native: timestamp(3) without time zone}
      changed: {kind: timestamp, native: timestamp with time zone}
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
    return [(finding.code, finding.fix) for finding in findings]


@pytest.mark.parametrize(
    ("row", "code", "fix"),
    [
        (
            "crm,customers.a,erp,partners.b,,",
            "no-route",
            "say which in two rows: crm,customers.a,canonical,customer.FIELD and "
            "canonical,customer.FIELD,erp,partners.b; a field that is missing: schemas/",
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
            "delete the row, or write crm for its Source System",
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
        (
            'crm,customers.a,canonical,customer.status,"value | lookup(""origin"")",',
            "bad-rule",
            "write `lookups: {origin: {VALUE: RESULT}}` in the map",
        ),
        ('crm,customers.a,canonical,customer.status,"""ACTIV""",', "bad-value", "did you mean ACTIVE?"),
        (
            "crm,,canonical,customer.email,,",
            "no-source",
            'name the source field, or write a rule such as "GB" or record.NAME',
        ),
        ("crm,cutomers.a,canonical,customer.email,,", "unused-row", "write customers.a, or delete the row"),
        ("crm,invoices.a,canonical,customer.email,,", "unused-row", "write customers.a, or delete the row"),
        (
            "canonical,customer.name,web,people.name,,",
            "unused-row",
            "add a flow (data_type: customer, to: web), or delete the row",
        ),
        ("canonical,customer.name,erp,partner.name,,", "unused-row", "write partners.name, or delete the row"),
        ("canonical,customer.name,erp,,,", "no-target", "write RESOURCE.COLUMN"),
    ],
)
def test_a_row_that_means_nothing_is_found_with_its_line(findings_of: Findings, row: str, code: str, fix: str) -> None:
    sound = "crm,customers.company,canonical,customer.name,,\ncanonical,customer.name,erp,partners.n,,\n"
    lookups = "lookups: {status: {a: ACTIVE}}\n"

    findings = findings_of(SYSTEMS + OWNED + INTO_ERP + lookups, sound + row + "\n")

    assert [(found.line, found.code, found.fix.partition("; ")[0]) for found in findings] == [
        (4, code, fix.partition("; ")[0])
    ]


def test_a_column_filled_twice_names_the_first_row(findings_of: Findings) -> None:
    rows = "canonical,customer.name,erp,partners.n,,\ncanonical,customer.email,erp,public.partners.n,,\n"

    [finding] = findings_of(SYSTEMS + OWNED + INTO_ERP.replace("partners", "public.partners"), rows)

    assert (finding.line, finding.code) == (3, "filled-twice")
    assert "first at sheet.csv:2" in finding.message


@pytest.mark.parametrize(
    ("column", "rule", "codes"),
    [
        ("made", "", ["no-time-zone"]),
        ("made", '"value | datetime(tz=""Europe/Berlin"")"', []),
        ("changed", "", []),
    ],
)
def test_a_time_without_a_zone_is_no_point_in_time(
    findings_of: Findings, column: str, rule: str, codes: list[str]
) -> None:
    rows = "crm,customers.company,canonical,customer.name,,\n"
    rows += f"crm,customers.{column},canonical,customer.created_at,{rule},\n"
    assert [one.code for one in findings_of(SYSTEMS + OWNED, rows, {"crm": CRM})] == codes


@pytest.mark.parametrize(
    ("row", "fix"),
    [
        (
            "crm,customers.since,canonical,customer.created_at,,",
            'write the rule value | datetime("%d/%m/%Y %H:%M", tz="Europe/London")',
        ),
        ("crm,customers.balance,canonical,customer.credit_limit,,", "write the rule value | decimal"),
        (
            "crm,customers.company,canonical,customer.credit_limit,value | trim,",
            "write the rule value | trim | decimal",
        ),
        ("crm,customers.company,canonical,customer.tags,,", 'write the rule value | split(";")'),
        ("canonical,customer.credit_limit,erp,partners.rating,,", "write the rule value | float"),
        ("canonical,customer.created_at,erp,partners.opened,,", 'write the rule value | date(tz="Europe/London")'),
    ],
)
def test_types_that_do_not_convert_show_the_rule_that_does_it(findings_of: Findings, row: str, fix: str) -> None:
    sound = "crm,customers.company,canonical,customer.name,,\ncanonical,customer.name,erp,partners.name,,\n"

    findings = findings_of(SYSTEMS + OWNED + INTO_PARTNERS, sound + row + "\n", {"crm": CRM, "erp": ERP})

    assert [(found.line, found.code, found.fix) for found in findings] == [(4, "bad-type", fix)]


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

    assert [(found.line, found.code, found.fix) for found in findings_of(text, rows, {"crm": CRM, "erp": ERP})] == [
        (2, "unknown-column", "did you mean company? If it is there by now: sorbus discover crm --save"),
        (3, "bad-rule", "did you mean company?"),
        (4, "unknown-column", "did you mean name? If it is there by now: sorbus discover erp --save"),
    ]


def test_a_table_that_a_catalog_does_not_have_is_found(findings_of: Findings) -> None:
    text = SYSTEMS + OWNED.replace("table: customers", "table: custumers")

    [finding] = findings_of(text, "", {"crm": CRM})

    assert (finding.line, finding.code) == (7, "unknown-resource")
    assert "did you mean public.customers?" in finding.fix


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


def test_a_column_that_counts_a_lists_items_is_named_as_their_position(findings_of: Findings) -> None:
    lines = """
  public.partner_tags:
    fields:
      partner_no: {kind: string, required: true}
      place: {kind: int, required: true}
      label: {kind: string, required: true}
"""
    flow = INTO_PARTNERS.replace(
        "key: partner_no",
        "key: partner_no, children: {lines: {table: partner_tags, parent: partner_no, position: null}}",
    ).replace("customer", "order")
    owned = "data_types:\n  order: {system_of_record: crm, source: {table: orders}}\n"
    rows = "canonical,order.number,erp,partners.name,,\n"
    fixes = {one.message: one.fix for one in findings_of(SYSTEMS + owned + flow, rows, {"erp": ERP + lines[1:]})}
    place, label = (
        next(fix for said, fix in fixes.items() if f"partner_tags.{name}," in said) for name in ("place", "label")
    )
    assert place.endswith("or write `position: place` where it counts the items")
    assert "position" not in label
