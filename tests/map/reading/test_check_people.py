"""`map check` on people: addresses, when they are called, and schedules by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.errors import Finding
from sorbus.map.checks.check import check_to_run
from sorbus.map.contact import Contact, called_for, owner_of, parse_contact
from sorbus.map.load import load_map
from sorbus.mapfile.model import Map

TEXT = """
systems:
  crm: {{kind: postgres, connection: {{dsn: "${{CRM_DSN}}"}}, owner: {owner}}}
  prices: {{kind: spreadsheet}}
data_types:
  customer: {{system_of_record: crm, source: {{table: customers}}}}
flows:
  - data_type: customer
    to: prices
    escalate_after: {after}
    escalate_to: {to}
    manual: {{checklist: [look], schedule: {schedule}, responsible: {responsible}, verification: ten looked at}}
"""
FINE = {"owner": "Sales", "after": "2h", "to": "Ann <ann@example.com>", "schedule": "daily", "responsible": "Finance"}
Findings = Callable[[str], list[Finding]]


def test_people_and_times_that_can_be_read_are_no_findings(findings_of: Findings) -> None:
    assert findings_of(TEXT.format(**FINE)) == []
    assert findings_of(TEXT.format(**{**FINE, "after": '"off"'})) == []


@pytest.mark.parametrize(
    ("key", "written", "line", "code"),
    [
        ("owner", "Sales <sales at example.com>", 3, "bad-contact"),
        ("after", "soon", 10, "bad-duration"),
        ("to", "Ann <ann@>", 11, "bad-contact"),
        ("schedule", "sometimes", 12, "bad-schedule"),
        ("responsible", "Finance <finance", 12, "bad-contact"),
    ],
)
def test_what_nobody_can_follow_is_found(findings_of: Findings, key: str, written: str, line: int, code: str) -> None:
    [finding] = findings_of(TEXT.format(**{**FINE, key: written}))

    assert (finding.line, finding.code) == (line, code)
    assert finding.fix.startswith("write ")
    keeps_from_running = check_to_run(load_map(finding.file))
    assert (keeps_from_running != []) == (code == "bad-duration")


@pytest.mark.parametrize(
    ("text", "contact"),
    [
        ("Finance", Contact("Finance")),
        ("Finance  team <finance@example.com>", Contact("Finance team", "finance@example.com")),
        ("<finance@example.com>", Contact("finance@example.com", "finance@example.com")),
        ("finance@example.com", Contact("finance@example.com", "finance@example.com")),
        ("Ann @ desk 4", Contact("Ann @ desk 4")),
    ],
)
def test_a_contact_is_a_name_with_or_without_an_address(text: str, contact: Contact) -> None:
    assert parse_contact(text) == contact


def test_who_is_called_is_the_targets_owner_unless_the_flow_says_otherwise() -> None:
    company = Map.model_validate(
        {
            "systems": {"crm": {"kind": "postgres"}, "books": {"kind": "postgres", "owner": "Finance"}},
            "data_types": {"order": {"system_of_record": "crm"}},
            "flows": [
                {"data_type": "order", "to": "books"},
                {"name": "other", "data_type": "order", "to": "books", "escalate_to": "Ann <ann@example.com>"},
                {"name": "back", "data_type": "order", "to": "crm"},
            ],
        }
    )

    assert owner_of(company, "books") == Contact("Finance")
    assert [called_for(company, flow) for flow in company.flows] == [
        Contact("Finance"),
        Contact("Ann", "ann@example.com"),
        None,
    ]


def test_a_contact_that_can_not_be_read_is_still_named() -> None:
    system = {"kind": "postgres", "owner": "Sales <sales at example.com>"}
    company = Map.model_validate({"systems": {"crm": system}, "data_types": {}})

    assert owner_of(company, "crm") == Contact("Sales <sales at example.com>")
