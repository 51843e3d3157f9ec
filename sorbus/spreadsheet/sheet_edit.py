"""What is to change in a sheet, whatever the kind of file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from sorbus.spreadsheet.cells import Cell, PaddedNumber, plain

Value = str | bool | int | Decimal | date | datetime | None
"""What can be written into a cell; a datetime has no time zone."""
Cells = Mapping[int, Value]
"""By column, from 0."""


@dataclass(slots=True)
class SheetEdit:
    """Cells of rows that exist, rows to add below, rows to take away where nobody else uses them; header cells to add.

    `own`: the columns that are Sorbus's. `last`: the last row with a value; `header`: the header's.
    """

    header: int
    last: int
    own: frozenset[int]
    changed: dict[int, Cells] = field(default_factory=dict)
    added: list[Cells] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    headings: Mapping[int, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be written."""
        return not (self.changed or self.added or self.removed or self.headings)


def is_same(cell: Cell, value: Value) -> bool:
    """Whether a cell of a workbook holds a value already, as its kind and to the last digit."""
    if isinstance(cell, PaddedNumber):
        return not isinstance(value, str | bool) and cell.number == value
    found = plain(cell)
    if found is None or value is None:
        return (found is None or found == "") and (value is None or value == "")
    if isinstance(found, bool) != isinstance(value, bool) or isinstance(found, str) != isinstance(value, str):
        return False
    if isinstance(found, datetime) != isinstance(value, datetime) and isinstance(value, date):
        return False
    return found == value
