"""What is published of one data type, and what a record that was just read means against it; no I/O.

Kept per record: a digest of the canonical bytes, the version, and the record's own update time. 40 bytes, and the id.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from enum import Enum
from hashlib import blake2b
from itertools import islice
from struct import Struct

from sorbus.abilities import PublishedState
from sorbus.connector import Change, RejectedRecord
from sorbus.errors import PermanentError
from sorbus.http_api.interface import Json, Record
from sorbus.http_api.values import dump_json

_log = logging.getLogger(__name__)
_KNOWN = Struct(">16sqq")
_UNSURE = bytes(16)
_NEVER = -(2**63)
"""An update time before all others."""
_MOST_BURIED = 10_000
_LOOK_AGAIN = 600_000_000
"""Microseconds until old news that was found wrong once is looked at again."""


class ChangeVerdict(Enum):
    """What is not to be published."""

    UNCHANGED = "as it was published, or as it was refused"
    DOUBTFUL = "older than what was published, or deleted before: an index that lags, or a state that was restored"


Judged = Change | RejectedRecord | ChangeVerdict


class ChangeDetector:
    """The published state of one data type. What it returns is taken as published: the caller publishes it all."""

    def __init__(
        self,
        data_type: str,
        encode: Callable[[Record], bytes],
        updated: Callable[[Record], int | None],
        *,
        can_look: bool,
        most_buried: int = _MOST_BURIED,
    ) -> None:
        """`updated` is a record's own update time in microseconds since 1970; `can_look`: records have an address.

        `most_buried`: of so many deleted records an older state is known to be one.
        """
        self.data_type = data_type
        self.deleted_version = 0
        """The highest version of any delete: a deleted record's own is forgotten in the end."""
        self._can_look, self._most_buried = can_look, most_buried
        self._encode, self._updated = encode, updated
        self._known: dict[bytes, bytes] = {}
        self._refused: dict[bytes, bytes] = {}
        self._buried: dict[bytes, int] = {}
        self._looked_at: dict[bytes, tuple[bytes, int]] = {}

    def __contains__(self, id: object) -> bool:
        return id in self._known

    def __len__(self) -> int:
        return len(self._known)

    def ids(self) -> set[bytes]:
        """Every record that is published, or was refused and so may be an open dead letter."""
        return set(self._known)

    def version(self, id: bytes) -> int:
        """What a newer state's version has to be above."""
        return self._state(id)[1]

    def is_unsure(self, id: bytes) -> bool:
        """Whether what is published of it equals nothing: it was refused, or is to be published again."""
        return self._state(id)[0] == _UNSURE

    def remember(self, published: Iterable[PublishedState]) -> None:
        """What the topic holds; a record without data equals nothing."""
        for record in published:
            digest = _digest(record.data) if record.data else _UNSURE
            updated = record.occurred_at if record.version else _NEVER  # only a dead letter is known of it
            self._known[record.id] = _KNOWN.pack(digest, record.version, updated)

    def begin_above(self, version: int) -> None:
        """What the topic holds up to this version is another owner's: each record is published anew when it is read,
        and one that isn't read any more needs the proof of any other delete.
        """
        theirs = _KNOWN.pack(_UNSURE, version, _NEVER)
        self._known = {id: theirs if _KNOWN.unpack(one)[1] <= version else one for id, one in self._known.items()}
        self.deleted_version = max(self.deleted_version, version)

    def doubt_all(self) -> None:
        """Every record is published again when it is read next."""
        self.doubt(self._known)

    def doubt(self, ids: Iterable[bytes]) -> None:
        """Those of these that are published are published again when they are read next, or refused again."""
        for id in ids:
            self._refused.pop(id, None)
            if (known := self._known.get(id)) is not None:
                _, version, updated = _KNOWN.unpack(known)
                self._known[id] = _KNOWN.pack(_UNSURE, version, updated)

    def lift(self, id: bytes, version: int) -> None:
        """A published record's version is at least this."""
        if (known := self._known.get(id)) is not None:
            digest, before, updated = _KNOWN.unpack(known)
            self._known[id] = _KNOWN.pack(digest, max(before, version), updated)

    def differs(self, id: bytes, record: Record) -> bool:
        """Whether a record that was read is other than what is published, or refused, of it."""
        try:
            return self._state(id)[0] != _digest(self._encode(record))
        except Exception:  # noqa: BLE001 - it can't be read, and is refused where it is judged
            return self._refused.get(id) != _digest(raw_json(record))

    def are_alike(self, one: Record, other: Record) -> bool:
        """Whether two records are the same when they are published."""
        try:
            return self._encode(one) == self._encode(other)
        except Exception:  # noqa: BLE001 - that is said where they are judged
            return raw_json(one) == raw_json(other)

    def forget_refused(self, ids: Iterable[bytes]) -> None:
        """What was refused of these is refused again, should it still be wrong."""
        for id in ids:
            self._refused.pop(id, None)

    def judge(self, id: bytes, record: Record, now: int, *, trusted: bool = False) -> Judged:
        """What a record that was read at `now` (microseconds, our clock) means.

        `trusted`: it was read by its own address, so that it is no index's old news.
        """
        try:
            updated = self._updated(record)
            data = self._encode(record)
        except PermanentError as error:
            return self._refuse(id, record, now, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this record's, and no other may wait for it
            _log.exception("record %r of %s can't be read", id, self.data_type)
            return self._refuse(id, record, now, _unexpected(error))
        digest = _digest(data)
        before, version, last = self._state(id)
        if before == digest:
            if updated is not None and updated > last:
                self._known[id] = _KNOWN.pack(digest, version, updated)
            return ChangeVerdict.UNCHANGED
        if not trusted and self._is_old_news(id, updated, last):
            seen, at = self._looked_at.get(id, (_UNSURE, 0))
            return ChangeVerdict.UNCHANGED if seen == digest and now < at + _LOOK_AGAIN else ChangeVerdict.DOUBTFUL
        version = max(version + 1, now if updated is None else updated)
        occurred_at = now if updated is None else updated
        self._known[id] = _KNOWN.pack(digest, version, occurred_at)
        for forgotten in (self._refused, self._buried, self._looked_at):
            forgotten.pop(id, None)
        return Change(self.data_type, id, version, occurred_at, data)

    def looked_at(self, id: bytes, record: Record, now: int) -> None:
        """The record's own address has been asked about this old news of it: not worth a second look for a while."""
        try:
            digest = _digest(self._encode(record))
        except Exception:  # noqa: BLE001 - it can't be read, and is refused where it is judged
            return
        if len(self._looked_at) >= _MOST_BURIED:
            self._looked_at.clear()
        self._looked_at[id] = digest, now

    def is_older(self, id: bytes, updated: int | None) -> bool:
        """Whether this update time is before that of what was published, or deleted."""
        return updated is not None and self._is_old_news(id, updated, self._state(id)[2])

    def remember_deleted(self, id: bytes, updated: int) -> None:
        """A record that was deleted before, at this update time: an older state doesn't bring it back."""
        if id not in self._known:
            self._bury(id, updated)

    def gone(self, id: bytes, now: int, updated: int | None = None) -> Change | None:
        """A record that is no longer there; None if nobody was ever told of it."""
        self._refused.pop(id, None)
        if id not in self._known:
            return None
        _, version, last = self._state(id)
        del self._known[id]
        at = now if updated is None else updated
        version = max(version + 1, at)
        self.deleted_version = max(self.deleted_version, version)
        self._bury(id, last if updated is None else max(last, updated))
        return Change(self.data_type, id, version, at, None)

    def _bury(self, id: bytes, updated: int) -> None:
        self._buried[id] = max(updated, self._buried.pop(id, _NEVER))
        if len(self._buried) > self._most_buried + self._most_buried // 10:  # one by one, a dict's first ones cost much
            for old in list(islice(self._buried, len(self._buried) - self._most_buried)):
                del self._buried[old]

    def absent(self, id: bytes, now: int) -> Change:
        """A record that isn't there and isn't published, for whoever asked what has become of it."""
        self.deleted_version = max(self.deleted_version + 1, now)
        return Change(self.data_type, id, self.deleted_version, now, None)

    def _state(self, id: bytes) -> tuple[bytes, int, int]:
        """Digest, version and update time of what was published last.

        What only a dead letter is known of may have been published and deleted before.
        """
        known = self._known.get(id)
        digest, version, updated = (_UNSURE, 0, _NEVER) if known is None else _KNOWN.unpack(known)
        return digest, version or self.deleted_version, updated

    def _is_old_news(self, id: bytes, updated: int | None, last: int) -> bool:
        buried = self._buried.get(id)
        if buried is not None:
            return self._can_look or updated is None or updated <= buried
        return updated is not None and updated < last

    def refuse(self, id: bytes, record: Json, now: int, error: PermanentError) -> Judged:
        """A record that can't be canonical becomes a dead letter, once for each of its states."""
        return self._refuse(id, record, now, error)

    def _refuse(self, id: bytes, record: Json, now: int, error: PermanentError) -> Judged:
        raw = raw_json(record)
        digest = _digest(raw)
        if self._refused.get(id) == digest:
            return ChangeVerdict.UNCHANGED
        self._refused[id] = digest
        _, version, last = self._state(id)
        version = max(version + 1, now)
        self._known[id] = _KNOWN.pack(_UNSURE, version, last)  # equals nothing: good again, it closes its letter
        return RejectedRecord(self.data_type, id, version, now, raw, error)


def raw_json(record: Json) -> bytes:
    """A record as the application gave it, for a dead letter; whatever it holds, it has a form."""
    try:
        return dump_json(record).encode()
    except (ValueError, TypeError, RecursionError):
        return json.dumps(record, default=str, skipkeys=True).encode()


def _unexpected(error: Exception) -> PermanentError:
    return PermanentError(
        f"it can't be made canonical ({type(error).__name__}): look at what is unusual in the record, and report it:"
        " Sorbus should have said which field it is",
        reason="not canonical",
    )


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()
