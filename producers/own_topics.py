"""A producer's own topics: what is on them, how its events are written, and whether they are as it left them.

If they aren't, all records are published again, above all versions there (`sorbus.bus.topic_ownership` has the rules).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from sorbus.abilities import PublishedState, SupportsState, SupportsSuccession, SupportsTakeover
from sorbus.bus.kafka import admin, cluster_id
from sorbus.bus.names import Names
from sorbus.bus.positions import read_positions
from sorbus.bus.published import published_records
from sorbus.bus.schema_resolver import SchemaResolver
from sorbus.bus.topic_facts import TopicFacts, topic_facts
from sorbus.bus.topic_ownership import Inherited, Ownership
from sorbus.bus.topic_settings import settings_of
from sorbus.connector import BoundSource, BoundSystem, Position, Producer
from sorbus.errors import AuthError, LostPosition, TransientError
from sorbus.event import EventEncoder, event_encoder
from sorbus.settings import Settings
from sorbus.telemetry.health import Health

_COMPARE_EVERY, _SOON = 10.0, 1.0
_log = logging.getLogger(__name__)


class OwnTopics:
    """One system's topics, one for each of its data types."""

    def __init__(self, settings: Settings, system: BoundSystem, sources: Sequence[BoundSource], health: Health) -> None:
        self._settings, self._sources, self._health = settings, sources, health
        self.system, self._kind, self.names = system.name, system.system.kind, Names(system.topic_prefix)
        self.topics = {source.name: self.names.topic(source.name) for source in sources}
        """Data type -> topic."""
        self.data_types = {topic: name for name, topic in self.topics.items()}
        """Topic -> data type."""
        self._diverged: dict[str, str] = {}
        self.encoders: Mapping[str, EventEncoder] = {}
        """Data type -> what writes its events, after `prepare`."""
        self._admin = admin(settings)
        self._ownership = Ownership(self.system, self._kind, {})
        self._compared_at = 0.0
        self.largest: dict[str, int] = {}
        """Topic -> bytes of the largest message that it takes, also of dead letters, as far as Kafka says it."""
        self.heeds_sizes = False
        """Whether something was too large for its topic: until then what can be compressed may be larger."""
        self._anew: set[str] = set()

    def prepare(self) -> SchemaResolver:
        """Registers the schemas, once. SchemaError; TransientError without the registry."""
        schemas = SchemaResolver(self._settings, self.names, [source.schema for source in self._sources])
        if not self.encoders:
            namespace = f"{cluster_id(self._admin)}.{self.names.prefix}".rstrip(".")
            self.encoders = {
                source.name: event_encoder(
                    schemas.prefix(source.name, source.schema), self.system, source.name, namespace=namespace
                )
                for source in self._sources
            }
        return schemas

    def remember(
        self, producer: SupportsState, schemas: SchemaResolver, rejected: Mapping[str, Collection[bytes]]
    ) -> None:
        """Tells a poll what is on its topics; of `rejected` (data type -> ids), that it knows nothing for sure."""
        for source in self._sources:
            published = published_records(
                self._settings,
                self.topics[source.name],
                schemas,
                source.schema,
                doubtful=rejected.get(source.name, ()),
            )
            producer.remember(source.name, self._beating(published))

    @property
    def position(self) -> Position | None:
        """The position that the producer stored last, without what `stored` adds; None: there is none."""
        return self._ownership.position

    def inherit(self) -> list[Inherited]:
        """The data types whose topics aren't as this system's producer left them: another's, lost, or recreated.

        TransientError when a topic is missing.
        """
        facts = topic_facts(self._admin, [self.names.positions, *self.topics.values()])
        ends = facts[self.names.positions].ends if self.names.positions in facts else ()
        ownership = Ownership(self.system, self._kind, read_positions(self._settings, self.names, ends))
        found = []
        for data_type, topic in self.topics.items():
            if topic not in facts:
                raise TransientError(f"there is no topic {topic}; run `sorbus apply`")
            self._health.beat()
            diverged = self._diverged.pop(topic, None)
            one = ownership.inherits(data_type, facts[topic], self._settings, topic, diverged)
            if one is not None:
                _log.warning("%s: snapshotting %s again: %s", self.system, data_type, one.why)
                found.append(one)
        self._anew = {one.data_type for one in found}
        self._look_at_sizes()
        self._ownership, self._compared_at = ownership, time.monotonic()
        return found

    def take_over(self, producer: Producer, inherited: Sequence[Inherited]) -> None:
        """Before the producer is opened. LostPosition where its connector can't take over another system's records."""
        if not inherited:
            return
        if isinstance(producer, SupportsSuccession):
            for one in inherited:
                if one.former:
                    producer.succeed(one.data_type, one.former)
        if isinstance(producer, SupportsTakeover):
            producer.take_over({one.data_type: one.floor for one in inherited})
        elif not isinstance(producer, SupportsState):
            moved = ", ".join(one.data_type for one in inherited if one.former)
            if moved:
                raise LostPosition(
                    f"{self._kind} systems can't take over what another system has published ({moved}): give the map"
                    " another topic_prefix, or teach the connector SupportsTakeover"
                )

    def resnapshot(self, producer: Producer, inherited: Sequence[Inherited]) -> None:
        """After the producer was opened: what it hasn't taken over it publishes again."""
        if inherited and not isinstance(producer, SupportsTakeover):
            producer.resnapshot([one.data_type for one in inherited])

    @property
    def is_check_due(self) -> bool:
        """Whether it is time to `check`."""
        return time.monotonic() - self._compared_at >= _COMPARE_EVERY

    def check(self) -> Mapping[str, TopicFacts]:
        """Compares the topics. TransientError, which starts a new session, when one has changed."""
        self._compared_at = time.monotonic()
        facts = self.facts()
        for data_type, topic in self.topics.items():
            if why := self._ownership.changed(data_type, topic, facts.get(topic)):
                raise TransientError(why, retry_after=_SOON)
        if self.heeds_sizes:
            self._look_at_sizes()  # people raise them, and requeue what was too large
        return facts

    def facts(self) -> Mapping[str, TopicFacts]:
        """What Kafka says of the topics now. TransientError."""
        return topic_facts(self._admin, self.topics.values())

    def stored_ends(self) -> dict[str, Sequence[int]]:
        """Topic -> where it ended when the position was stored; without those that are published anew."""
        ends = self._ownership.ends
        return {topic: ends[topic] for name, topic in self.topics.items() if topic in ends and name not in self._anew}

    def diverged(self, topic: str, why: str) -> None:
        """The next session publishes this topic's records anew."""
        self._diverged[topic] = why

    def version(self, data_type: str) -> int:
        """The highest version that was given to a record."""
        return self._ownership.version(data_type)

    def published(self, data_type: str, version: int) -> None:
        """A version was given to a record."""
        self._ownership.took(data_type, version)

    def stored(self, position: Position) -> Position:
        """The producer's position with what is owned."""
        return self._ownership.stored(position)

    def _look_at_sizes(self) -> None:
        topics = [*self.topics.values(), *map(self.names.dead_letters, self.topics)]
        try:
            found = settings_of(self._admin, topics)
        except (TransientError, AuthError) as error:
            if self.heeds_sizes:
                raise
            _log.debug("how large messages may be isn't known: %s", error)
            return
        self.largest.update({topic: int(config["max.message.bytes"]) for topic, config in found.items()})

    def _beating(self, published: Iterable[PublishedState]) -> Iterator[PublishedState]:
        for count, record in enumerate(published):
            if count % 1000 == 0:
                self._health.beat()
            yield record
