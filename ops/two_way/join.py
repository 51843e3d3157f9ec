"""What joining the systems of a two-way data type would do: counted from what they show, with nothing written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from sorbus.bus.names import Names
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.errors import UsageError
from sorbus.map.loaded import LoadedMap
from sorbus.settings import Settings
from sorbus.spelling import closest
from sorbus.two_way.merge import Merging, Proposal, Ruling, Verdict
from sorbus.two_way.merged_record import MergedRecord
from sorbus.two_way.options import MergeSource
from sorbus.two_way.proposal_topics import ProposalTopics, UnreadProposal
from sorbus.two_way.record_codec import FrameDecoder, RecordCodec

_EXAMPLES = 3


@dataclass
class JoinedSystem:
    """One system besides the system of record. Counts of its records; of fields by name and verdict."""

    records: int = 0
    linked: int = 0
    equal: int = 0
    unlinked: int = 0
    missing: int = 0
    """Records that it doesn't have: they are created there."""
    fields: Counter[tuple[str, Verdict]] = field(default_factory=Counter)
    examples: dict[tuple[str, Verdict], list[tuple[str, Ruling]]] = field(default_factory=dict)
    unlinked_ids: list[str] = field(default_factory=list)
    is_matched: bool = False
    """Whether its records have ids of their own, so that deliveries match them."""


@dataclass
class JoinPlan:
    """What would be joined."""

    data_type: str
    system_of_record: str
    owned: frozenset[bytes]
    """The ids of the system of record's records."""
    systems: dict[str, JoinedSystem]
    unread: int = 0
    """Messages that can't be read: they become dead letters."""

    @property
    def records(self) -> int:
        """How many there are."""
        return len(self.owned)

    @property
    def asked(self) -> int:
        """Fields that people would have to decide."""
        return sum(
            times
            for one in self.systems.values()
            for (_, verdict), times in one.fields.items()
            if verdict is Verdict.ASKED
        )


def merge_options(loaded: LoadedMap, data_type: str) -> MergeSource:
    """The rules of a two-way data type. UsageError if it isn't one."""
    if data_type not in loaded.two_way:
        known = closest(data_type, loaded.two_way) if loaded.two_way else "no flow of the map is two-way"
        raise UsageError(f"{data_type!r} is no two-way data type: {known}")
    options = loaded.source(data_type).options
    assert isinstance(options, MergeSource)
    return options


def plan_join(loaded: LoadedMap, settings: Settings, data_type: str, progress: Callable[[int], None]) -> JoinPlan:
    """Reads all that the systems show, in memory. `progress` is told how many messages. TransientError."""
    options, names = merge_options(loaded, data_type), Names(loaded.map.topic_prefix)
    source = loaded.source(data_type)
    schemas = SchemaResolver(settings, names, [source.schema])
    two_way = loaded.two_way[data_type]
    topics = {system: names.topic(two_way.proposals(system)) for system in two_way.systems}
    shown: dict[str, dict[bytes, Proposal]] = {system: {} for system in topics}
    reader, read = ProposalTopics(settings, topics, FrameDecoder(schemas), {}, data_type), 0
    unread = 0
    try:
        while not reader.is_at_end:
            messages = reader.read(1.0)
            for message in messages:
                if isinstance(message, UnreadProposal):
                    unread += 1
                    continue
                before = shown[message.proposal.system].get(message.id)
                if before is None or before.version <= message.proposal.version:
                    shown[message.proposal.system][message.id] = message.proposal
            read += len(messages)
            progress(read)
    finally:
        reader.close()
    versions = count(1)
    codec = RecordCodec(data_type, source.schema, schemas)
    merging = Merging(options.rules(), lambda: next(versions), codec.fits)
    owned = {id: one for id, one in shown.pop(options.system_of_record).items() if one.values is not None}
    systems = {
        system: JoinedSystem(is_matched="resource" in loaded.map.data_types[two_way.proposals(system)].source)
        for system in shown
    }
    plan = JoinPlan(data_type, options.system_of_record, frozenset(owned), systems, unread)
    for system, proposals in shown.items():
        plan.systems[system].missing = len(
            owned.keys() - {id for id, one in proposals.items() if one.values is not None}
        )
    for id, first in owned.items():
        record = MergedRecord(id)
        merging.take(record, first)
        for system, proposals in shown.items():
            found = proposals.get(id)
            if found is not None and found.values is not None:
                _count(plan.systems[system], id, merging.take(record, found._replace(delivered=None)))
    for system, proposals in shown.items():
        left = [id for id, one in proposals.items() if one.values is not None and id not in owned]
        one = plan.systems[system]
        one.records = one.linked + len(left)
        one.unlinked = len(left)
        one.unlinked_ids = [id.decode(errors="replace") for id in sorted(left)[:_EXAMPLES]]
    return plan


def _count(one: JoinedSystem, id: bytes, rulings: list[Ruling]) -> None:
    one.linked += 1
    one.equal += not rulings
    for ruling in rulings:
        key = ruling.field, ruling.verdict
        one.fields[key] += 1
        examples = one.examples.setdefault(key, [])
        if len(examples) < _EXAMPLES:
            examples.append((id.decode(errors="replace"), ruling))
