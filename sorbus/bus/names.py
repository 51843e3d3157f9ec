"""The names of topics, groups and transactions, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Names:
    """Every name that a map uses in Kafka; `prefix` separates maps that share a cluster."""

    prefix: str = ""

    def topic(self, data_type: str) -> str:
        """The change events of a data type."""
        return f"{self.prefix}{data_type}"

    def subject(self, data_type: str) -> str:
        """The registry's subject for a data type's change events (TopicNameStrategy)."""
        return f"{self.topic(data_type)}-value"

    def dead_letters(self, data_type: str) -> str:
        """The records of a data type that could not be delivered."""
        return f"{self.prefix}{data_type}.dlq"

    def requeue(self, flow: str) -> str:
        """Dead letters on their way back to this flow only."""
        return f"{self.prefix}{flow}.requeue"

    def inbox(self, system: str) -> str:
        """Notices of a system's webhooks, until its producer has fetched the records."""
        return f"{self.prefix}{system}.inbox"

    @property
    def positions(self) -> str:
        """Where each producer resumes; key = system."""
        return f"{self.prefix}sorbus.positions"

    @property
    def status(self) -> str:
        """Each process's status; key = process and instance."""
        return f"{self.prefix}sorbus.status"

    @property
    def requests(self) -> str:
        """People's requests to producers; key = system."""
        return f"{self.prefix}sorbus.requests"

    @property
    def schemas(self) -> str:
        """Which schema each schema id stands for; key = id and schema."""
        return f"{self.prefix}sorbus.schemas"

    @property
    def controls(self) -> str:
        """What people tell flows; key = flow."""
        return f"{self.prefix}sorbus.controls"

    def group(self, flow: str) -> str:
        """The consumer group of a flow."""
        return f"{self.prefix}sorbus.{flow}"

    def transactional_id(self, system: str) -> str:
        """Fences a second producer of the same system."""
        return f"{self.prefix}sorbus.{system}"
