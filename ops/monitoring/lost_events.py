"""Topics that aren't there, and unread events that are gone, in words; without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sorbus.bus.committed import CommittedPosition, lost_since
from sorbus.bus.topic_facts import TopicFacts
from sorbus.bus.topic_ownership import Owned, lost_of
from sorbus.ops.monitoring.offsets import Part

_SOON = 0.8
"""The share of the time for which deletes are kept after which a flow that doesn't read is a finding."""
_BEFORE = 6 * 86_400.0
"""Seconds before its end, where that is later: a flow that delivers once a year is none before its day."""
_PAGE = " (docs/runbooks/topic-lost.md)"


def without_offsets(
    topics: Mapping[str, str],
    facts: Mapping[str, TopicFacts],
    places: Mapping[str, Mapping[Part, CommittedPosition]],
    ended: Mapping[str, str],
) -> list[str]:
    """Flows whose consumer group was deleted. `topics`: flow -> its topic; `ended`: flows that ran -> their process."""
    return [
        f"{flow}: {process} has run, and its consumer group has no offsets: the group was deleted, or nothing was"
        " delivered yet. It reads the topic from the beginning at its next start, which changes nothing that is right"
        " (docs/runbooks/consumer-group-deleted.md)"
        for flow, process in ended.items()
        if flow in topics and topics[flow] in facts and not facts[topics[flow]].is_empty and not places.get(flow)
    ]


def left_words(topics: Mapping[str, str], facts: Mapping[str, TopicFacts], left: Mapping[str, Owned]) -> list[str]:
    """`left`: data type -> its topic as its owner's producer left it."""
    found = []
    for data_type, topic in topics.items():
        if topic in facts and data_type in left and (why := lost_of(topic, left[data_type], facts[topic])):
            found.append(f"{data_type}: {why}; its producer publishes every record again as soon as it runs{_PAGE}")
    return found


def lost_words(
    topics: Mapping[str, str],
    facts: Mapping[str, TopicFacts],
    places: Mapping[str, Mapping[Part, CommittedPosition]],
    kept: Mapping[str, float] = MappingProxyType({}),
) -> list[str]:
    """`topics`: data type -> its topic; `places`: flow -> what it has committed for its data type's topic; `kept`:
    topic -> the seconds for which it keeps deletes, where that is known.
    """
    found = [
        f"{data_type}: topic {topic} isn't there, so nothing is published or delivered; run `sorbus apply`{_PAGE}"
        for data_type, topic in topics.items()
        if topic not in facts
    ]
    for flow, committed in places.items():
        for (topic, partition), place in sorted(committed.items()):
            if topic not in facts or partition >= len(facts[topic].begins):
                continue
            why = lost_since(place, facts[topic], partition, kept.get(topic))
            if why is not None:
                said = why.format(f"{topic} (partition {partition})")
                found.append(
                    f"{flow}: {said}: its target lacks changes; `on_lost_events: reread` in the map reads all again"
                    f"{_PAGE}"
                )
                break
    return found


def soon_lost_words(
    facts: Mapping[str, TopicFacts],
    places: Mapping[str, Mapping[Part, CommittedPosition]],
    kept: Mapping[str, float],
    now: float,
) -> list[str]:
    """Flows that are paused or stopped, and will have lost deletes if they stay so; arguments as for `lost_words`."""
    found = []
    for flow, committed in places.items():
        for (topic, partition), place in sorted(committed.items()):
            if (
                topic not in facts
                or partition >= len(facts[topic].ends)
                or place.offset >= facts[topic].ends[partition]
            ):
                continue
            away, longest = now - place.at, kept.get(topic)
            if longest is not None and place.at and max(_SOON * longest, longest - _BEFORE) < away <= longest:
                found.append(
                    f"{flow}: {topic} was not read for {away / 86400:.1f} days, and keeps deletes for"
                    f" {longest / 86400:.1f} days: let it deliver before, or its target will lack changes{_PAGE}"
                )
                break
    return found
