"""The names of topics, groups and transactions, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Names:
    """Every name that a map gives things in Kafka; `prefix` keeps maps that share a cluster apart."""

    prefix: str = ""

    def topic(self, data_type: str) -> str:
        """The change events of a data type."""
        return f"{self.prefix}{data_type}"

    def subject(self, data_type: str) -> str:
        """The registry's subject of a data type's change events (TopicNameStrategy)."""
        return f"{self.topic(data_type)}-value"

    def dead_letters(self, data_type: str) -> str:
        """The records of a data type that could not pass."""
        return f"{self.prefix}{data_type}.dlq"

    def requeue(self, flow: str) -> str:
        """Dead letters on their way back to one flow alone."""
        return f"{self.prefix}{flow}.requeue"

    def inbox(self, system: str) -> str:
        """What a system's webhooks said, until its producer has looked it up."""
        return f"{self.prefix}{system}.inbox"

    @property
    def positions(self) -> str:
        """Where each producer goes on; key = system."""
        return f"{self.prefix}sorbus.positions"

    @property
    def status(self) -> str:
        """How each process is; key = process and instance."""
        return f"{self.prefix}sorbus.status"

    @property
    def requests(self) -> str:
        """What people ask of producers; key = system."""
        return f"{self.prefix}sorbus.requests"

    def group(self, flow: str) -> str:
        """The consumer group of a flow."""
        return f"{self.prefix}sorbus.{flow}"

    def transactional_id(self, system: str) -> str:
        """Fences a second producer of the same system."""
        return f"{self.prefix}sorbus.{system}"
