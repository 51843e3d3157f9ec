"""Paths into JSON."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorbus.errors import PermanentError
from sorbus.http_api.path import drop_path, is_null, parse_path, read_path, take_paths, write_path

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,6}", fullmatch=True)
selectors = st.one_of(
    st.integers(0, 4).map(lambda place: f"[{place}]"),
    st.builds("[key {}={}]".format, names, st.from_regex(r"[A-Za-z0-9 ._-]{1,6}", fullmatch=True)),
)
paths = st.builds(
    lambda steps, last: ".".join([*("".join(step) for step in steps), last]),
    st.lists(st.tuples(names, selectors | st.just("")), max_size=3),
    names | names.map("{}[2]".format),
)


@given(paths, st.one_of(st.text(), st.integers(), st.booleans(), st.lists(st.text())))
def test_what_was_written_is_read_again_and_dropped(path: str, value: object) -> None:
    record: dict[str, object] = {}
    write_path(record, path, value)
    assert read_path(record, path) == value
    drop_path(record, path)
    if not path.endswith("]"):
        assert read_path(record, path) is None


@given(st.text(max_size=30))
def test_any_text_is_a_path_or_says_why_not(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(parse_path(text), tuple)


def test_an_item_is_found_by_what_it_holds() -> None:
    record = {"phones": [{"type": "HOME", "n": 1}, {"type": "MOBILE", "n": 2}], "fields": [{"id": 3, "main": True}]}
    assert read_path(record, "phones[type=MOBILE].n") == 2
    assert read_path(record, "fields[id=3].main") is True
    assert read_path(record, "fields[main=true].id") == 3
    assert read_path(record, "phones[9].n") is None
    assert read_path([{"id": Decimal("1.50")}], "[0].id") == Decimal("1.50")
    assert read_path(record, "") is record


def test_a_missing_item_is_made_with_what_names_it() -> None:
    record: dict[str, object] = {"fields": [{"id": 1, "value": "kept"}]}
    write_path(record, "fields[id=3].value", "new")
    assert record == {"fields": [{"id": 1, "value": "kept"}, {"id": 3, "value": "new"}]}


def test_nothing_is_overwritten_to_make_room() -> None:
    record: dict[str, object] = {"name": "Ada"}
    with pytest.raises(PermanentError, match=r"name\.first can't be written: the record holds str"):
        write_path(record, "name.first", "Ada")
    assert record == {"name": "Ada"}


@given(st.text("abc.[]@= $", min_size=1, max_size=9))
def test_a_quoted_name_is_read_as_it_is(name: str) -> None:
    assert read_path({"a": {name: [5]}}, f'a["{name}"][0]') == 5


@given(paths, st.one_of(st.none(), st.text(), st.integers()))
def test_what_is_taken_leaves_nothing_that_was_made_for_it(path: str, value: object) -> None:
    record: dict[str, object] = {"kept": 1}
    write_path(record, path, value)
    assert take_paths(record, [path]) == {path: value}
    if "[2]" not in path and not path.startswith("kept"):  # items before it were made, too, and stay
        assert not [part for part in record.values() if part not in (1, [None] * 4)] or "[" in path
    assert take_paths({"kept": 1}, ["other.name"]) == {}


def test_null_is_told_from_nothing() -> None:
    assert is_null({"data": {"customer": None}}, "data.customer")
    assert not is_null({"data": {}}, "data.customer")
    assert not is_null({"data": {"customer": {}}}, "data.customer")
    assert not is_null([], "[0]")
