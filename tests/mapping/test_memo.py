"""What is remembered of a rule's results, and how much of it."""

from __future__ import annotations

import pytest

from sorbus.mapping import memo
from sorbus.mapping.cache_policy import weight_of
from sorbus.mapping.memo import Key, Memo
from sorbus.mapping.rule import compile_rule


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of a few entries, so that they fill up."""
    for name, size in (("ALWAYS", 4), ("SOME", 8), ("MANY", 16)):
        monkeypatch.setattr(memo, name, size)


class Made:
    """Makes values, and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, *values: bytes | None) -> bytes:
        self.count += 1
        return b"|".join(value or b"-" for value in values)


def number(n: int) -> bytes:
    return str(n).encode()


def test_what_was_made_is_not_made_again() -> None:
    made = Made()
    table = Memo(made)
    assert [table[b"a"], table[None], table[b"a"], table[None]] == [b"a", b"-", b"a", b"-"]
    assert made.count == 2


def test_several_values_are_one_key() -> None:
    made = Made()
    table = Memo(made, 8)
    keys: list[Key] = [(number(n), None) for n in range(20)]
    assert [table[key] for key in keys * 2] == [number(n) + b"|-" for n in range(20)] * 2
    assert len(table) == 8
    assert made.count == 20 + 12, "what it holds is not made again"


def test_what_is_refused_is_refused_again() -> None:
    def refuse(_: bytes | None) -> bytes:
        raise ValueError("no")

    table = Memo(refuse)
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            table[b"a"]
    assert not table


def test_a_small_table_that_is_full_stays_and_goes_on_making_the_others() -> None:
    made = Made()
    table = Memo(made, 8)
    for n in range(400):
        assert table[number(n)] == number(n)
    made.count = 0
    assert [table[number(n)] for n in range(8)] == [number(n) for n in range(8)]
    assert made.count == 0
    assert table[b"new"] == b"new"
    assert made.count == 1


def test_a_large_table_begins_anew_when_others_come() -> None:
    made = Made()
    table = Memo(made, 16)
    for n in range(16 + 16 * 16 + 1):
        table[number(n)]
    assert not table
    table[b"new"], table[b"new"]
    assert len(table) == 1


def test_long_values_are_not_remembered() -> None:
    made = Made()
    table = Memo(made)
    for _ in range(2):
        assert table[b"x" * 129] == b"x" * 129
    assert made.count == 2


def test_beyond_what_each_may_hold_there_is_as_much_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo._Memory, "left", 500)
    first, second = Memo(Made(), 16), Memo(Made(), 16)
    for n in range(10):
        first[number(n)]
    assert len(first) == 4 + 2, "two more fit into 500 bytes"
    for n in range(10):
        second[number(n)]
    assert len(second) == 4, "what every table may hold"
    first.forget()
    second[b"new"]
    assert len(second) == 5


@pytest.mark.parametrize(
    ("rule", "weight"),
    [
        ("value", "light"),
        ("value | trim | upper | truncate(40)", "light"),
        ('record.first ~ " " ~ record.last', "light"),
        ('value | trim | lower | title | upper | replace("a", "b")', "middling"),
        ('"PERSON" if value is none else "ORGANISATION"', "light"),
        ("value | trim | email", "middling"),
        ("value * 2", "middling"),
        ("value | last_name", "heavy"),
        ("value | trim | tax_number", "heavy"),
        ('"none" if record.name == "x" else record.name | name_case', "heavy"),
    ],
)
def test_a_rule_weighs_what_its_heaviest_step_does(rule: str, weight: str) -> None:
    assert weight_of(compile_rule(rule, lookups={}).whole) == weight
