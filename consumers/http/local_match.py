"""Records held in memory to match by what an application can't search by."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from threading import Lock

from sorbus.consumers.http.options import HttpTarget
from sorbus.consumers.http.shape import Shape
from sorbus.errors import PermanentError
from sorbus.http_api.interface import Api, Record
from sorbus.http_api.path import read_path
from sorbus.http_api.records import is_deleted
from sorbus.http_api.values import read_moment
from sorbus.http_api.whole_list import WholeList
from sorbus.identity.blocking_index import BlockingIndex
from sorbus.identity.match import Candidate, Matcher

STALE = 60.0
"""Seconds until changes are read again; without a list of changes all is read again after ten times as long."""
_TRIES = 2
"""How often a list whose pages shift while they are read is read, before it counts as one that isn't whole."""
_AHEAD = timedelta(seconds=1)
"""How much a record's update time may be ahead of our clock in any case."""


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
        self._since: datetime | None = None
        """Where changes are asked from: by the records' update times, thus the application's clock, never by ours."""
        self._lock = Lock()
        self.why_short = ""
        """What shows that the list that is held lacks records; "" where nothing does."""

    def read(self, wanted: Callable[[Record], bool]) -> list[Record] | None:
        """The records there are now that are `wanted`; None if the list isn't whole."""
        for _ in range(_TRIES):
            found: list[Record] = []
            if not self._each(lambda one: found.append(one) if wanted(one) else None):  # noqa: B023
                return found
        return None

    def like(self, fields: Mapping[str, object], *, now: bool = False) -> list[Candidate] | None:
        """The records worth comparing with `fields`; None if there is no list, or it isn't whole.

        PermanentError if there are too many.
        """
        if self._resource.list is None or not self._options.indexed:
            return None
        with self._lock:
            self._refresh(now=now)
            return None if self.why_short else self._shortlist.near(fields)

    def __contains__(self, external_id: str) -> bool:
        return external_id in self._ids

    def discard(self, external_id: str) -> None:
        """It has been seen to be gone."""
        with self._lock:
            self._ids.discard(external_id)
            self._shortlist.discard(external_id)

    def _refresh(self, *, now: bool) -> None:
        age = None if self._read_at is None else time.monotonic() - self._read_at
        is_quick = self.why_short or (self._resource.changes is not None and (self._since is not None or not self._ids))
        if not now and age is not None and age < (STALE if is_quick else 10 * STALE):
            return
        can_follow = age is not None and not self.why_short and self._resource.changes is not None
        if not (can_follow and self._since is not None and self._follow(self._since)):
            self._read_all()
        self._read_at = time.monotonic()

    def _read_all(self) -> None:
        self._read_at = None  # until it was read to its end
        for _ in range(_TRIES):
            self._shortlist, self._ids, self._since = BlockingIndex(self._matcher), set[str](), None
            self.why_short = self._kept()
            if not self.why_short:
                return

    def _follow(self, since: datetime) -> bool:
        """Reads what has changed; False if that list isn't whole."""
        return not self._kept(since - max(self._resource.overlap, self._resource.settle))

    def _kept(self, since: datetime | None = None) -> str:
        """Like `_each`; notes where the next reading begins, not later than this one by the application's clock."""
        began = time.monotonic()
        newest: datetime | None = None

        def keep(record: Record) -> None:
            nonlocal newest
            self._keep(record)
            moment = self._updated(record)
            newest = moment if newest is None or (moment is not None and moment > newest) else newest

        why_short = self._each(keep, since)
        if newest is not None and not why_short:
            found = newest - timedelta(seconds=time.monotonic() - began)
            self._since = found if self._since is None else max(self._since, found)
        return why_short

    def _keep(self, record: Record) -> None:
        external_id = str(read_path(record, self._resource.id))
        self._shortlist.discard(external_id)
        self._ids.discard(external_id)
        if is_deleted(self._resource, record):
            return
        self._ids.add(external_id)
        self._shortlist.add(Candidate(external_id, self._view(record)))
        if len(self._shortlist) > self._options.indexed:
            raise PermanentError(
                f"{self._options.resource} holds more than {self._options.indexed} records, too many to read for"
                " matching by what the application can't search by; match by another field, raise `indexed` in the"
                " flow's target, or write on_duplicate: create",
                reason="too many to match",
            )

    def _each(self, take: Callable[[Record], None], since: datetime | None = None) -> str:
        """Gives every record there is now, or that has changed since then; what shows that some are lacking, or ""."""
        listing = self._resource.list if since is None else self._resource.changes
        whole, after = WholeList(), None
        while True:
            page = self._api.page(self._options.resource, since=since, after=after)
            ids = [str(id) for one in page.records if (id := read_path(one, self._resource.id)) is not None]
            whole.add(page, ids)
            for record in page.records:
                take(record)
            after = page.after
            if after is None:
                # A list of what refers to records names some of them twice, and counts those that are gone.
                return "" if listing is not None and listing.refers else whole.why_short

    def _updated(self, record: Record) -> datetime | None:
        """The record's update time; None without one, or one that can't be right: it would hide later changes."""
        path = next((one for one in self._resource.updated if read_path(record, one) not in (None, "")), None)
        try:
            moment = None if path is None else read_moment(read_path(record, path), self._resource.updated_format)
        except (ValueError, TypeError, ArithmeticError):
            return None
        latest = datetime.now(UTC) + max(self._resource.overlap, _AHEAD)
        return moment if moment is not None and moment <= latest else None
