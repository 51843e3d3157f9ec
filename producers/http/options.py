"""A data type's `source:` when its system of record is an application behind HTTP."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from sorbus.timing.schedule import Timing, parse_timing

_FIX = "write every 30s (s, m, h or d), or cron 0 2 * * * Europe/London"


def _schedule(text: str) -> str:
    if text != "never" and parse_timing(text).is_real_time:
        raise ValueError(f"{text!r}: an application can only be asked now and then; {_FIX}")
    return text


def _recurring(text: str) -> str:
    if text == "never":
        raise ValueError(f"'never': who is never asked tells nothing; {_FIX}")
    return _schedule(text)


Recurring = Annotated[str, AfterValidator(_recurring)]
"""A schedule by which a system is asked."""
Schedule = Annotated[str, AfterValidator(_schedule)]
"""The same, or never."""


class HttpSource(BaseModel):
    """Where in the application a data type's records are, and how often to look."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resource: str = Field(description="A resource of the application's description, such as contacts.")
    every: Recurring = Field(
        default="every 1m", description="How often it is asked what has changed: every 30s, or cron 0 2 * * *."
    )
    compare: Schedule = Field(
        default="every 1d",
        description="How often all records are listed, to find deletes and what was missed; or never.",
    )
    lists: dict[str, str] = Field(default={}, description="List field -> the list inside the record: lines: LineItems.")
    max_deletes: int | None = Field(
        default=None,
        ge=0,
        description="Most records that may be missing from one list before a person has to confirm that they are"
        " deleted (`sorbus drift`); default: a tenth of all, at least 2.",
    )
    may_vanish: bool = Field(
        default=False, description="Believe every list, however many records it lacks; otherwise a person is asked."
    )

    @property
    def polls(self) -> Timing:
        """When to ask for changes."""
        return parse_timing(self.every)

    @property
    def compares(self) -> Timing | None:
        """When to list all records; None: never, but for the first time."""
        return None if self.compare == "never" else parse_timing(self.compare)

    @property
    def resources(self) -> dict[str, str]:
        """Which resource holds which part, as mapping sheets name them: `invoices`, `invoices.LineItems`."""
        return {"": self.resource, **{name: f"{self.resource}.{inside}" for name, inside in self.lists.items()}}
