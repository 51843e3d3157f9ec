"""What a merge can't take or publish, as dead letters in plain words."""

from __future__ import annotations

import time
from collections.abc import Callable

from sorbus.connector import RejectedRecord
from sorbus.errors import PermanentError
from sorbus.two_way.expand import proposals_of
from sorbus.two_way.merge import Ruling
from sorbus.two_way.merged_record import MergedRecord
from sorbus.two_way.proposal_topics import UnreadProposal


class Refused:
    """The dead letters of one data type's merge. `new_version` gives numbers that only grow."""

    def __init__(self, data_type: str, system_of_record: str, new_version: Callable[[], int]) -> None:
        self._name, self._owner, self._new_version = data_type, system_of_record, new_version

    def unread(self, message: UnreadProposal) -> RejectedRecord:
        """A message of a system's topic that can't be read."""
        return RejectedRecord(self._name, message.id, self._new_version(), message.at, message.raw, message.error)

    def value(self, id: bytes, ruling: Ruling, at: int = 0) -> RejectedRecord:
        """A system's value that its field can't have. `at`: when it was changed; 0: now."""
        shown = "null" if ruling.theirs is None else repr(ruling.theirs)
        why = (
            f"{ruling.system} has {shown} in {ruling.field} of {self._said(id)}, which the field can't have: correct it"
            f" in {ruling.system}"
        )
        return self._letter(id, why, "not canonical", ruling.field, at)

    def unfit(self, id: bytes, field: str, why: str) -> RejectedRecord:
        """A record that its schema has no room for, as it is now."""
        shown, text = proposals_of(self._name, self._owner), id.decode(errors="replace")
        why = (
            f"{self._said(id)} doesn't fit its schema: {field} {why}. Correct it in {self._owner}, or have it shown"
            f" there again: sorbus backfill {shown} --id {text}"
        )
        return self._letter(id, why, "not canonical", field)

    def unlinked(self, record: MergedRecord) -> RejectedRecord:
        """A record that the system of record doesn't have."""
        systems = sorted(system for system, view in record.views.items() if view.values is not None)
        is_alone = len(systems) == 1 and record.id.startswith(f"{systems[0]}/".encode())
        named = "it is matched then" if is_alone else "under this id"
        why = (
            f"{', '.join(systems)} has a {self._said(record.id)} that {self._owner} doesn't:"
            f" {self._owner} decides which there are. Create it there ({named}), or delete it in {', '.join(systems)}"
        )
        return self._letter(record.id, why, "not at its owner")

    def _letter(self, id: bytes, why: str, reason: str, field: str | None = None, at: int = 0) -> RejectedRecord:
        error = PermanentError(why, reason=reason, field=field)
        return RejectedRecord(self._name, id, self._new_version(), at or time.time_ns() // 1000, b"", error)

    def _said(self, id: bytes) -> str:
        return f"{self._name} {id.decode(errors='replace')}"
