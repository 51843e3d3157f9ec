"""What a step's producer is told: the step as written, and which lists its mapping fills from which."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from sorbus.mapfile.model import ProcessStep


class StepConnection(BaseModel):
    """Nothing: a step reads Sorbus's own topics."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StepSource(ProcessStep):
    """A step as its producer needs it."""

    lists: dict[str, str] = Field(default={})
    """List field that it makes -> the list that fills it: one of the record; with `per`, the records themselves."""

    @property
    def resources(self) -> dict[str, str]:
        """Part of what it makes -> what fills it, as mapping sheets name it."""
        return {"": self.source, **{made: f"{self.source}.{read}" for made, read in self.lists.items()}}
