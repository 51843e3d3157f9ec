"""A rule looked at step by step."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings

from sorbus.mapping.rule import RuleError, compile_rule
from sorbus.mapping.trace import trace, written
from tests.mapping.test_generate import LOOKUPS, RULES, VALUES, outcome
from tests.search import examples


@pytest.mark.parametrize(
    ("rule", "value", "record", "shown"),
    [
        ("value | trim | upper", "  a ", {}, 'value "  a " -> trim "a" -> upper "A"'),
        ('"GB"', None, {}, '"GB" "GB"'),
        ("value | truncate(3)", "abc", {}, 'value "abc" -> truncate(3) "abc"'),
        ("value | truncate(2)", "abc", {}, 'value "abc" -> truncate(2) "ab" (1 character cut)'),
        (
            'value | truncate(4, "…")',
            "a long name",
            {},
            'value "a long name" -> truncate(4, "…") "a l…" (8 characters cut)',
        ),
        ('value | lookup("status")', "a", {}, 'value "a" -> lookup("status") "b"'),
        (
            'record.first ~ " " ~ record.last',
            None,
            {"first": "A", "last": "B"},
            'record.first "A" -> record.last "B" -> record.first ~ " " ~ record.last "A B"',
        ),
        (
            '"P" if value is none else value | upper',
            "x",
            {},
            'value "x" -> value is none False (bool) -> value "x" -> upper "X"',
        ),
        ('record.gone | default("UK")', None, {}, 'record.gone nothing -> default("UK") "UK"'),
        ("value / 100", 19, {}, "value 19 (int) -> value / 100 0.19 (Decimal)"),
        (
            "value | trim | date",
            "soon",
            {},
            'value "soon" -> trim "soon" -> date filter date: "soon" is not a valid date written as YYYY-MM-DD',
        ),
    ],
)
def test_a_trace_shows(rule: str, value: object, record: Mapping[str, object], shown: str) -> None:
    assert str(trace(compile_rule(rule, lookups=LOOKUPS), value, record)) == shown


@pytest.mark.search
@given(text=RULES, value=VALUES, a=VALUES, b=VALUES)
@settings(max_examples=examples(300))
def test_a_trace_ends_as_the_rule_does(text: str, value: object, a: object, b: object) -> None:
    try:
        rule = compile_rule(text, lookups=LOOKUPS)
    except RuleError:
        return
    found = trace(rule, value, {"a": a, "b": b})
    assert written(rule.whole)
    assert outcome(lambda: rule(value, {"a": a, "b": b})) == (
        ("refused", found.error) if found.error else (type(found.value).__name__, repr(found.value))
    )
