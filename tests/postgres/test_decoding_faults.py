"""Minor versions of PostgreSQL whose own faults lose changes: named, with the cure."""

from __future__ import annotations

import pytest

from sorbus.postgres.diagnose import OLDEST, decoding_fault


@pytest.mark.parametrize(
    ("version", "what", "cure"),
    [
        (140017, "can miss all changes", "14.19"),
        (140018, "invalid memory alloc", "14.19"),
        (150000, "can miss all changes", "15.14"),
        (150013, "invalid memory alloc", "15.14"),
        (160008, "can miss all changes", "16.10"),
        (160009, "invalid memory alloc", "16.10"),
        (170004, "can miss all changes", "17.6"),
        (170005, "invalid memory alloc", "17.6"),
    ],
)
def test_a_fault_of_the_server_is_named_with_its_cure(version: int, what: str, cure: str) -> None:
    fault = decoding_fault(version)
    assert fault is not None
    assert what in fault[0]
    assert f"PostgreSQL {version // 10_000}.{version % 10_000} has" in fault[0]
    assert f"update the server to {cure} or newer" in fault[1]


@pytest.mark.parametrize("version", [140019, 150014, 160010, 170006, 180000, 190000, (OLDEST - 1) * 10_000])
def test_other_servers_have_none(version: int) -> None:
    assert decoding_fault(version) is None
