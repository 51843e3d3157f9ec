"""Letters that close by themselves are told of in the audit trail, beside what people did about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self, cast

from sorbus.audit import AuditPart, AuditTrail
from sorbus.postgres.connection import Connection

NOBODY = "Sorbus"
"""Who did what nobody did."""
_TOLD = ("landed", "superseded")


class Closed(NamedTuple):
    """A letter that the topic has closed, as close.sql gives it."""

    id: str
    state: str
    data_type: str
    record: str
    superseded_by: int | None

    @classmethod
    def of(cls, row: Sequence[object]) -> Self:
        """Of a row of close.sql."""
        id, state, data_type, record_id, version = row
        record = bytes(cast("bytes", record_id)).decode(errors="replace")
        return cls(str(id), str(state), str(data_type), record, cast("int | None", version))


def note_closed(connection: Connection, trail: AuditTrail, closed: Sequence[Closed]) -> None:
    """Notes those that have landed and those that a newer state made obsolete; a discarding was noted when it was said.

    One entry for a letter, and one with parts for several.
    """
    for action in _TOLD:
        letters = [each for each in closed if each.state == action]
        if len(letters) == 1:
            (only,) = letters
            trail.note_in(
                connection,
                NOBODY,
                action,
                "letter",
                only.id,
                data_type=only.data_type,
                record=only.record,
                details={} if only.superseded_by is None else {"version": only.superseded_by},
            )
        elif letters:
            details = {"count": len(letters)}
            whole = trail.note_in(connection, NOBODY, action, "letters", f"{len(letters)} letters", details=details)
            trail.note_parts(
                connection, whole, "letter", [AuditPart(each.id, each.data_type, each.record) for each in letters]
            )
