"""The figures that verify a round: the owner's, what people confirmed, and the target's, side by side. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Context, Decimal
from typing import Literal, NamedTuple

from pydantic import JsonValue

from sorbus.errors import SorbusError
from sorbus.ops.checklists.sheets.changes import TargetFields

RECORDS = "records"
_EXACT = Context(prec=400)
How = Literal["read", "entered", "unknown"]


class Totals(NamedTuple):
    """How many records there are, and the sum of each field under `totals`."""

    records: int
    sums: Mapping[str, Decimal]

    def by_name(self) -> dict[str, Decimal]:
        """Each figure by its name."""
        return {RECORDS: Decimal(self.records), **self.sums}


class RoundFigure(NamedTuple):
    """One figure. `owner`: at the owner when the sheet was prepared; `confirmed`: by the rows that people confirmed.

    `target`: what the target holds, read by Sorbus or entered by a person (`how`); None: unknown.
    """

    name: str
    owner: Decimal | None
    confirmed: Decimal
    target: Decimal | None
    how: How

    @property
    def agrees(self) -> bool | None:
        """Whether the target holds what was confirmed; None while that isn't known."""
        return None if self.target is None else self.target == self.confirmed


def totals_of(records: Iterable[TargetFields], sums: Sequence[str]) -> Totals:
    """Counts and adds up. SorbusError for a value that isn't a number, naming field and value."""
    count, added = 0, dict.fromkeys(sums, Decimal(0))
    for fields in records:
        count += 1
        for name in sums:
            added[name] = _EXACT.add(added[name], _number(name, fields.get(name)))
    return Totals(count, added)


def side_by_side(
    owner: Totals | None, confirmed: Totals, read: Totals | None, entered: Mapping[str, Decimal]
) -> list[RoundFigure]:
    """Every figure. What Sorbus reads in the target counts more than what a person enters."""
    owners, reads = owner.by_name() if owner else {}, read.by_name() if read else {}
    found = []
    for name, value in confirmed.by_name().items():
        target = reads.get(name, entered.get(name))
        how: How = "read" if name in reads else "entered" if name in entered else "unknown"
        found.append(RoundFigure(name, owners.get(name), value, target, how))
    return found


def contradictions(figures: Iterable[RoundFigure], entered: Mapping[str, Decimal]) -> list[str]:
    """Figures that a person entered and that Sorbus reads otherwise."""
    return [
        f"{one.name}: {entered[one.name]:,} was entered, and the target itself says {one.target:,}"
        for one in figures
        if one.how == "read" and one.name in entered and entered[one.name] != one.target
    ]


def as_json(figures: Iterable[RoundFigure]) -> list[JsonValue]:
    """For the state, for machines and for the audit trail; numbers are text."""
    return [
        {
            "name": one.name,
            "owner": None if one.owner is None else format(one.owner, "f"),
            "confirmed": format(one.confirmed, "f"),
            "target": None if one.target is None else format(one.target, "f"),
            "how": one.how,
        }
        for one in figures
    ]


def from_json(written: object) -> list[RoundFigure]:
    """The contrary of `as_json`."""
    assert isinstance(written, list)
    return [
        RoundFigure(
            one["name"],
            None if one["owner"] is None else Decimal(one["owner"]),
            Decimal(one["confirmed"]),
            None if one["target"] is None else Decimal(one["target"]),
            one["how"],
        )
        for one in written
    ]


def _number(name: str, value: object) -> Decimal:
    if value is None:
        return Decimal(0)
    if isinstance(value, Decimal):
        return value
    raise SorbusError(f"totals: {name} holds {value!r}, which is not a number; take {name} out of `totals:`")
