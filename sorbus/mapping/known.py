"""Results that are worked out once: the values of most fields repeat, and a rule takes longer than looking one up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Made = TypeVar("Made")
Raw = bytes | None
Key = Raw | tuple[Raw, ...]
"""A value's bytes as they came, or those of all values that a rule takes."""
MOST = 4096
LONGEST = 128
"""Bytes that are remembered as a key."""


class Known(dict[Key, Made]):
    """`known[value]` is `make(value)`, which must depend on nothing else; what it raises isn't remembered.

    It holds at most MOST values, and begins anew when it has missed that many sixteen times: a field of which each
    value is new pays for looking, not for remembering.
    """

    __slots__ = ("_make", "_missed")

    def __init__(self, make: Callable[..., Made]) -> None:
        """`make` takes a key, or where keys are tuples their values one by one."""
        super().__init__()
        self._make = make
        self._missed = 0

    def __missing__(self, key: Key) -> Made:
        made = self._make(*key) if key.__class__ is tuple else self._make(key)
        if len(self) < MOST:
            if _size(key) <= LONGEST:
                self[key] = made
        else:
            self._missed += 1
            if self._missed > 16 * MOST:
                self._missed = 0
                self.clear()
        return made


def _size(key: Key) -> int:
    return sum([len(each) for each in key if each]) if isinstance(key, tuple) else len(key or b"")
