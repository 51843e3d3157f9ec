"""Where the topics end of a producer that publishes in transactions alone: counted, so that what Kafka loses shows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from sorbus.bus.publisher import Outgoing
from sorbus.bus.topic_ends import ENDS_KEY, Difference, TopicEnds
from sorbus.bus.topic_facts import TopicFacts
from sorbus.connector import Position
from sorbus.errors import TransientError
from sorbus.producers.own_topics import OwnTopics
from sorbus.settings import Settings

_MARKED = 2.0
"""Seconds within which Kafka has written a transaction's markers."""


class CountedEnds:
    """One session's."""

    def __init__(self, topics: OwnTopics, facts: Mapping[str, TopicFacts]) -> None:
        self._topics, self._ends = topics, TopicEnds(facts)

    def added(self, messages: Sequence[Outgoing]) -> None:
        """These are part of the transaction in progress."""
        self._ends.added(messages)

    def committed(self) -> None:
        """The transaction in progress was committed."""
        self._ends.committed()

    def stored(self, position: Position) -> Position:
        """The position with where the topics end after the transaction in progress."""
        return {**position, ENDS_KEY: self._ends.to_json({})}

    def compare(self, facts: Mapping[str, TopicFacts]) -> None:
        """Looks for what Kafka has lost, while no transaction is in progress. TransientError if it has."""
        _, facts = settled(self._ends, self._topics, facts)
        self._ends.looked(facts)


def counted_ends(topics: OwnTopics, settings: Settings) -> CountedEnds | None:
    """None where Kafka's client chooses between partitions in a way that isn't known here. TransientError."""
    facts = topics.facts()
    if "partitioner" in settings.kafka_config and any(len(one.ends) > 1 for one in facts.values()):
        return None
    return CountedEnds(topics, facts)


def settled(
    ends: TopicEnds, topics: OwnTopics, facts: Mapping[str, TopicFacts]
) -> tuple[list[Difference], Mapping[str, TopicFacts]]:
    """Where topics end behind what was counted, and their facts. Nothing may be in flight.

    TransientError where one ends before it, which starts a new session: that one finds what its position lacks.
    """
    differences = ends.differences(facts)
    deadline = time.monotonic() + _MARKED
    while any(one.found < one.expected for one in differences) and time.monotonic() < deadline:
        time.sleep(0.02)  # a marker is not written yet
        facts = topics.facts()
        differences = ends.differences(facts)
    for one in differences:
        if one.found < one.expected:
            raise TransientError(f"topic {one.topic} ends before what Kafka has confirmed", retry_after=1.0)
    return differences, facts
