"""Keys that name a record, and those that name none."""

from __future__ import annotations

import pytest

from sorbus.producers.record_keys import LONGEST_KEY, key_fault


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ((b"1", b""), None),
        ((b"M\xc3\xbcller",), None),
        ((b"",), ("a", "is empty")),
        ((b"1", None), ("b", "has no value")),
        ((b"1", b"\xff"), ("b", "not text in UTF-8")),
        ((b"1", b"x\0y"), ("b", "a NUL character")),
        ((b"1" * LONGEST_KEY, b"2"), ("b", "is too long")),
    ],
)
def test_a_key_that_names_no_record_is_said_with_its_column(
    key: tuple[bytes | None, ...], said: tuple[str, str] | None
) -> None:
    found = key_fault(key, ["a", "b"][: len(key)])
    if said is None:
        assert found is None
    else:
        assert found is not None
        assert found[0] == said[0]
        assert said[1] in found[1]
