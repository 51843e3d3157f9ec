"""A data type's `source:` when its system of record is a directory."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sorbus.producers.http.options import HttpSource, Recurring, Schedule
from sorbus.timing.duration import parse_duration


class LdapSource(BaseModel):
    """Which entries of the directory a data type's records are, and how often to look."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resource: str = Field(min_length=1, description="The object class of its entries, such as inetOrgPerson.")
    base: str = Field(default="", description="The entry below which they are; default: the connection's.")
    scope: Literal["subtree", "one"] = Field(
        default="subtree", description="Whether entries count at any depth below base, or right below it."
    )
    filter: str = Field(default="", description="Which entries, besides their class: (employeeType=staff).")
    key: str = Field(
        default="",
        description="The attribute that identifies a record, such as employeeNumber; default: the entry's identity,"
        " which renames keep.",
    )
    multi_valued: tuple[str, ...] = Field(
        default=(), description="Attributes that rules are given as lists; a list field is given one in any case."
    )
    references: dict[str, str] = Field(
        default={},
        description="Attribute that holds DNs -> the attribute of the entry named that is given in its place:"
        " manager: entryUUID.",
    )
    dangling: Literal["reject", "drop"] = Field(
        default="reject",
        description="What to do with an entry whose reference names no entry: dead letter, or leave the reference out.",
    )
    changes: Literal["auto", "poll"] = Field(
        default="auto",
        description="auto: the server says at once what changed, where it can (RFC 4533); poll: it is only asked.",
    )
    every: Recurring = Field(
        default="every 30s", description="How often it is asked what has changed: every 30s, or cron 0 2 * * *."
    )
    compare: Schedule = Field(
        default="every 1d",
        description="How often all entries are listed, to find deletes and what was missed; or never.",
    )
    overlap: str = Field(
        default="2m",
        description="How far before the newest change a poll begins: as late as a replica may show an older one.",
    )
    max_deletes: int | None = Field(
        default=None,
        ge=0,
        description="Most entries that may be missing at once before a person has to confirm that they are deleted"
        " (`sorbus drift`); default: a tenth of all, at least 2.",
    )
    may_vanish: bool = Field(
        default=False, description="Believe every list, however many entries it lacks; otherwise a person is asked."
    )

    @field_validator("overlap")
    @classmethod
    def _duration(cls, text: str) -> str:
        parse_duration(text)
        return text

    @property
    def overlaps(self) -> timedelta:
        """The overlap."""
        return timedelta(seconds=parse_duration(self.overlap))

    def polled(self) -> HttpSource:
        """What of it concerns the polls."""
        return HttpSource(
            resource=self.resource,
            every=self.every,
            compare=self.compare,
            max_deletes=self.max_deletes,
            may_vanish=self.may_vanish,
        )
