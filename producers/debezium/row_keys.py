"""With `key:`, which row has an id: rows that change keys in one transaction are told of in any order.

Where one row takes the key of another before that one has left it, the other's leaving deletes no record.
"""

from __future__ import annotations

from hashlib import blake2b

from sorbus.bus.topic_reader import TopicMessage
from sorbus.connector import Change, StaleRecordDeletion
from sorbus.producers.debezium.topic_stream import Outcome

_MOST = 100_000
"""Ids that are remembered: those that were taken last."""


class RowKeys:
    """One data type's: id -> the row that took it last, as its message key's digest, and when."""

    def __init__(self) -> None:
        self._rows: dict[bytes, tuple[str, int]] = {}

    def settled(self, made: Outcome, message: TopicMessage) -> Outcome:
        """Without deletions of records that other rows are by then. Safe to call again with the same message."""
        found, row = made.found, digest(message.key)
        if made.gone is not None and not self._leaves(made.gone, row):
            made = made._replace(gone=None)
        if made.is_delete:
            is_others = isinstance(found, Change) and not self._leaves(found, row)
            return made._replace(found=None) if is_others else made
        if found is not None and not made.is_snapshot and not isinstance(found, StaleRecordDeletion):
            self._rows.pop(found.id, None)
            self._rows[found.id] = row, found.occurred_at
            if len(self._rows) > _MOST:
                del self._rows[next(iter(self._rows))]
        return made

    def _leaves(self, gone: Change, row: str) -> bool:
        other, since = self._rows.get(gone.id, (row, 0))
        if other == row:
            self._rows.pop(gone.id, None)
        return other == row or since < gone.occurred_at


def digest(key: bytes | None) -> str:
    """Of a message's key, which says which row it is."""
    return blake2b(key or b"", digest_size=8).hexdigest()
