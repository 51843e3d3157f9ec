"""Transactions that a former stream may have told of, though nobody sees them yet: they wait for a synchronous standby.

Which these are is not known after a restart. So what is read by key may be from before a change that is published
already: it is read once more when all that were open have ended. Where a row goes whose key others may have, the whole
data type is copied again.
"""

from __future__ import annotations

import time

from sorbus.producers.postgres.open_source import OpenSource

_ASK_EVERY, _ASK_LATER = 0.25, 1.0
_PATIENCE = 5.0
"""Seconds that a read by key waits for them; most are short."""


class EarlierTransactions:
    """Those that are open when this is first asked."""

    def __init__(self, source: OpenSource) -> None:
        self._source = source
        self._next: int | None = None
        self._are_over = False
        self._began_at = self._asked_at = 0.0
        self.unsure: list[tuple[str, list[bytes]]] = []
        """(data type, ids) of records that were read meanwhile, and are to be read again."""

    def have_ended(self) -> bool:
        """Whether all have. TransientError."""
        if self._are_over:
            return True
        now = time.monotonic()
        if self._next is None:
            self._next, self._began_at = self._source.next_xid(), now
        elif now - self._asked_at < (_ASK_EVERY if self.is_patient else _ASK_LATER):
            return False
        self._asked_at = now
        self._are_over = self._source.oldest_open() >= self._next or self._source.oldest_open_here() >= self._next
        return self._are_over

    def waited(self) -> bool:
        """Whether all have ended, once the patience for them is over. TransientError."""
        while not self.have_ended():
            if not self.is_patient:
                return False
            time.sleep(0.01)
        return True

    @property
    def is_patient(self) -> bool:
        """Whether to wait for them still."""
        return time.monotonic() - self._began_at < _PATIENCE
