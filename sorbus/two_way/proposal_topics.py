"""What systems propose, read from their topics in the order of each partition."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from confluent_kafka import KafkaError, Message, TopicPartition
from pydantic import JsonValue

from sorbus.avro.decode import Undecodable
from sorbus.bus.kafka import admin, as_error, bytes_of, headers_of, kafka_errors, offset_of, partition_of, topic_reader
from sorbus.bus.topic_facts import topic_facts
from sorbus.bus.topic_settings import deletes_kept
from sorbus.errors import LostPosition, TransientError
from sorbus.event import DELIVERED, EVENT_ID, occurred_at, open_frame, version_of
from sorbus.settings import Settings
from sorbus.two_way.merge import Proposal
from sorbus.two_way.record_codec import FrameDecoder

_AT_ONCE = 1000


class ProposalMessage(NamedTuple):
    """A proposal with its record's id, and the frame that it came in (None: a delete)."""

    id: bytes
    proposal: Proposal
    frame: bytes | None


class ProposalTopics:
    """A position in the topics of all systems. `topics`: system -> topic."""

    def __init__(
        self, settings: Settings, topics: Mapping[str, str], decode: FrameDecoder, position: Mapping[str, JsonValue]
    ) -> None:
        """Resumes after `position`; {}: at the beginning. TransientError, AuthError, LostPosition."""
        self._systems = {topic: system for system, topic in topics.items()}
        self._decode = decode
        client = admin(settings)
        facts = topic_facts(client, self._systems)
        kept = deletes_kept(client, list(self._systems))
        self._ids: dict[str, str] = {}
        self._offsets: dict[str, list[int]] = {}
        stored = cast("Mapping[str, Mapping[str, object]]", position.get("topics") or {})
        read_at = cast("float", position.get("read_at") or 0.0)
        for topic, system in self._systems.items():
            if topic not in facts:
                raise TransientError(f"there is no topic {topic}; run `sorbus apply`")
            found, before = facts[topic], stored.get(topic)
            self._ids[topic], self._offsets[topic] = found.id, list(found.begins)
            if before is None:
                continue
            offsets = cast("list[int]", before["offsets"])
            is_behind = any(at < end for at, end in zip(offsets, found.ends, strict=False))
            if before["id"] != found.id:
                raise _lost(topic, system, "was made again")
            if any(at < begin for at, begin in zip(offsets, found.begins, strict=False)):
                raise _lost(topic, system, "has lost messages that were not read")
            if is_behind and time.time() - read_at > kept.get(topic, float("inf")):
                raise _lost(topic, system, "may have forgotten deletes that were not read")
            self._offsets[topic][: len(offsets)] = offsets
        self._consumer = topic_reader(settings, "merge")
        parts = [TopicPartition(topic, part, at) for topic, ats in self._offsets.items() for part, at in enumerate(ats)]
        self._left = {(part.topic, part.partition) for part in parts}
        with kafka_errors("reading proposals"):
            self._consumer.assign(parts)

    @property
    def is_at_end(self) -> bool:
        """Whether every partition has been read to its end."""
        return not self._left

    def position(self) -> dict[str, JsonValue]:
        """Where to resume after what was read."""
        topics: dict[str, JsonValue] = {
            topic: {"id": self._ids[topic], "offsets": list(offsets)} for topic, offsets in self._offsets.items()
        }
        return {"topics": topics, "read_at": time.time()}

    def lag(self, facts: Mapping[str, Sequence[int]]) -> int:
        """Messages that aren't read yet. `facts`: topic -> the end of each partition."""
        return sum(
            max(0, end - at)
            for topic, ends in facts.items()
            for end, at in zip(ends, self._offsets[topic], strict=False)
        )

    def read(self, wait: float) -> list[ProposalMessage]:
        """What comes within `wait` seconds. TransientError."""
        found: list[ProposalMessage] = []
        with kafka_errors("reading proposals"):
            messages = self._consumer.consume(1, max(0.0, wait))
            if messages and messages[0].error() is None:
                messages += self._consumer.consume(_AT_ONCE, 0.02)
        for message in messages:
            failure = message.error()
            if failure is None:
                topic, partition = partition_of(message)
                self._left.add((topic, partition))
                self._offsets[topic][partition] = offset_of(message) + 1
                if (one := self._proposal(message, self._systems[topic])) is not None:
                    found.append(one)
            elif failure.code() == KafkaError._PARTITION_EOF:
                self._left.discard(partition_of(message))
            else:
                raise as_error(failure, "reading proposals")
        return found

    def close(self) -> None:
        """Leaves the cluster."""
        self._consumer.close()

    def _proposal(self, message: Message, system: str) -> ProposalMessage | None:
        """None for what Sorbus didn't write."""
        headers, frame = dict(headers_of(message)), message.value()
        delivered = int(told) if (told := headers.get(DELIVERED)) is not None and told.isdigit() else None
        if frame is None:
            version = version_of(headers.get(EVENT_ID) or b"")
            at = message.timestamp()[1] * 1000
            if version is None:
                return None
            return ProposalMessage(bytes_of(message.key()), Proposal(system, version, at, None, delivered), None)
        raw = bytes_of(frame)
        try:
            head = open_frame(raw)
            at = occurred_at(raw, head.at)
            values = None if head.deleted else self._decode(raw)
        except Undecodable:
            return None
        return ProposalMessage(
            head.id, Proposal(system, head.version, at, values, delivered), None if head.deleted else raw
        )


def _lost(topic: str, system: str, why: str) -> LostPosition:
    return LostPosition(
        f"the topic {topic} of what {system} shows {why}: deletes may be missing. Once {system}'s producer has"
        " published every record again (`sorbus status`), run `sorbus two-way join DATA_TYPE --again`"
    )
