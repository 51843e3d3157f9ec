"""What a merge is told: made of the map's two-way flows (`sorbus.two_way.expand`), never written by people."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from sorbus.timing.duration import parse_duration
from sorbus.two_way.rules import Merge, MergeRules


def _duration(text: str) -> str:
    parse_duration(text)
    return text


class MergeConnection(BaseModel):
    """A merge connects to nothing but Kafka and Sorbus's own database."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MergeSource(BaseModel):
    """The systems of one data type, and whose change of which field counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system_of_record: str
    proposes: dict[str, list[str]]
    owners: dict[str, str] = {}
    merges: dict[str, Merge] = {}
    tolerance: Annotated[str, AfterValidator(_duration)] = "5s"
    flows: dict[str, str] = {}
    """System -> the flow that delivers to it."""

    def rules(self, joined: Collection[str] | None = None) -> MergeRules:
        """The same, as the merge applies them to the systems that are joined; None: to all."""
        return MergeRules(
            self.system_of_record,
            {
                system: frozenset(fields)
                for system, fields in self.proposes.items()
                if joined is None or system in joined
            },
            self.owners,
            self.merges,
            int(parse_duration(self.tolerance) * 1_000_000),
        )
