"""Records held in memory to match by what an application can't search by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from threading import Lock

from sorbus.consumers.http.options import HttpTarget
from sorbus.consumers.http.shape import Shape
from sorbus.errors import PermanentError
from sorbus.http_api.interface import Api, Record
from sorbus.http_api.path import read_path
from sorbus.identity.blocking_index import BlockingIndex
from sorbus.identity.match import Candidate, Matcher

STALE = 60.0
"""Seconds until changes are read again; without a list of changes all is read again after ten times as long."""


class Listed:
    """All records of a resource, read once when they are first asked for and kept up to date; at most so many."""

    def __init__(
        self,
        api: Api,
        options: HttpTarget,
        shape: Shape,
        matcher: Matcher,
        view: Callable[[Record], Mapping[str, object]],
    ) -> None:
        self._api, self._options, self._resource = api, options, shape.resource
        self._matcher, self._view = matcher, view
        self._shortlist = BlockingIndex(matcher)
        self._ids: set[str] = set()
        self._read_at: float | None = None
        self._since = datetime.now(UTC)
        self._lock = Lock()

    def all(self, since: datetime | None = None) -> Iterator[Record]:
        """Every record there is now, or that has changed since then."""
        after: str | None = None
        while True:
            page = self._api.page(self._options.resource, since=since, after=after)
            yield from page.records
            after = page.after
            if after is None:
                return

    def like(self, fields: Mapping[str, object], *, now: bool = False) -> list[Candidate] | None:
        """The records worth comparing with `fields`; None if there is no list. PermanentError if there are too many."""
        if self._resource.list is None or not self._options.indexed:
            return None
        with self._lock:
            self._refresh(now=now)
            return self._shortlist.near(fields)

    def __contains__(self, external_id: str) -> bool:
        return external_id in self._ids

    def discard(self, external_id: str) -> None:
        """It has been seen to be gone."""
        with self._lock:
            self._ids.discard(external_id)
            self._shortlist.discard(external_id)

    def _refresh(self, *, now: bool) -> None:
        age = None if self._read_at is None else time.monotonic() - self._read_at
        has_changes = self._resource.changes is not None
        if not now and age is not None and age < (STALE if has_changes else 10 * STALE):
            return
        began = datetime.now(UTC)
        is_new = age is None or not has_changes
        shortlist, ids = (BlockingIndex(self._matcher), set[str]()) if is_new else (self._shortlist, self._ids)
        for record in self.all(None if is_new else self._since - self._resource.overlap):
            external_id = str(read_path(record, self._resource.id))
            shortlist.discard(external_id)
            ids.discard(external_id)
            if any(read_path(record, path) == value for path, value in self._resource.deleted.items()):
                continue
            ids.add(external_id)
            shortlist.add(Candidate(external_id, self._view(record)))
            if len(shortlist) > self._options.indexed:
                raise PermanentError(
                    f"{self._options.resource} holds more than {self._options.indexed} records, too many to read for"
                    " matching by what the application can't search by; match by another field, raise `indexed` in the"
                    " flow's target, or write on_duplicate: create",
                    reason="too many to match",
                )
        self._shortlist, self._ids, self._since, self._read_at = shortlist, ids, began, time.monotonic()
