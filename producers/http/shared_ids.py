"""Ids that several records of a list have: which of them is meant can't be known, so none is published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sorbus.errors import PermanentError
from sorbus.http_api.interface import Record
from sorbus.producers.polling.change_detector import raw_json

Named = list[tuple[bytes, Record]]


class SharedIds:
    """One data type's. A record that two pages show is no such case, unless it is another one there list after list."""

    def __init__(self, path: str) -> None:
        """`path`: where a record's id is."""
        self._path = path
        self._shared: dict[bytes, Record] = {}
        self._often: Counter[bytes] = Counter()
        self._changed: Counter[bytes] = Counter()
        self._suspected: set[bytes] = set()

    def without(self, records: Named) -> Named:
        """A page's records but for those that share their ids."""
        if len({id for id, _ in records}) < len(records):
            first: dict[bytes, Record] = {}
            for id, record in records:
                if (other := first.setdefault(id, record)) is not record and raw_json(other) != raw_json(record):
                    self._shared.setdefault(id, other)
        if not self._shared:
            return records
        self._often.update(id for id, _ in records if id in self._shared)
        return [(id, record) for id, record in records if id not in self._shared]

    def refused(self, records: Named) -> Iterator[tuple[bytes, Record, PermanentError]]:
        """Of a page's records each shared id, with the record that was seen first."""
        for id in dict.fromkeys(id for id, _ in records if id in self._shared):
            yield (
                id,
                self._shared[id],
                PermanentError(
                    f"several records have the id {id.decode(errors='replace')} (at {self._path}): name a field that is"
                    " unique as `id:` in the API's description",
                    reason="id not unique",
                    field=self._path,
                ),
            )

    def changed(self, id: bytes, record: Record) -> None:
        """A list brought a change of this record."""
        self._changed[id] += 1
        if self._changed[id] > 1 and id in self._suspected:
            self._shared.setdefault(id, record)

    def end_list(self) -> None:
        """A whole list has been read: ids that it showed once are unique again."""
        self._shared = {id: record for id, record in self._shared.items() if self._often[id] > 1 or self._changed[id]}
        self._suspected = {id for id, times in self._changed.items() if times > 1}
        self._often.clear()
        self._changed.clear()
