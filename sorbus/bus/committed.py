"""The metadata of a committed offset, and whether its topic still holds everything after it."""

from __future__ import annotations

import json
import time
from typing import NamedTuple

from confluent_kafka import TopicPartition

from sorbus.bus.topic_facts import TopicFacts
from sorbus.bus.truncation import ReadUpTo

REMOVED = "were removed before they were read (retention, or deleted records)"


class CommittedPosition(NamedTuple):
    """A committed offset: its topic's id in Kafka ("" if unknown) and how late what was read is (`read_until`), 0.0 if
    unknown. `noted`: up to where the target had noted that it has the events, -1 if it hadn't. `place`: where in the
    target they were written to, "" if unknown. `rules`: a digest of what was made of them there, "" if unknown, and
    `since` when it has been other than for some that were delivered before, in seconds since 1970; 0.0: never.
    `deferred`: how often records before it were deferred. `read`: what was read last, None if unknown.
    """

    offset: int
    topic: str = ""
    at: float = 0.0
    noted: int = -1
    place: str = ""
    rules: str = ""
    since: float = 0.0
    deferred: int = 0
    read: ReadUpTo | None = None

    @classmethod
    def of(cls, part: TopicPartition) -> CommittedPosition | None:
        """What a group has committed for a partition; None if nothing."""
        if part.offset is None or part.offset < 0:
            return None
        try:
            found = json.loads(part.metadata or "{}")
            read = found.get("read")
            return cls(
                part.offset,
                str(found.get("topic", "")),
                float(found.get("at", 0.0)),
                int(found.get("noted", -1)),
                str(found.get("place", "")),
                str(found.get("rules", "")),
                float(found.get("since", 0.0)),
                int(found.get("deferred", 0)),
                ReadUpTo(*map(int, read)) if read else None,
            )
        except (ValueError, AttributeError, TypeError):  # a foreign commit, such as kafka-consumer-groups makes
            return cls(part.offset)

    @property
    def is_foreign(self) -> bool:
        """Whether no flow has committed it."""
        return not self.topic and not self.at


def lost_since(place: CommittedPosition, facts: TopicFacts, partition: int, kept: float | None) -> str | None:
    """Why events after a position are lost, `{}` standing for the partition; None if all are there."""
    begin, end = facts.begins[partition], facts.ends[partition]
    if place.topic and place.topic != facts.id:
        return "{} was deleted and recreated since it was last read"
    if place.offset < begin:
        return f"{begin - place.offset:,} messages of {{}} {REMOVED}"
    if place.offset > end:
        return f"{{}} ends at offset {end:,} but was read up to {place.offset:,}: it was recreated or truncated"
    return _away(place.at, kept) if place.at and place.offset < end else None


def read_until(before: float, written: float) -> float:
    """How late a position is once a message is read that was `written` then, in seconds since 1970.

    What comes after it was written later than that, and later than `before`: when all that there was had been read, or
    when reading began. What was deleted before then had no older state to be read. None of them was in the future,
    whatever a clock said then.
    """
    return min(max(before, written), time.time())


def forgotten_since(at: float | None, kept: float | None) -> str | None:
    """Likewise where Kafka has no offset any more, and the last one was committed then."""
    return _away(at, kept) if at else None


def _away(at: float, kept: float | None) -> str | None:
    away = time.time() - at
    if kept is None or away <= kept:
        return None
    days = f"{away / 86400:.1f} days"
    return (
        f"{{}} holds what came in the last {days} and was not read, but keeps deletes for {kept / 86400:.1f} days:"
        " some may be lost"
    )
