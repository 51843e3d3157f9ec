"""Results that are worked out once: the values of most fields repeat, and a rule takes longer than looking one up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Made = TypeVar("Made")
MOST = 4096
LONGEST = 128
"""Bytes of a value that is remembered."""


class Known(dict[bytes | None, Made]):
    """`known[value]` is `make(value)`, which must depend on nothing else; what it raises isn't remembered.

    It holds at most MOST values, and begins anew when it has missed that many sixteen times: a field of which each
    value is new pays for looking, not for remembering.
    """

    __slots__ = ("_make", "_missed")

    def __init__(self, make: Callable[[bytes | None], Made]) -> None:
        super().__init__()
        self._make = make
        self._missed = 0

    def __missing__(self, value: bytes | None) -> Made:
        made = self._make(value)
        if len(self) < MOST:
            if value is None or len(value) <= LONGEST:
                self[value] = made
        else:
            self._missed += 1
            if self._missed > 16 * MOST:
                self._missed = 0
                self.clear()
        return made
