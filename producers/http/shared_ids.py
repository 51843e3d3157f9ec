"""Ids that several records of a list have: which of them is meant can't be known, so none is published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from sorbus.errors import PermanentError
from sorbus.http_api.interface import Record
from sorbus.producers.polling.poll_state import Rules

Named = list[tuple[bytes, Record]]
_LIST_AGAIN = 60_000_000
"""Microseconds from a list to one for shared ids alone, at least: polls may show them for ever where no list does."""
_TIMES_LIST = 10
"""And so many times what the list took."""


class SharedIds:
    """One data type's.

    A record that two pages show is no such case, unless the later page shows what it showed in the list before, too,
    and the earlier one shows another state: a record that changes meanwhile doesn't become what it was.
    """

    def __init__(self, rules: Rules, alike: Callable[[Record, Record], bool]) -> None:
        """`alike`: whether two records would be published alike."""
        self._path, self._is_deleted, self._alike = rules.id_path, rules.is_deleted, alike
        self._shared: dict[bytes, Record] = {}
        self._times: Counter[bytes] = Counter()
        self._later: dict[bytes, set[int]] = {}
        """Records that a later page showed as changed -> these states."""
        self._later_before: dict[bytes, set[int]] = {}
        self._is_list_wanted, self._began, self._list_again_at = False, 0, 0
        self.again: set[bytes] = set()
        """Those of a page's records that an earlier page of the list has shown, too."""

    def without(self, records: Named, *, is_list: bool) -> Named:
        """A page's records but for those that share their ids. `is_list`: the page is a whole list's."""
        if len({id for id, _ in records}) < len(records):
            first: dict[bytes, Record] = {}
            for id, record in records:
                if (other := first.setdefault(id, record)) is not record and not self._are_alike(other, record):
                    self._is_list_wanted |= not is_list and id not in self._shared
                    self._shared.setdefault(id, other)
        if not self._shared:
            return records
        if is_list:
            self._times.update(id for id, _ in records if id in self._shared)
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

    def changed(self, id: bytes, record: Record, state: object) -> None:
        """A whole list brought a change of this record. `state`: what was published of it, and its update time."""
        if id not in self.again:
            return
        self._later.setdefault(id, set()).add(hash(state))
        if hash(state) in self._later_before.get(id, ()):
            self._shared.setdefault(id, record)

    def begin_list(self, now: int) -> None:
        """A whole list is read from its beginning, or what is left of it: one that was broken off says nothing.

        `now` here and below: by our clock, in microseconds.
        """
        self._began = now
        self._times.clear()
        self._later, self.again = {}, set()

    def end_list(self, now: int) -> list[bytes]:
        """A whole list has been read: ids that it showed once are unique again, and what they are has to be read."""
        before, self._is_list_wanted = self._shared, False
        self._list_again_at = now + max(_LIST_AGAIN, _TIMES_LIST * (now - self._began))
        self._shared = {id: record for id, record in before.items() if self._times[id] > 1 or id in self._later}
        self._later_before = self._later
        return sorted(id for id in before.keys() - self._shared.keys() if self._times[id])

    def wants_list(self, now: int) -> bool:
        """Whether polls for changes have shown shared ids that only a list can settle; not all the time."""
        return self._is_list_wanted and not self._began <= now < self._list_again_at

    def _are_alike(self, one: Record, other: Record) -> bool:
        return self._is_deleted(one) == self._is_deleted(other) and self._alike(one, other)
