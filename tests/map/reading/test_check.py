"""What `sorbus map check` finds, one kind of mistake at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sorbus.errors import Finding
from sorbus.map.checks.check import check
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


def _codes(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.code, finding.fix) for finding in findings]


@pytest.mark.parametrize("name", ["company", "northwind"])
def test_the_examples_have_nothing_to_mend(name: str) -> None:
    assert check(load_map(EXAMPLES / name / "map.yaml")) == []


@pytest.mark.parametrize(
    ("owner", "code", "fix"),
    [
        ("{}", "no-owner", "write system_of_record: crm"),
        (
            "{system_of_record: [crm, erp]}",
            "two-owners",
            "write system_of_record: crm; what erp owns can be a data type of its own",
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
        (
            "{system_of_record: crm, source: {table: c}, field_owners: {email: erp}}",
            "contradiction",
            "delete field_owners, or write direction: two-way under a flow of customer",
        ),
        ("{system_of_record: crm, source: {tabel: c}}", "missing", "write table: …"),
        (
            "{system_of_record: crm, source: {table: c, children: {lines: {table: l, parent: [id]}}}}",
            "unknown-field",
            "customer has no list of records: take it out",
        ),
    ],
)
def test_a_data_type_has_one_owner_and_its_own_fields(findings_of: Findings, owner: str, code: str, fix: str) -> None:
    assert (code, fix) in _codes(findings_of(SYSTEMS + f"data_types:\n  customer: {owner}\n"))


def test_an_unknown_schema_is_found_with_the_closest(findings_of: Findings) -> None:
    [finding] = findings_of(SYSTEMS + "data_types:\n  client:\n    system_of_record: crm\n    schema: custommer\n")

    assert (finding.line, finding.code) == (9, "bad-schema")
    assert "did you mean customer?" in finding.message


@pytest.mark.parametrize(
    ("flow", "code", "fix"),
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
            "write real-time, every 15m (s, m, h or d), cron 0 2 * * * Europe/London, or days: working days at 18:00",
        ),
        (
            "{data_type: customer, to: erp, none: no, "
            "manual: {checklist: [], schedule: daily, responsible: r, verification: v}}",
            "contradiction",
            "keep the one that is true",
        ),
        ("{data_type: customer, to: erp, target: {tabel: t}}", "unknown-key", "did you mean table?"),
    ],
)
def test_a_flow_goes_from_its_owner_to_another_system(findings_of: Findings, flow: str, code: str, fix: str) -> None:
    assert (code, fix) in _codes(findings_of(SYSTEMS + OWNED + f"flows:\n  - {flow}\n"))


def test_a_flow_written_twice_is_found(findings_of: Findings) -> None:
    [finding] = findings_of(
        SYSTEMS + OWNED + INTO_ERP + "  - {data_type: customer, to: erp, target: {table: partners}}\n"
    )

    assert (finding.line, finding.code) == (10, "double-flow")
    assert "first in line 9" in finding.message


@pytest.mark.parametrize("target", ["{table: public.partners}", "{table: partners, children: {notes: {table: n}}}"])
def test_a_flow_written_twice_in_other_words_is_found(findings_of: Findings, target: str) -> None:
    """Versions are kept by table and id: the second flow's events would all be taken for repeats of the first's."""
    second = f"  - {{name: second, data_type: customer, to: erp, target: {target}}}\n"
    assert "double-flow" in [code for code, _ in _codes(findings_of(SYSTEMS + OWNED + INTO_ERP + second))]


def test_two_flows_of_a_data_type_to_one_system_need_names(findings_of: Findings) -> None:
    text = SYSTEMS + OWNED + INTO_ERP + "  - {data_type: customer, to: erp, target: {table: contacts}}\n"

    assert _codes(findings_of(text)) == [
        ("double-name", "give this one a name of its own, such as name: customer-to-erp-2")
    ]


KAFKA = """
topic_prefix: co.
systems:
  crm: {kind: postgres, connection: {dsn: "${CRM_DSN}"}}
  lake: {kind: kafka, connection: {}}
  sea: {kind: kafka, connection: {}}
  far: {kind: kafka, connection: {servers: "elsewhere:9092"}}
data_types:
  customer: {system_of_record: crm, source: {table: customers}}
  product: {system_of_record: crm, source: {table: products}}
flows:
  - {data_type: customer, to: lake, target: {topic: out.all}}
"""


@pytest.mark.parametrize(
    ("flow", "words"),
    [
        ("{data_type: product, to: lake, target: {topic: out.all}}", "out.all is written by flow customer-to-lake"),
        ("{data_type: customer, to: sea, target: {topic: out.all}}", "out.all is written by flow customer-to-lake"),
        ("{data_type: customer, to: sea, target: {topic: co.product}}", "topic co.product holds product already"),
        ("{data_type: product, to: far, target: {topic: out.all}}", ""),
    ],
)
def test_a_topic_is_one_flows(findings_of: Findings, flow: str, words: str) -> None:
    found = [str(one) for one in findings_of(KAFKA + f"  - {flow}\n") if one.code == "shared-place"]
    assert bool(found) == bool(words)
    assert words in "".join(found)


def test_a_table_takes_one_data_type(findings_of: Findings) -> None:
    """Its rows, and the versions that guard them, are kept by the record's id."""
    company = KAFKA.replace("  lake:", "  books: {kind: postgres, connection: {dsn: x}}\n  lake:")
    flows = "".join(
        f"  - {{data_type: {name}, to: books, target: {{table: {table}}}}}\n"
        for name, table in (("customer", "partners"), ("product", "public.partners"), ("product", "other.partners"))
    )
    found = [str(one) for one in findings_of(company + flows) if one.code == "shared-place"]
    assert len(found) == 1
    assert "product-to-books: table public.partners of books is written by flow customer-to-books already" in found[0]
    shared = flows.replace("table: public.partners", "table: public.partners, shared: true")
    assert [one for one in findings_of(company + shared) if one.code == "shared-place"] == []


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


SHARED = ["shared-place", "unmapped"]


def test_a_two_way_flow_counts_in_loops_both_ways(findings_of: Findings) -> None:
    two_way = "flows:\n  - {data_type: customer, to: erp, direction: two-way, target: {table: partners}}\n"
    (refused,) = findings_of(SYSTEMS + OWNED + two_way)
    assert (refused.code, refused.fix) == ("unmapped", "write rows from erp to canonical, or direction: one-way")

    supplier = "  supplier: {system_of_record: web, schema: customer, source: {table: people}}\n"
    more = "  - {data_type: supplier, to: erp, target: {table: partners}}\n"
    assert sorted(one.code for one in findings_of(SYSTEMS + OWNED + supplier + two_way + more)) == SHARED
    more = "  - {data_type: customer, to: web, target: {table: people}}\n" + more
    codes = [finding.code for finding in findings_of(SYSTEMS + OWNED + supplier + two_way + more)]
    assert sorted(codes) == ["loop", *SHARED]


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
    assert "${CRM_" in findings[0].fix


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
    manual: {checklist: [look], schedule: daily, responsible: Finance, verification: ten looked at}
"""

    assert findings_of(text) == []


def test_a_running_flow_needs_a_connector(findings_of: Findings) -> None:
    text = SYSTEMS.replace("erp: {kind: postgres", "erp: {kind: postgrs") + OWNED + INTO_ERP

    [finding] = findings_of(text)

    assert (finding.line, finding.code, finding.fix) == (4, "unknown-kind", "did you mean postgres?")
