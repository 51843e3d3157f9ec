"""A prepared sheet, and how far people have answered it. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from sorbus.ops.checklists.sheets.figures import Totals


@dataclass(frozen=True, slots=True)
class PreparedSheet:
    """`owner`: the owner's figures when it was prepared; `closed_at`: when its round was finished.

    `done` counts rows that another sheet has confirmed in the meantime too.
    """

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
    more: int = 0
    """Changes that did not fit into it."""
    left_out: int = 0
    """Records whose fields couldn't be made."""

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
            "more": self.more,
            "left_out": self.left_out,
            "closed_at": self.closed_at.isoformat() if self.closed_at else None,
        }
