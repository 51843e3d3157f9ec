"""Records that somebody wants to have read again, until they are."""

from __future__ import annotations

from collections.abc import Sequence

_AT_ONCE = 1000


class RequestedRecords:
    """One producer's, by data type, each record once."""

    def __init__(self) -> None:
        self._ids: dict[str, dict[bytes, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._ids)

    def add(self, data_type: str, ids: Sequence[bytes]) -> None:
        """Asks for these."""
        self._ids.setdefault(data_type, {}).update(dict.fromkeys(ids))

    def take(self) -> tuple[str, list[bytes]]:
        """Some of those of one data type; there must be any."""
        data_type, ids = next(iter(self._ids.items()))
        some = [id for id, _ in zip(ids, range(_AT_ONCE), strict=False)]
        for id in some:
            del ids[id]
        if not ids:
            del self._ids[data_type]
        return data_type, some

    def clear(self) -> None:
        """Asks for none."""
        self._ids.clear()
