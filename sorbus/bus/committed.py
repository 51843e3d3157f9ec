"""The metadata of a committed offset, and whether its topic still holds everything after it."""

from __future__ import annotations

import json
import time
from typing import NamedTuple

from confluent_kafka import TopicPartition

from sorbus.bus.topic_facts import TopicFacts

REMOVED = "were removed before they were read (retention, or deleted records)"


class CommittedPosition(NamedTuple):
    """A committed offset: its topic's id in Kafka ("" if unknown) and how late what was read is (`read_until`), 0.0 if
    unknown. `noted`: up to where the target had noted that it has the events, -1 if it hadn't.
    """

    offset: int
    topic: str = ""
    at: float = 0.0
    noted: int = -1

    @classmethod
    def of(cls, part: TopicPartition) -> CommittedPosition | None:
        """What a group has committed for a partition; None if nothing."""
        if part.offset is None or part.offset < 0:
            return None
        try:
            found = json.loads(part.metadata or "{}")
            return cls(
                part.offset, str(found.get("topic", "")), float(found.get("at", 0.0)), int(found.get("noted", -1))
            )
        except (ValueError, AttributeError, TypeError):  # a foreign commit, such as kafka-consumer-groups makes
            return cls(part.offset)


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
