"""What systems propose, read from their topics in the order of each partition."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import NamedTuple, cast

from confluent_kafka import Message
from pydantic import JsonValue

from sorbus.avro.decode import Undecodable
from sorbus.bus.committed import read_until
from sorbus.bus.kafka import bytes_of, headers_of, offset_of, partition_of
from sorbus.bus.topic_reader import ClusterTopics, TopicReader, why_lost
from sorbus.errors import LostPosition, PermanentError
from sorbus.event import DELIVERED, EVENT_ID, HISTORICAL, id_fault, occurred_at, open_frame, version_of
from sorbus.settings import Settings
from sorbus.two_way.merge import Proposal
from sorbus.two_way.record_codec import FrameDecoder

_CHECK_EVERY = 10.0


class ProposalMessage(NamedTuple):
    """A proposal with its record's id, and the frame that it came in (None: a delete)."""

    id: bytes
    proposal: Proposal
    frame: bytes | None

    @property
    def system(self) -> str:
        """Whose state it is."""
        return self.proposal.system


class UnreadProposal(NamedTuple):
    """A message of a system's topic that can't be read, and why."""

    id: bytes
    system: str
    at: int
    raw: bytes
    error: PermanentError


class ProposalTopics:
    """A position in the topics of all systems. `topics`: system -> topic."""

    def __init__(
        self,
        settings: Settings,
        topics: Mapping[str, str],
        decode: FrameDecoder,
        position: Mapping[str, JsonValue],
        data_type: str,
    ) -> None:
        """Resumes after `position`; {}: at the beginning. TransientError, AuthError, LostPosition."""
        self._systems = {topic: system for system, topic in topics.items()}
        self._decode, self._data_type = decode, data_type
        self._cluster = ClusterTopics(settings, "run `sorbus apply`")
        facts = self._cluster.facts(list(self._systems))
        self._ids = {topic: found.id for topic, found in facts.items()}
        self._offsets = {topic: list(found.begins) for topic, found in facts.items()}
        self._first_ends = {topic: found.ends for topic, found in facts.items()}
        self._read_at = {topic: [time.time()] * len(found.begins) for topic, found in facts.items()}
        """Topic -> how late what was read of each partition is, `read_until`; 0: not known."""
        stored = cast("Mapping[str, Mapping[str, object]]", position.get("topics") or {})
        for topic, before in stored.items():
            if topic in self._offsets:
                offsets = cast("list[int]", before["offsets"])
                self._ids[topic] = str(before["id"])
                self._offsets[topic][: len(offsets)] = offsets
                self._read_at[topic][: len(offsets)] = cast("list[float]", before["read_at"])
        self._is_end_stored = False
        self._check()
        for why in self._cluster.cut_off(facts, stored).values():
            raise LostPosition(self._lost(why))
        self._reader = TopicReader(settings, f"merge-{data_type}", self._offsets, self._lost, stored=stored)

    @property
    def is_at_end(self) -> bool:
        """Whether every partition has been read to its end."""
        return self._reader.is_at_end

    def has_read(self, systems: Collection[str]) -> bool:
        """Whether these systems' topics have been read to where they ended when this began."""
        ends = self._reader.ends
        return all(
            not self._reader.is_behind(topic, number) or max(at, ends.get((topic, number), 0)) >= end
            for topic, system in self._systems.items()
            if system in systems
            for number, (at, end) in enumerate(zip(self._offsets[topic], self._first_ends[topic], strict=False))
        )

    @property
    def is_end_stored(self) -> bool:
        """Whether the last `position` was that of the end, past the markers of transactions."""
        return self._is_end_stored

    def position(self) -> dict[str, JsonValue]:
        """Where to resume after what was read."""
        self._is_end_stored = self.is_at_end
        if self.is_at_end:  # past the markers of transactions, which aren't messages
            for (topic, number), end in self._reader.ends.items():
                self._offsets[topic][number] = max(self._offsets[topic][number], end)
            self._read_at = {topic: [time.time()] * len(offsets) for topic, offsets in self._offsets.items()}
        topics: dict[str, JsonValue] = {
            topic: {
                "id": self._ids[topic],
                "offsets": list(offsets),
                "read_at": list(self._read_at[topic]),
                "read": self._reader.last_read(topic, offsets),
            }
            for topic, offsets in self._offsets.items()
        }
        return {"topics": topics}

    def lag(self) -> int:
        """Messages that aren't read yet. TransientError."""
        facts = self._cluster.facts(list(self._systems))
        return sum(
            max(0, end - at)
            for topic, found in facts.items()
            for end, at in zip(found.ends, self._offsets[topic], strict=False)
        )

    def read(self, wait: float) -> list[ProposalMessage | UnreadProposal]:
        """What comes within `wait` seconds. TransientError, LostPosition."""
        if time.monotonic() - self._checked_at > _CHECK_EVERY:
            self._check()
        found = []
        for message in self._reader.messages(wait):
            self._is_end_stored = False
            topic, number = partition_of(message)
            self._offsets[topic][number] = offset_of(message) + 1
            self._read_at[topic][number] = read_until(self._read_at[topic][number], message.timestamp()[1] / 1000)
            found.append(self._proposal(message, self._systems[topic]))
        return found

    def close(self) -> None:
        """Leaves the cluster."""
        self._reader.close()

    def _check(self) -> None:
        """Whether the topics still hold what is to be read."""
        self._checked_at = time.monotonic()
        topics = list(self._systems)
        facts, kept = self._cluster.facts(topics), self._cluster.deletes_kept(topics)
        for topic, offsets in self._offsets.items():
            why = why_lost(topic, self._ids[topic], offsets, self._read_at[topic], facts[topic], kept.get(topic))
            if why:
                raise LostPosition(self._lost(why))

    def _proposal(self, message: Message, system: str) -> ProposalMessage | UnreadProposal:
        headers, frame = dict(headers_of(message)), message.value()
        delivered = int(told) if (told := headers.get(DELIVERED)) is not None and told.isdigit() else None
        id, raw, at = bytes_of(message.key()), bytes_of(frame), max(0, message.timestamp()[1]) * 1000
        try:
            if fault := id_fault(id):
                raise Undecodable(f"its id {id!r} {fault}: correct it in {system}")
            if frame is None:
                if (version := version_of(headers.get(EVENT_ID) or b"")) is None:
                    raise Undecodable("a delete that no producer of Sorbus wrote: it has no version")
                return ProposalMessage(id, Proposal(system, version, at, None, delivered), None)
            head = open_frame(raw)
            if fault := id_fault(head.id):
                raise Undecodable(f"its id {head.id!r} {fault}: correct it in {system}")
            at = occurred_at(raw, head.at)
            values = None if head.deleted else self._decode(raw)
        except Undecodable as error:
            why = PermanentError(f"a message of what {system} shows can't be read: {error}", reason="undecodable")
            return UnreadProposal(id, system, at, raw, why)
        except PermanentError as error:
            return UnreadProposal(id, system, at, raw, error)
        proposal = Proposal(system, head.version, at, values, delivered, HISTORICAL in headers)
        return ProposalMessage(head.id, proposal, None if head.deleted else raw)

    def _lost(self, why: str) -> str:
        return (
            f"{why}: deletes may be missing. Once every producer of {self._data_type}'s systems runs (`sorbus status`):"
            f" sorbus two-way join {self._data_type} --again --accept"
        )
