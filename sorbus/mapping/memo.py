"""Caches results: many values repeat, and a costly rule takes longer than a lookup."""

from __future__ import annotations

from collections.abc import Callable

Raw = bytes | None
Key = Raw | tuple[Raw, ...]
"""A value's encoded bytes, or those of all values that a rule reads."""
ALWAYS = 4096
"""Results that any table may hold; more only while there is memory left."""
SOME, MANY = 16_384, 65_536
"""Results that a table may hold for a rule that takes one or two microseconds, and for a slower one."""
LONGEST = 128
"""Maximum bytes of a key."""
MEMORY = 64 * 2**20
"""Bytes that all tables of a process may take together, beyond their guaranteed share."""
_EACH = 220
"""Overhead of an entry in bytes: two objects and a slot in the table."""


class _Memory:
    """What is left of MEMORY for this process's tables."""

    left = MEMORY


class Memo(dict[Key, bytes]):
    """`known[value]` is `make(value)`, which must depend on nothing else; exceptions aren't cached.

    When a table of MANY has missed sixteen times as many values as it holds, it is cleared: the values have changed.
    A smaller full table is kept and only looked up, at a tenth of a microsecond.
    """

    __slots__ = ("_make", "_missed", "_most", "_taken")

    def __init__(self, make: Callable[..., bytes], most: int = MANY) -> None:
        """`make` takes a key, or the elements of a tuple key as separate arguments."""
        super().__init__()
        self._make, self._most = make, most
        self._missed = self._taken = 0

    def __missing__(self, key: Key) -> bytes:
        if key.__class__ is tuple:
            made = self._make(*key)
            size = sum([len(each) for each in key if each])
        else:
            made = self._make(key)
            size = len(key) if key else 0
        if size > LONGEST:
            return made
        count = len(self)
        if count >= ALWAYS:
            size += len(made) + _EACH
            if count >= self._most or _Memory.left < size:
                if self._most < MANY:
                    self.__class__ = _full(self._make, key)
                self._missed += 1
                if self._missed > 16 * count:
                    self.forget()
                return made
            _Memory.left -= size
            self._taken += size
        self[key] = made
        return made

    def forget(self) -> None:
        """Clears the table."""
        self.clear()
        _Memory.left += self._taken
        self._missed = self._taken = 0

    def __del__(self, memory: type[_Memory] = _Memory) -> None:
        memory.left += self._taken


def _full(make: Callable[..., bytes], key: Key) -> type[Memo]:
    """The class of a full table: a missing result is computed directly, without a function in between."""
    missing = (lambda keys: make(*keys)) if key.__class__ is tuple else make
    return type("Full", (Memo,), {"__slots__": (), "__missing__": staticmethod(missing)})
