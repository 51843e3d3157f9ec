"""What the stream names without carrying it: read by key once its transactions are visible, each record once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from sorbus.connector import Change, RejectedRecord
from sorbus.producers.postgres.capture import Capture, Key
from sorbus.producers.postgres.fetch import Fetched
from sorbus.producers.record_keys import record_id

Fetch = Callable[[Capture, Sequence[Key], str, Collection[int]], Iterator[tuple[Key, Fetched | None]]]


class _Partial(NamedTuple):
    """A change whose row the stream didn't carry in full: to be fetched by key into its place."""

    place: int
    capture: Capture
    key: Key
    version: int
    occurred_at: int


class _Marked(NamedTuple):
    """Records of a data type to be read by key: part whose columns the keys are from ("": the record's own) -> key.

    The value says that the stream has told of a delete of this key: if nothing has it now, the record is gone.
    """

    capture: Capture
    keys: dict[str, dict[Key, bool]]


class KeyReads:
    """What is to be read for the batch that is collected."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._partial: list[_Partial] = []
        self._marked: dict[str, _Marked] = {}
        self._xids: set[int] = set()

    @property
    def has_marked(self) -> bool:
        """Whether records are only named."""
        return bool(self._marked)

    @property
    def completed(self) -> frozenset[int]:
        """The places of changes that lack values."""
        return frozenset(one.place for one in self._partial)

    def count(self) -> int:
        """How many keys are marked."""
        return sum(len(keys) for marked in self._marked.values() for keys in marked.keys.values())

    def after(self, xids: Iterable[int]) -> None:
        """What is read must show these transactions."""
        self._xids.update(xids)

    def awaits(self, xids: Collection[int]) -> bool:
        """Whether what is read must show all of these."""
        return self._xids.issuperset(xids)

    def mark(self, capture: Capture, part: str, key: Key, xid: int, *, is_left: bool) -> None:
        """This key is to be read; `is_left`: the stream says that its record has left it."""
        marked = self._marked.get(capture.name)
        if marked is None:
            marked = self._marked[capture.name] = _Marked(capture, {"": {}})
        keys = marked.keys.setdefault(part, {})
        keys[key] = is_left or keys.get(key, False)
        self._xids.add(xid)

    def complete_later(self, place: int, capture: Capture, key: Key, xid: int, version: int, occurred_at: int) -> None:
        """The change at this place lacks values."""
        self._xids.add(xid)
        self._partial.append(_Partial(place, capture, key, version, occurred_at))

    def read(
        self,
        changes: list[Change],
        rejects: list[RejectedRecord],
        occurred_at: int,
        next_version: Callable[[], int],
    ) -> list[Change]:
        """The changes, completed, and behind them those of records that were only named; rejects are added to theirs.

        TransientError, AuthError.
        """
        if self._partial:
            nowhere = self._complete(changes, rejects)
            changes = [change for place, change in enumerate(changes) if place not in nowhere]
        for marked in self._marked.values():
            self._read_marked(marked, changes, rejects, occurred_at, next_version)
        return changes

    def clear(self) -> None:
        """The batch was taken."""
        self._partial = []
        self._marked.clear()
        self._xids.clear()

    def _complete(self, changes: list[Change], rejects: list[RejectedRecord]) -> set[int]:
        """Reads what the stream didn't carry into its place; the places of those that aren't there (any more).

        A row that isn't there is no delete: the stream will say whether it was deleted since, or changed its key.
        """
        nowhere = set()
        for capture in {partial.capture.name: partial.capture for partial in self._partial}.values():
            partials = [partial for partial in self._partial if partial.capture is capture]
            fetched = self._fetch(capture, [partial.key for partial in partials], "", self._xids)
            for partial, (_, found) in zip(partials, fetched, strict=True):
                made = None if found is None else found.change(partial.version, partial.occurred_at)
                if isinstance(made, Change):
                    changes[partial.place] = made
                    continue
                nowhere.add(partial.place)
                if made is not None:
                    rejects.append(made)
        return nowhere

    def _read_marked(
        self,
        marked: _Marked,
        changes: list[Change],
        rejects: list[RejectedRecord],
        occurred_at: int,
        next_version: Callable[[], int],
    ) -> None:
        """Each record that was only named, once, however often and by whatever table."""
        capture, gone, done = marked.capture, [], set[bytes]()
        for part, keys in marked.keys.items():
            for key, found in self._fetch(capture, list(keys), part, self._xids):
                asked = record_id(key)
                if keys[key] and (found is None or found.id != asked):
                    gone.append(asked)
                if found is not None and found.id not in done:
                    done.add(found.id)
                    made = found.change(next_version(), occurred_at)
                    if isinstance(made, RejectedRecord):
                        rejects.append(made)
                    else:
                        changes.append(made)
        for id in gone:
            if id not in done:
                done.add(id)
                changes.append(Change(capture.name, id, next_version(), occurred_at, None))
