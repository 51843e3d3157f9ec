"""What a person has to transfer: the owner's records now, compared with what people confirmed. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Literal, NamedTuple

ChangeKind = Literal["new", "changed", "deleted", "check"]
FieldValue = str | Decimal | bool | None
TargetFields = Mapping[str, FieldValue]
"""The target's fields of one record, by name: text, a number, true or false, or nothing."""


class OwnerRecord(NamedTuple):
    """A record's newest state. `fields` None: it is deleted, or outside the flow's `where`.

    `error`: why its target fields can't be made; nothing can be said of the record then.
    """

    id: str
    fields: TargetFields | None
    error: str = ""


class ConfirmedRecord(NamedTuple):
    """What a person last confirmed of a record. `fields` None: that it is deleted."""

    fields: TargetFields | None
    target_number: str = ""
    check_again: bool = False
    sheet: int = 0


class ManualChange(NamedTuple):
    """One row of a sheet. `before` None: not in the target; `after` None: to be deleted there."""

    id: str
    kind: ChangeKind
    before: TargetFields | None
    after: TargetFields | None
    target_number: str = ""
    last_reason: str = ""
    """Why a person last marked the record as not done."""

    @property
    def differing(self) -> list[str]:
        """The fields to change, in order; of new and deleted records all that hold something."""
        before, after = self.before or {}, self.after or {}
        names = after if self.after is not None else before
        return [name for name in names if before.get(name) != after.get(name)]


def changes(records: Iterable[OwnerRecord], confirmed: Mapping[str, ConfirmedRecord]) -> Iterator[ManualChange]:
    """Every difference between the owner's newest states and what is confirmed, in the records' order.

    Records with an error are left out: they stay open. Confirmed records that `records` lacks come last, as deleted.
    """
    seen = set()
    for record in records:
        seen.add(record.id)
        if not record.error and (change := _change(record.id, record.fields, confirmed.get(record.id))):
            yield change
    for id, known in confirmed.items():
        if id not in seen and (change := _change(id, None, known)):
            yield change


def absent(ids: Iterable[str], confirmed: Mapping[str, ConfirmedRecord]) -> set[str]:
    """The confirmed records of the target that `ids`, all that the owner's topic knows, lacks."""
    return {id for id, known in confirmed.items() if known.fields is not None} - set(ids)


def _change(id: str, after: TargetFields | None, known: ConfirmedRecord | None) -> ManualChange | None:
    before = known.fields if known is not None else None
    number = known.target_number if known is not None else ""
    if _is_same(before, after):
        is_doubted = known is not None and known.check_again
        return ManualChange(id, "check", before, after, number) if is_doubted else None
    return ManualChange(
        id, "new" if before is None else "deleted" if after is None else "changed", before, after, number
    )


def _is_same(before: TargetFields | None, after: TargetFields | None) -> bool:
    """By the fields that are mapped now: one that no longer is, is no longer this flow's to change."""
    if before is None or after is None:
        return before is after
    return all(before.get(name) == value for name, value in after.items())
