"""Joining the systems of a two-way data type: what each shows last is read to its end, and then made into records.

What happened before is no change of today: nothing of it is merged step by step.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import cast

from pydantic import JsonValue

from sorbus.connector import Position
from sorbus.event import occurred_at, open_frame
from sorbus.two_way.merge import Merging, Ruling
from sorbus.two_way.merged_record import View
from sorbus.two_way.proposal_topics import ProposalMessage
from sorbus.two_way.store import MergeStore, StoredRecord


def to_be_joined(known: Position, topics: Mapping[str, str], system_of_record: str) -> set[str]:
    """Of these systems, each with its topic, those that the merge's position doesn't tell to be joined."""
    begun, read = known.get("joining"), cast("Mapping[str, object]", known.get("topics") or {})
    added = {system for system, topic in topics.items() if topic not in read}
    added |= topics.keys() & set(begun if isinstance(begun, list) else ())
    return set(topics) if not known or begun is True or system_of_record in added else added


class Joining:
    """One joining of a data type's systems. After a crash its last part is done again, which changes nothing.

    `systems`: those that were added to others which are joined already; None: all.
    """

    def __init__(self, store: MergeStore, merging: Merging, systems: Collection[str] | None = None) -> None:
        self._store, self._merging, self._after = store, merging, ""
        self.systems = None if systems is None else sorted(systems)

    @property
    def told(self) -> JsonValue:
        """What a position says of it."""
        return True if self.systems is None else list[JsonValue](self.systems)

    def shows(self, system: str) -> bool:
        """Whether it is joined now."""
        return self.systems is None or system in self.systems

    def show(self, messages: Sequence[ProposalMessage]) -> None:
        """Keeps the last state of each record in each system. TransientError."""
        found = self._store.load(message.id for message in messages)
        for message in messages:
            stored, shown = found[message.id], message.proposal
            before = stored.record.views.get(shown.system)
            if before is not None and shown.version <= before.version:
                continue
            knows = max(before.knows if before is not None else 0, shown.delivered or 0)
            stored.record.views[shown.system] = View(shown.version, shown.values, knows)
            stored.frames[shown.system] = message.frame
        self._store.save_views(list(found.values()))

    def next(self, most: int) -> tuple[list[StoredRecord], list[tuple[bytes, Ruling]]]:
        """The next records, joined and not saved yet; none once all are through. TransientError."""
        ids = self._store.shown(self._after, most, self.systems)
        found = list(self._store.load(ids).values())
        rulings: list[tuple[bytes, Ruling]] = []
        for stored in found:
            at = {
                system: occurred_at(frame, open_frame(frame).at)
                for system, frame in stored.frames.items()
                if frame is not None
            }
            rulings += [(stored.record.id, ruling) for ruling in self._merging.join(stored.record, at, self.systems)]
        if ids:
            self._after = ids[-1].decode()
        return found, rulings
