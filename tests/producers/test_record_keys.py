"""Keys that name no record."""

from __future__ import annotations

import pytest

from sorbus.producers.record_keys import key_fault, unkeyed_id


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"\xff", "not text in UTF-8"),
        (b"a\0b", "zero byte"),
        (b"", "is empty"),
        (None, "no value"),
        (b"x" * 9000, "too long"),
    ],
)
def test_a_key_that_names_no_record_is_told_of(value: bytes | None, words: str) -> None:
    fault = key_fault([value], ["code"])
    assert fault is not None
    assert fault[0] == "code"
    assert words in fault[1]
    assert b"\0" not in unkeyed_id(["code"], [value], is_key=True)


def test_a_key_with_spaces_and_signs_names_a_record() -> None:
    assert key_fault([b" a|b%", "Łódź\n".encode()], ["a", "b"]) is None
