"""Which keys a transaction has taken: whether a key that a row leaves may be another row's by now.

A key that is checked late (deferrable), or not at all, may be taken by one row before another one leaves it, and the
stream tells it in this order: shifted and swapped keys, within one transaction. Whoever takes the leaving for a delete
loses the record. In between transactions no key is taken twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from sorbus.connector import Change, RejectedRecord, record_of

_REMEMBERED = 100_000


class KeyClaims:
    """The keys that the transaction under way has to do with, found in what was collected when they are asked for."""

    def __init__(self) -> None:
        self._ids: set[tuple[str, bytes]] = set()
        self._changes = self._rejects = 0
        self._is_unsure = False

    def begin(self, changes: int, rejects: int, *, is_repeated: bool) -> None:
        """A transaction begins, behind so much that was collected; `is_repeated`: a part of it was so before."""
        self._ids.clear()
        self._changes, self._rejects, self._is_unsure = changes, rejects, is_repeated

    def has(self, data_type: str, id: bytes, changes: Sequence[Change], rejects: Sequence[RejectedRecord]) -> bool:
        """Whether some row has, or may have, taken this key in this transaction, by what was collected."""
        if not self._is_unsure:
            self._look_through(changes, rejects)
        return self._is_unsure or (data_type, id) in self._ids

    def cut(self, changes: Sequence[Change], rejects: Sequence[RejectedRecord]) -> None:
        """The transaction goes on, and this is what goes out of it now. Too many keys: any may have been taken."""
        self._changes = self._rejects = 0
        if not self._is_unsure:
            self._look_through(changes, rejects)
        self._changes = self._rejects = 0
        if len(self._ids) > _REMEMBERED:
            self._is_unsure = True
            self._ids.clear()

    def _look_through(self, changes: Sequence[Change], rejects: Sequence[RejectedRecord]) -> None:
        self._ids.update(map(record_of, changes[self._changes :]))
        self._ids.update(map(record_of, rejects[self._rejects :]))
        self._changes, self._rejects = len(changes), len(rejects)
