"""Writing into an application that changes the same records itself: never over what the merge hasn't seen.

An application keeps no log that others can read: what a write of ours replaces is gone. So a record is written only
while it shows what the merge has seen of it; otherwise the producer is told to look first. What follows a write is
noted (`sorbus.two_way.own_writes`), also when its answer was lost: then the same values are sent once more, and what
the application makes of them tells its own form from a person's change.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from threading import Lock

from sorbus.consumers.http.compare import Fields, body, same
from sorbus.consumers.http.shape import Shape
from sorbus.errors import AuthError, Contended, MustWait, PermanentError, TransientError, Unfinished, Unshown
from sorbus.http_api.interface import Api, FoundRecord, Json, Record
from sorbus.http_api.path import read_path, write_path
from sorbus.two_way.known import KnownRecords
from sorbus.two_way.merged_record import Values
from sorbus.two_way.merged_record import same as are_same
from sorbus.two_way.own_writes import OpenWrite, OwnWrites

_GRACE = 2.0
"""Seconds that a request of which nothing more is heard may still be on its way to being carried out."""
_SOON, _PATIENCE = 0.3, 1.0
"""Seconds until a record is tried again, and after which it waits aside, so that others go on."""
_LOOK_EVERY = 2.0
UNCERTAIN = ("too large", "uncertain")
REDIRECTS = range(300, 400)
"""Reasons and statuses of answers from which whether a write was carried out can't be read."""


class NotSeenYet(Unfinished):
    """The merge has still to see what a record is there: it can be written in a moment, others can now."""


class TwoWayWrites:
    """The writes of one flow's records. Safe for threads; one record at a time, which the caller has claimed."""

    def __init__(
        self,
        api: Api,
        system: str,
        resource: str,
        shape: Shape,
        writes: OwnWrites,
        known: KnownRecords,
        canonical: Callable[[Record], Values],
    ) -> None:
        """`canonical`: a record of the application as its producer publishes it. PermanentError."""
        self._api, self._system, self._resource, self._shape = api, system, resource, shape
        self._writes, self._known, self._canonical = writes, known, canonical
        self._lock = Lock()
        self._waiting: dict[str, tuple[float, float]] = {}
        self._answered: dict[str, Record | None] = {}
        """Records whose open write has had its answer, with what that showed of them."""

    def is_superseded(self, id: str, version: int) -> bool:
        """Whether the merge has decided something newer, or a person is to decide: that is delivered instead."""
        known = self._known.of(id)
        return known.is_held or known.version > version

    def check(self, id: str, external_id: str, current: Record) -> int:
        """Whether all that is there was seen; the last version noted. NotSeenYet, or MustWait after some seconds."""
        known, noted = self._known.of(id), self._writes.find(id).noted
        if known.knows < noted:
            raise self._later(id, "what was written there last is on its way to the merge")
        try:
            shown = self._canonical(current)
        except PermanentError as error:
            raise PermanentError(
                f"{id} isn't written in {self._system}, since what it holds there can't be read: {error}; correct it"
                " there, then `sorbus dlq requeue`",
                reason="refused",
                field=error.field,
                value=error.value,
            ) from error
        if known.values is None or not are_same(shown, known.values):
            self._look(id, external_id)
            raise self._later(id, "it was changed there, and the change is merged first")
        with self._lock:
            self._waiting.pop(id, None)
        return noted

    def note(self, id: str, external_id: str, version: int, current: Record) -> None:
        """The application has this version's values already."""
        noted = self.check(id, external_id, current)
        if noted < version:
            kept = self._writes.find(id).kept
            self._writes.close(id, external_id, version, [(version, current)], kept)

    def update(self, id: str, external_id: str, version: int, changes: Fields, current: FoundRecord) -> bool:
        """Writes them. False: what was written has to be read (`settle`), since the answer doesn't show it."""
        self.check(id, external_id, current.record)
        self._writes.open(id, external_id, version, current.record, changes)
        answered = self._sent(id, external_id, body(changes, current.record), current)
        if answered is None or not current.record.keys() <= answered.keys():
            with self._lock:
                self._answered[id] = None
            return False
        self._close(id, external_id, version, current.record, changes, answered)
        return True

    def making(self, id: str, version: int, fields: Fields) -> None:
        """Before a creation."""
        self._writes.open(id, None, version, None, {path: one for path, one in fields.items() if one is not None})

    def made(self, id: str, answer: Record) -> None:
        """The creation's answer has come: what the application has is read by `settle`."""
        shows = self._shape.resource.create is not None and self._shape.resource.create.returns == "record"
        with self._lock:
            self._answered[id] = answer if shows else None

    def cancel(self, id: str) -> None:
        """It certainly changed nothing."""
        self._writes.cancel(id)

    def gone(self, id: str) -> None:
        """The record isn't there any more."""
        self._writes.forget(id)

    def settle(self, id: str, external_id: str) -> bool:
        """Finds out what became of a write that is open; False if none is. MustWait while that can't be told."""
        open = self._writes.find(id).open
        if open is None:
            return False
        is_answered = id in self._answered
        if not is_answered and open.age < _GRACE:
            raise MustWait(
                f"{id} in {self._system}: a request without an answer may still be carried out", why="reference"
            )
        found = self._own(external_id)
        if found is None:
            if is_answered and open.before is None:
                raise self._later(id, f"{self._system} has made it, and doesn't show it yet")
            self._writes.cancel(id)
        elif open.before is None:
            self._settle_created(id, external_id, open, found, is_answered=is_answered)
        else:
            self._settle_updated(id, external_id, open, open.before, found)
        with self._lock:
            self._answered.pop(id, None)
        return True

    def _settle_created(
        self, id: str, external_id: str, open: OpenWrite, found: FoundRecord, *, is_answered: bool
    ) -> None:
        doubtful = [
            path for path, sent in open.sent.items() if not self._same(path, sent, read_path(found.record, path))
        ]
        if is_answered or not (doubtful := [path for path in doubtful if self._may_be_sent(path)]):
            answer = self._answered.get(id) or {}
            made = _over(found.record, answer, [path for path in open.sent if path.partition("[")[0] in answer])
            self._close(id, external_id, open.version, made, open.sent, made)
            if made != found.record:  # somebody was quicker than our look
                self._writes.look(id, external_id)
        else:
            self._repeat(id, external_id, open, found.record, doubtful, found)

    def _settle_updated(self, id: str, external_id: str, open: OpenWrite, before: Record, found: FoundRecord) -> None:
        doubtful, is_landed, kept = [], False, self._writes.kept(id, external_id)
        for path, sent in open.sent.items():
            there = read_path(found.record, path)
            if self._same(path, sent, there) or kept.get(path) == (sent, there):
                is_landed = is_landed or there != read_path(before, path)
            elif there != read_path(before, path):
                doubtful.append(path)
        if doubtful or open.suspects:
            self._repeat(id, external_id, open, before, doubtful or list(open.sent), found)
        elif is_landed or id in self._answered:
            self._close(id, external_id, open.version, before, open.sent, found.record)
        else:
            self._writes.cancel(id)

    def _repeat(
        self, id: str, external_id: str, open: OpenWrite, before: Record, doubtful: Collection[str], found: FoundRecord
    ) -> None:
        """Sends once more what shows otherwise: the application's own form of it comes again, a person's change not."""
        times = self._shape.resource.updated
        there = {path: read_path(found.record, path) for path in (*doubtful, *times)}  # a person's change has its time
        suspects = open.suspects if there in open.suspects else [*open.suspects, there]
        self._writes.suspect(id, suspects)
        fields = {path: sent for path, sent in open.sent.items() if any(path in one for one in suspects)}
        self._sent(id, external_id, body(fields, found.record), found, cancels=False)
        after = self._own(external_id)
        if after is None:
            self._writes.cancel(id)
            return
        ours = _over(before, after.record, open.sent)
        theirs = []
        for suspect in suspects:
            changed = [path for path, one in suspect.items() if one != read_path(after.record, path)]
            if not set(changed).issubset(times):
                theirs.append(_written(ours, {path: suspect[path] for path in (*changed, *times) if path in suspect}))
        self._close(id, external_id, open.version, before, open.sent, after.record, theirs)

    def _own(self, external_id: str) -> FoundRecord | None:
        """The record; None where it is gone, or was merged into the one that its address shows."""
        found = self._api.get(self._resource, external_id)
        return None if found is None or found.other_id is not None else found

    def _sent(
        self, id: str, external_id: str, fields: Record, current: FoundRecord, *, cancels: bool = True
    ) -> Record | None:
        """Sends an update; the record after it, where the answer shows it. Notes whether a failure left it open."""
        try:
            return self._api.update(self._resource, external_id, fields, current=current)
        except (Contended, PermanentError, AuthError, Unfinished) as error:
            if isinstance(error, Unshown):
                self._writes.suspect(id, self._suspects(id))
                raise
            is_open = isinstance(error, PermanentError) and (error.reason in UNCERTAIN or error.status in REDIRECTS)
            if cancels and not is_open:
                self._writes.cancel(id)
            raise
        except TransientError:
            self._writes.suspect(id, self._suspects(id))  # the time to wait for it begins now
            raise

    def _suspects(self, id: str) -> list[Record]:
        open = self._writes.find(id).open
        return open.suspects if open is not None else []

    def _close(
        self,
        id: str,
        external_id: str,
        version: int,
        before: Record,
        sent: Mapping[str, Json],
        after: Record,
        theirs: Collection[Record] = (),
    ) -> None:
        """Notes the state that followed. What else has changed since `before` is people's: the producer looks."""
        ours = _over(before, after, sent)
        for path in self._shape.resource.updated:
            ours = _written(ours, {path: read_path(after, path)})
        states: list[tuple[int | None, Record | None]] = [(version, ours)]
        for one in theirs:
            states += [(None, one), (version, ours)]
        if ours != after:
            states.append((None, None))
        kept = dict(self._writes.kept(id, external_id))
        for path, value in sent.items():
            shown = read_path(after, path)
            kept.pop(path, None)
            if not self._same(path, value, shown):
                kept[path] = (value, shown)
        self._writes.close(id, external_id, version, states, kept)

    def _same(self, path: str, ours: Json, theirs: Json) -> bool:
        return same(ours, theirs, self._shape.resource.fields.get(path), self._shape.items.get(path))

    def _may_be_sent(self, path: str) -> bool:
        field = self._shape.resource.fields.get(path)
        return field is None or not (field.once or field.read_only or field.write_only)

    def _look(self, id: str, external_id: str) -> None:
        now = time.monotonic()
        with self._lock:
            since, looked_at = self._waiting.get(id, (now, -_LOOK_EVERY))
            is_due = now - looked_at >= _LOOK_EVERY
            self._waiting[id] = since, now if is_due else looked_at
        if is_due:
            self._writes.look(id, external_id)

    def _later(self, id: str, why: str) -> NotSeenYet | MustWait:
        now = time.monotonic()
        with self._lock:
            since, _ = self._waiting.setdefault(id, (now, -_LOOK_EVERY))
            if now - since > _PATIENCE:
                del self._waiting[id]
        said = f"{id} in {self._system}: {why}"
        if now - since <= _PATIENCE:
            return NotSeenYet(said, retry_after=_SOON)
        return MustWait(f"{said}; see in `sorbus status` whether its producer and the merge run", why="reference")


def _over(before: Record, after: Record, paths: Collection[str]) -> Record:
    """The record as it was, with these fields as they are now."""
    return _written(before, {root: read_path(after, root) for root in {path.partition("[")[0] for path in paths}})


def _written(record: Record, fields: Mapping[str, Json]) -> Record:
    made = deepcopy(record)
    for path, value in fields.items():
        if value != read_path(made, path):
            write_path(made, path, deepcopy(value))
    return made
