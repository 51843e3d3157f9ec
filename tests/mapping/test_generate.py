"""Generated functions against the closures they were made of: the same values, the same refusals in the same words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorbus.mapping.filters import rule_filter
from sorbus.mapping.filters.registry import FILTERS
from sorbus.mapping.rule import RuleError, compile_rule
from tests.mapping.rules import LOOKUPS, RULES
from tests.search import examples

VALUES = (
    st.none()
    | st.sampled_from(["", " a ", "a", "1", "12.50", "24/11/2026", "2026-11-24", "x" * 50, "Germany", "\ud83d\ude00"])
    | st.integers(-3, 12)
    | st.decimals(-100, 100, places=2)
    | st.booleans()
    | st.floats()
    | st.sampled_from(
        [date(2026, 11, 24), datetime(2026, 11, 24, tzinfo=UTC), UUID(int=7), b"ab", ["a", None], {"a": 1}]
    )
)


def outcome(run: Callable[[], object]) -> tuple[str, str]:
    try:
        made = run()
    except RuleError as error:
        return "refused", str(error)
    return type(made).__name__, repr(made)


@pytest.mark.search
@given(text=RULES, value=VALUES, a=VALUES, b=VALUES)
@settings(max_examples=examples(600))
def test_what_is_generated_gives_what_the_closures_give(text: str, value: object, a: object, b: object) -> None:
    try:
        rule = compile_rule(text, lookups=LOOKUPS)
    except RuleError:
        return
    record: Mapping[str, object] = {"a": a, "b": b}
    exactly = outcome(lambda: rule.exactly(value, record))
    assert outcome(lambda: rule(value, record)) == exactly
    if "gone" not in rule.uses:
        fields = sorted({"a", "b", *rule.uses})
        assert outcome(lambda: rule.of_fields(fields)(value, *(record[field] for field in fields))) == exactly


def test_an_argument_sees_the_rows_value_not_the_one_before_the_filter() -> None:
    assert compile_rule("record.mobile | coalesce(value)", lookups={})("020", {"mobile": None}) == "020"


def test_a_rule_with_a_filter_that_looks_elsewhere_is_not_pure() -> None:
    @rule_filter(pure=False)
    def counted(value: object) -> object:
        """Not the same twice."""
        return value

    try:
        assert not compile_rule("(value | trim) ~ (value | counted)", lookups={}).is_pure
        assert compile_rule("value | trim", lookups={}).is_pure
    finally:
        del FILTERS[counted.__name__]


def test_decimals_in_rules_stay_exact() -> None:
    assert compile_rule("value * 0.1", lookups={})(Decimal("0.3"), {}) == Decimal("0.03")
