"""A prepared sheet, and how far people have answered it. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from sorbus.ops.checklists.sheets.figures import Totals


@dataclass(frozen=True, slots=True)
class PreparedSheet:
    """`owner`: the owner's figures when it was prepared; `closed_at`: when its round was finished."""

    sheet: int
    code: str
    round: datetime
    prepared_at: datetime
    prepared_by: str
    owner: Totals
    closed_at: datetime | None
    rows: int
    done: int
    not_done: int

    @property
    def left(self) -> int:
        """Rows that nobody has answered."""
        return self.rows - self.done - self.not_done

    def as_json(self) -> dict[str, JsonValue]:
        """For machines."""
        return {
            "sheet": self.code,
            "prepared_at": self.prepared_at.isoformat(),
            "prepared_by": self.prepared_by,
            "rows": self.rows,
            "done": self.done,
            "not_done": self.not_done,
            "closed_at": self.closed_at.isoformat() if self.closed_at else None,
        }
