"""The records of one group, as far as they are added up; exact whatever comes and goes."""

from __future__ import annotations

from decimal import Context, Decimal, Inexact
from typing import NamedTuple

from sorbus.errors import PermanentError

Fields = dict[str, object]
_EXACT = Context(prec=400, traps=[Inexact])
_DIGITS = 100
"""On each side of the point: more than any decimal of a schema, and a billion of them are added up exactly."""


def is_addable(amount: Decimal) -> bool:
    """Whether sums with this amount are exact: a text such as 1e999 makes a number, too."""
    if not amount.is_finite():
        return False
    exponent = amount.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -_DIGITS and amount.adjusted() <= _DIGITS


class Contribution(NamedTuple):
    """What a record adds to its group: `own` are the fields of `per`, `line` the record itself where lines are kept.

    `fault`: why it can't be added; the group isn't made as long as it is there.
    """

    group: bytes
    own: Fields
    amounts: tuple[Decimal, ...]
    line: Fields | None
    fault: PermanentError | None = None


class Group:
    """Records with the same values of `per`."""

    def __init__(self, own: Fields, sums: int) -> None:
        self.own = own
        self.count = 0
        self.sums = [Decimal(0)] * sums
        self.lines: dict[bytes, Fields] = {}
        self.faults: dict[bytes, PermanentError] = {}
        self.occurred_at = 0
        """When the last change of it happened, in microseconds since 1970."""

    def __bool__(self) -> bool:
        return bool(self.count or self.faults)

    def add(self, id: bytes, part: Contribution) -> None:
        """A record joins."""
        if part.fault is not None:
            self.faults[id] = part.fault
            return
        self.own, self.count = part.own, self.count + 1
        self.sums = [_EXACT.add(total, amount) for total, amount in zip(self.sums, part.amounts, strict=True)]
        if part.line is not None:
            self.lines[id] = part.line

    def remove(self, id: bytes, part: Contribution) -> None:
        """A record leaves, or joins again as another."""
        if part.fault is not None:
            del self.faults[id]
            return
        self.count -= 1
        self.sums = [_EXACT.subtract(total, amount) for total, amount in zip(self.sums, part.amounts, strict=True)]
        self.lines.pop(id, None)
