"""One data type's posted records against what is published of it: which are changes; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from sorbus.abilities import PublishedState
from sorbus.bus.record_inbox import PostedRecord
from sorbus.connector import Change, RejectedRecord
from sorbus.errors import PermanentError
from sorbus.http_api.interface import Json
from sorbus.http_api.values import load_json
from sorbus.producers.polling.change_detector import ChangeDetector, ChangeVerdict
from sorbus.producers.webhook.intake import RecordIntake

MOST_DELETED = 1_000_000
"""Deletes of a data type that are known: an older state that is posted afterwards changes nothing."""
_EARLIEST = -(2**63)


class _Newest(NamedTuple):
    """The newest post of a record so far: by its update time, then by arrival."""

    at: int
    posted: PostedRecord


class RecordFeed:
    """Judges posts in the order of their arrival."""

    def __init__(self, intake: RecordIntake) -> None:
        self.intake = intake
        self.memory = ChangeDetector(
            intake.name, intake.encode, lambda _: self._updated, can_look=False, most_buried=MOST_DELETED
        )
        self._updated: int | None = None
        self._held: dict[bytes, frozenset[str]] = {}
        self._unsure = set[bytes]()
        self._ever_held: frozenset[str] = frozenset()
        self._combinations: dict[frozenset[str], frozenset[str]] = {}
        self.older = 0
        """How many were older than what was known, and changed nothing."""

    def remember(self, published: Iterable[PublishedState]) -> None:
        """What is on the topic."""
        self.memory.remember(self._noted(published))

    def judge(self, posted: PostedRecord) -> Change | RejectedRecord | None:
        """What is to be published of it; None for a repetition, or what is older than what is known."""
        id, now = posted.id.encode(), posted.received_at
        if posted.kind == "unreadable":
            error = PermanentError(posted.why or "it can't be read", reason="unreadable body")
            return _published(self.memory.refuse(id, _shown(posted.body), now, error))
        record: Json = None
        try:
            record = _content(posted)
            self._updated = self.intake.updated(record, now)
        except PermanentError as error:
            return _published(self.memory.refuse(id, _shown(posted.body), now, error))
        if posted.kind == "delete" or self.intake.is_deleted(record):
            if self.memory.is_older(id, self._updated):
                self.older += 1
                return None
            change = self.memory.gone(id, now, self._updated)
            if change is None and self._updated is not None:
                self.memory.remember_deleted(id, self._updated)  # an older state may still come
            self._held.pop(id, None)
            return change
        if not self.memory.is_older(id, self._updated):
            try:
                # Of a record whose published state isn't known, all that others have is required.
                self.intake.require(
                    record, self._held.get(id, frozenset()) | (self._ever_held if id in self._unsure else frozenset())
                )
            except PermanentError as error:
                return _published(self.memory.refuse(id, record, now, error))
        verdict = self.memory.judge(id, record, now, trusted=self._updated is None)
        self.older += verdict is ChangeVerdict.DOUBTFUL
        if isinstance(verdict, Change) and verdict.data:
            self._note(id, verdict.data)
        return _published(verdict)

    def newest(self, history: Iterable[PostedRecord]) -> dict[str, PostedRecord]:
        """The newest post of each record, also where that is its delete."""
        found: dict[str, _Newest] = {}
        for posted in history:
            before = found.get(posted.id)
            at = self._at(posted)
            if at is None:  # it was refused: no older state may pass for it
                at = before.at if before else _EARLIEST
            if before is None or at >= before.at:
                found[posted.id] = _Newest(at, posted)
        return {id: one.posted for id, one in found.items()}

    def learn(self, posted: PostedRecord) -> None:
        """What was judged before, found again in the inbox: deletes, and fields of records with open dead letters."""
        id = posted.id.encode()
        if self.intake.options.updated and id not in self.memory and self._is_delete(posted):
            self.memory.remember_deleted(id, _EARLIEST if (at := self._at(posted)) is None else at)
        elif posted.kind == "record" and id in self._unsure:
            with suppress(PermanentError):
                self._held[id] = self._held.get(id, frozenset()) | self.intake.held(
                    self.intake.encode(_content(posted))
                )

    def _is_delete(self, posted: PostedRecord) -> bool:
        if posted.kind == "record" and self.intake.options.deleted:
            with suppress(PermanentError):
                return self.intake.is_deleted(_content(posted))
        return posted.kind == "delete"

    def _noted(self, published: Iterable[PublishedState]) -> Iterator[PublishedState]:
        for one in published:
            if one.data:
                self._note(one.id, one.data)
            elif one.version:
                self._unsure.add(one.id)
            yield one

    def _note(self, id: bytes, data: bytes) -> None:
        held = self.intake.held(data)
        self._held[id] = self._combinations.setdefault(held, held)
        self._ever_held |= held
        self._unsure.discard(id)

    def _at(self, posted: PostedRecord) -> int | None:
        """None where it has no time, and should."""
        if not self.intake.options.updated:
            return 0
        if posted.kind == "unreadable":
            return None
        try:
            return self.intake.updated(_content(posted), posted.received_at) or 0
        except PermanentError:
            return None


def _content(posted: PostedRecord) -> Json:
    """PermanentError where what another program put into the inbox isn't JSON."""
    try:
        return load_json(posted.body)
    except ValueError as error:
        raise PermanentError(f"the post isn't JSON: {str(error)[:200]}", reason="unreadable body") from error


def _published(verdict: Change | RejectedRecord | ChangeVerdict) -> Change | RejectedRecord | None:
    return None if isinstance(verdict, ChangeVerdict) else verdict


def _shown(body: bytes) -> Json:
    try:
        return load_json(body)
    except ValueError:
        return {"body": body.decode("utf-8", "replace")}
