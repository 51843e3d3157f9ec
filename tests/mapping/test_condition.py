"""Conditions over canonical fields: typed, checked before they run, and the same rules as in mapping sheets."""

from __future__ import annotations

from decimal import Decimal

import pytest

from sorbus.mapping.condition import compile_condition
from sorbus.mapping.rule import RuleError
from sorbus.schema import Kind

FIELDS: dict[str, Kind | None] = {
    "id": "string", "country": "string", "total": "decimal", "active": "boolean", "tags": "array",
}  # fmt: skip
RECORD = {"id": "7", "country": "DE", "total": Decimal("12.50"), "active": True, "tags": ["a"]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('country == "DE"', True),
        ('record.country == "DE"', True),
        ('record["country"] != "DE"', False),
        ("total > 12 and not active", False),
        ('country in ["DE", "AT"] and total <= 12.5', True),
        ('(country | lower) == "de"', True),
        ('"a" in tags', True),
        ('(total if active else 0) > 1 and id == "7"', True),
        ("country is none", False),
        ("active", True),
    ],
)
def test_a_condition_reads_fields_by_their_names(text: str, expected: bool) -> None:
    assert compile_condition(text, lookups={}, fields=FIELDS)(None, RECORD) is expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('contry == "DE"', "country"),
        ('record.contry == "DE"', "country"),
        ("country == DE", '"DE"'),
        ("value == 1", "no field 'value'"),
        ("country", "isn't true or false"),
        ('country == "DE" or total', "isn't true or false"),
        ("total == country", "never equal"),
        ("true", "reads no field"),
        ("country ==", "can't be read"),
        ("country.lower()", "not allowed"),
        ("record", "no field 'record'"),
    ],
)
def test_what_is_wrong_with_a_condition_is_said_at_once(text: str, told: str) -> None:
    with pytest.raises(RuleError, match=told.replace("(", r"\(")):
        compile_condition(text, lookups={}, fields=FIELDS)
