"""Reading a linked record, also where the application answers 403 (forbidden) for one that was deleted.

403 alone proves nothing: the right to read may have been taken away. It means "gone" only while another record of ours
can be read, or the list shows others of ours, and no list shows this one; and only for a few records at a time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from threading import Lock

from sorbus.errors import AuthError, PermanentError
from sorbus.http_api.description import ApiResource
from sorbus.http_api.interface import Api, FoundRecord
from sorbus.http_api.path import read_path
from sorbus.identity.crosswalk import Crosswalk

FORBIDDEN = 403
_OTHERS = 3
_MOST, _PER = 20, 3600.0
"""So many records may be found gone by a 403 in so many seconds: more look like a right that was taken away."""
_FRESH = 60.0
"""Seconds for which a list that was read is asked whether it shows a record."""


class Presence:
    """Which records of one resource are there. Safe for threads."""

    def __init__(
        self, api: Api, name: str, resource: ApiResource, crosswalk: Crosswalk, *, reads: bool, most: int
    ) -> None:
        """`reads`: records can be asked for alone. `most`: records of a list that is read to prove an absence."""
        self._reads = reads
        self._api, self._name, self._resource, self._crosswalk, self._most = api, name, resource, crosswalk, most
        self._lock = Lock()
        self._listed: frozenset[str] | None = None
        self._listed_at = -_FRESH
        self._believed: deque[tuple[float, str]] = deque()

    def get(self, external_id: str) -> FoundRecord | None:
        """The record; None if it is gone. Raises what the application says where that isn't proven."""
        try:
            return self._api.get(self._name, external_id)
        except (PermanentError, AuthError) as error:
            if error.status != FORBIDDEN:
                raise
            self._prove(external_id, error)
            return None

    def is_gone(self, external_id: str, error: PermanentError | AuthError) -> bool:
        """Whether a write was refused with `error` because the record is gone."""
        if error.status != FORBIDDEN:
            return isinstance(error, PermanentError) and error.reason == "gone"
        if self._reads:
            return self.get(external_id) is None
        self._prove(external_id, error)
        return True

    def _prove(self, external_id: str, error: PermanentError | AuthError) -> None:
        """Raises `error`, or why many at once are not believed, unless the record is proven to be gone."""
        with self._lock:
            others = self._crosswalk.others(external_id, _OTHERS)
            if external_id in (self._shown() or ()):
                raise error
            if not self._reads_one(others):
                # A list of before this answer doesn't prove it: the record may be younger, the right taken since.
                shown = self._shown(anew=True)
                # An empty list proves something only where we know of no other record.
                is_listed = shown is not None and (not others or not shown.isdisjoint(others))
                if shown is None or external_id in shown or not is_listed:
                    raise error
            now = time.monotonic()
            while self._believed and self._believed[0][0] < now - _PER:
                self._believed.popleft()
            if external_id not in {id for _, id in self._believed}:
                if len(self._believed) >= _MOST:
                    raise PermanentError(
                        f"{error}; {_MOST} records of {self._name} have been found deleted by such answers within an"
                        " hour, which looks like a right that was taken away: give the connection's user the right to"
                        " read them, or, if they were deleted, `sorbus crosswalk unlink` each; then requeue the record",
                        reason="refused",
                        value=external_id,
                    ) from error
                self._believed.append((now, external_id))

    def _reads_one(self, others: Sequence[str]) -> bool:
        for other in others if self._reads else ():
            try:
                if self._api.get(self._name, other) is not None:
                    return True
            except (PermanentError, AuthError) as error:
                if error.status != FORBIDDEN:
                    raise
        return False

    def _shown(self, *, anew: bool = False) -> frozenset[str] | None:
        """The ids that the list shows; None where there is no list, or it is forbidden, too long or not whole."""
        if self._resource.list is None:
            return None
        if not anew and time.monotonic() - self._listed_at < _FRESH:
            return self._listed
        found: set[str] = set()
        after, read = None, 0
        while True:
            try:
                page = self._api.page(self._name, after=after)
            except (PermanentError, AuthError) as error:
                if error.status != FORBIDDEN:
                    raise
                return None
            read += len(page.records)
            found |= {str(read_path(one, self._resource.id)) for one in page.records if isinstance(one, dict)}
            after = page.after
            if read > self._most or (after is None and page.total is not None and read < page.total):
                return None
            if after is None:
                self._listed, self._listed_at = frozenset(found), time.monotonic()
                return self._listed
