"""Results that are worked out once: many values come again, and a costly rule takes longer than looking one up."""

from __future__ import annotations

from collections.abc import Callable

Raw = bytes | None
Key = Raw | tuple[Raw, ...]
"""A value's bytes as they came, or those of all values that a rule takes."""
ALWAYS = 4096
"""Results that any table may hold; more only while there is memory for them."""
SOME, MANY = 16_384, 65_536
"""Results that a table may hold of a rule that takes a microsecond or two, and of one that takes longer."""
LONGEST = 128
"""Bytes that are remembered as a key."""
MEMORY = 64 * 2**20
"""Bytes that a process's tables may take together, beyond what they may always hold."""
_EACH = 220
"""What an entry takes beside the bytes of key and result: two objects and a place in the table."""


class _Memory:
    """What is left of MEMORY for the tables of this process."""

    left = MEMORY


class Memo(dict[Key, bytes]):
    """`known[value]` is `make(value)`, which must depend on nothing else; what it raises isn't remembered.

    When a table of MANY has missed sixteen times as many values as it holds, it begins anew: those that come are
    others by now. A smaller one that is full stays as it is and is just looked into, at a tenth of a microsecond.
    """

    __slots__ = ("_make", "_missed", "_most", "_taken")

    def __init__(self, make: Callable[..., bytes], most: int = MANY) -> None:
        """`make` takes a key, or where keys are tuples their values one by one."""
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
        """Begins anew."""
        self.clear()
        _Memory.left += self._taken
        self._missed = self._taken = 0

    def __del__(self, memory: type[_Memory] = _Memory) -> None:
        memory.left += self._taken


def _full(make: Callable[..., bytes], key: Key) -> type[Memo]:
    """The class of a table that takes no more: what it lacks is made straight away, without a function in between."""
    missing = (lambda keys: make(*keys)) if key.__class__ is tuple else make
    return type("Full", (Memo,), {"__slots__": (), "__missing__": staticmethod(missing)})
