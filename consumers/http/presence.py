"""Reading a linked record, also where the application answers 403 (forbidden) for one that was deleted.

403 alone proves nothing: the right to read may have been taken away. It means "gone" only while another record of ours
can be read, or the list shows others of ours, and no list shows this one; and only for a few records at a time. 404 for
all of ours that are asked for means nothing either while the list shows one of them, or answers 404, too.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from threading import Lock

from sorbus.errors import AuthError, GatewayAnswer, MustWait, PermanentError, TransientError
from sorbus.http_api.description import ApiResource
from sorbus.http_api.interface import Api, FoundRecord
from sorbus.http_api.path import read_path
from sorbus.http_api.records import is_deleted
from sorbus.http_api.whole_list import WholeList
from sorbus.identity.crosswalk import Crosswalk

FORBIDDEN = 403
_OTHERS = 3
_MOST, _PER = 20, 3600.0
"""So many records may be found gone by a 403 in so many seconds: more look like a right that was taken away."""
_FRESH = 60.0
"""Seconds for which a list that was read is asked whether it shows a record."""
_UNTIL_GONE = 30.0
"""Seconds in which a record that a write doesn't find may still be read; more where `settle` is more."""

_UNTIL_CLEAR = 3600.0
"""Seconds for which a 404 that may be a gateway's is asked again, while others can be read."""


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

    def get(self, external_id: str, *, proves: bool = True) -> FoundRecord | None:
        """The record; None if it is gone. Raises what the application says where that isn't proven.

        `proves`: whether 403 may mean that it is gone, where that can be proven.
        """
        try:
            found = self._api.get(self._name, external_id)
        except GatewayAnswer as error:
            if not self._reads_one(self._crosswalk.others(external_id, _OTHERS)):
                raise
            raise self._unclear(external_id, error) from error
        except (PermanentError, AuthError) as error:
            if error.status != FORBIDDEN or not proves:
                raise
            self._prove(external_id, error)
            return None
        if found is None:
            self._confirm(external_id)
        return found

    def own(self, external_id: str) -> FoundRecord | None:
        """Likewise; None also where its address shows another record: it was merged into that one."""
        found = self.get(external_id)
        return None if found is None or found.other_id is not None else found

    def is_gone(self, external_id: str, error: PermanentError | AuthError, verb: str) -> bool:
        """Whether a write was refused with `error` because the record is gone. `verb`: what was refused, as "deleted".

        MustWait where the write says so, and the record can still be read: in the end a dead letter.
        """
        is_forbidden = error.status == FORBIDDEN
        if not is_forbidden and not (isinstance(error, PermanentError) and error.reason == "gone"):
            return False
        if self._reads:
            if self.own(external_id) is None:
                return True
            if is_forbidden:
                return False
            raise self._unwritable(external_id, error, verb) from error
        if is_forbidden:
            self._prove(external_id, error)
        return True

    def _unwritable(self, external_id: str, error: PermanentError | AuthError, verb: str) -> MustWait:
        said = f"{error}, though the record can be read"
        refused = PermanentError(
            f"{said}: the connection's user may see it there, but its right to have it {verb} may be lacking; give it"
            " that right, then `sorbus dlq requeue`",
            reason="refused",
            value=external_id,
            words=error.words if isinstance(error, PermanentError) else None,
            status=error.status,
        )
        limit = max(_UNTIL_GONE, self._resource.settle.total_seconds())
        later = f"{said}; it will be retried while other records continue"
        return MustWait(later, why="reference", limit=limit, refused=refused)

    def _unclear(self, external_id: str, error: GatewayAnswer) -> MustWait:
        refused = PermanentError(f"{error}, then `sorbus dlq requeue`", reason="refused", value=external_id, status=404)
        later = f"{error}. Others of its kind can be read, so they continue"
        return MustWait(later, why="reference", limit=_UNTIL_CLEAR, refused=refused)

    def _confirm(self, external_id: str) -> None:
        """TransientError where others of ours aren't found either, and the list contradicts that: a gateway's 404."""
        others = self._crosswalk.others(external_id, _OTHERS)
        if self._reads_one(others):
            return
        said = f"{self._name} {external_id} isn't found"
        later = "the application may be being deployed, or base_url is another's; it will be asked again"
        with self._lock:
            try:
                shown = self._shown(anew=not others) or frozenset()
            except PermanentError as error:
                if error.reason != "gone":
                    raise
                raise TransientError(f"{said}, nor is the list: {error}; {later}") from error
        if there := sorted(shown.intersection((external_id, *others))):
            raise TransientError(f"{said}, though the list shows {', '.join(there)}, which can't be read; {later}")

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
        unclear: TransientError | None = None
        for other in others if self._reads else ():
            try:
                if self._api.get(self._name, other) is not None:
                    return True
            except PermanentError:  # what is wrong with that one says nothing of this one
                continue
            except AuthError as error:
                if error.status != FORBIDDEN:
                    raise
            except TransientError as error:
                unclear = error
        if unclear is not None:
            raise unclear
        return False

    def _shown(self, *, anew: bool = False) -> frozenset[str] | None:
        """The ids that the list shows; None where there is no list, or it is forbidden, too long or not whole."""
        if self._resource.list is None:
            return None
        if not anew and time.monotonic() - self._listed_at < _FRESH:
            return self._listed
        whole, live, after = WholeList(), set[str](), None
        while True:
            try:
                page = self._api.page(self._name, after=after)
            except (PermanentError, AuthError) as error:
                if error.status != FORBIDDEN:
                    raise
                return None
            ids = [(id, one) for one in page.records if (id := read_path(one, self._resource.id)) is not None]
            whole.add(page, [str(id) for id, _ in ids])
            live |= {str(id) for id, one in ids if not is_deleted(self._resource, one)}
            after = page.after
            is_short = bool(whole.why_short) and not self._resource.list.refers
            if len(whole.seen) > self._most or (after is None and is_short):
                return None
            if after is None:
                self._listed, self._listed_at = frozenset(live), time.monotonic()
                return self._listed
