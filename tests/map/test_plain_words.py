"""Plain words for transformations become rules that can be read, or are left to a person."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.map.sheets.note_parser import understand
from sorbus.mapping.rule import compile_rule

LOOKUPS = {"customer_status": {"A": "ACTIVE"}, "category": {"1": "x"}}


@pytest.mark.parametrize(
    ("note", "rule"),
    [
        ("", ""),
        ("1:1", ""),
        ("Direct copy", ""),
        ("as is", ""),
        ("n/a", ""),
        ("uppercase", "value | upper"),
        ("Convert to upper case.", "value | upper"),
        ("UPPER", "value | upper"),
        ("lower-case, trim", "value | lower | trim"),
        ("Trim and uppercase", "value | trim | upper"),
        ("remove leading and trailing spaces", "value | trim"),
        ("UK date dd/mm/yyyy", 'value | date("%d/%m/%Y")'),
        ("dd.mm.yyyy", 'value | date("%d.%m.%Y")'),
        ("MM/DD/YYYY to ISO", 'value | date("%m/%d/%Y")'),
        ("yyyymmdd", 'value | date("%Y%m%d")'),
        ("date format dd-mon-yy", 'value | date("%d-%b-%y")'),
        ("US date", 'value | date("%m/%d/%Y")'),
        ("format as dd.mm.yyyy", 'value | text("%d.%m.%Y")'),
        ("lookup status", 'value | lookup("customer_status")'),
        ("category lookup", 'value | lookup("category")'),
        ("Use lookup table customer status", 'value | lookup("customer_status")'),
        ("default GB", 'value | default("GB")'),
        ("Default: 0", "value | default(0)"),
        ('if blank use "not known"', 'value | default("not known")'),
        ("trim, default to GB", 'value | trim | default("GB")'),
        ("always EUR", '"EUR"'),
        ("hardcoded 30", "30"),
        ("max 40 chars", "value | truncate(40)"),
        ("truncate to 60", "value | truncate(60)"),
        ("round to 2 decimals", "value | round(2)"),
        ("divide by 100", "value / 100"),
        ("Y/N to boolean", "value | boolean"),
        ("ISO country code", "value | country"),
        ("phone number E.164", "value | phone"),
        ("Normalise phone numbers to E.164 format", "value | phone"),
        ("replace '-' with ''", 'value | replace("-", "")'),
        ("first name from full name", "value | first_name"),
        ("value | slug", "value | slug"),
        ("number, divide by 100, round to 2", "((value | decimal) / 100) | round(2)"),
    ],
)
def test_a_note_is_understood_as_a_rule_that_compiles(note: str, rule: str) -> None:
    found = understand(note, LOOKUPS)
    assert found is not None
    assert found.rule == rule
    if rule:
        compile_rule(rule, lookups=LOOKUPS)


@pytest.mark.parametrize(
    "note",
    [
        "Ask Finance before changing", "uppercase, but not for Swiss customers", "lookup warehouse", "see ticket 4711",
        "calculated", "if VAT is empty use the tax office's number", "GB", "TBD", "trim and something",
    ],
)  # fmt: skip
def test_a_note_that_is_not_wholly_understood_gives_no_rule(note: str) -> None:
    assert understand(note, LOOKUPS) is None


def test_a_concatenation_names_its_fields() -> None:
    found = understand("concat first name and last name", {})
    assert found is not None
    assert found.fields == ("first name", "last name")


@given(st.text(max_size=60))
def test_any_note_gives_a_rule_that_compiles_or_none(note: str) -> None:
    found = understand(note, LOOKUPS)
    if found is not None and found.rule:
        compile_rule(found.rule, lookups=LOOKUPS)
