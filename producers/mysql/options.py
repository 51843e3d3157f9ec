"""A data type's `source:` when its system of record is a MySQL or MariaDB database."""

from __future__ import annotations

from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, field_validator


class MysqlItems(BaseModel):
    """A table whose rows are the items of a list field, such as an order's lines."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str
    parent: list[str] = Field(min_length=1, description="Its columns that hold the record's key, in the key's order.")
    order: list[str] = Field(default=[], description="What its rows are sorted by; default: its primary key.")


class MysqlSource(BaseModel):
    """Where in the database a data type's records are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str = Field(description="DATABASE.TABLE; the connection's database if left out.")
    key: list[str] = Field(
        default=[], description="The columns that name a record: a unique key never null; default: the primary key."
    )
    children: dict[str, MysqlItems] = Field(default={}, description="List field -> the table of its items.")
    time_zone: str | None = Field(
        default=None, description="Where the clocks are that `datetime` columns show: Europe/Zurich."
    )
    zero_dates: Literal["reject", "null"] = Field(
        default="reject",
        description="0000-00-00 for a date or a timestamp: a dead letter, or no value. Other dates that no calendar has"
        " are always dead letters.",
    )

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str | None) -> str | None:
        if name is not None and name not in available_timezones():
            raise ValueError(f"{name} is no time zone; write it as Europe/Zurich or UTC")
        return name

    @property
    def zone(self) -> ZoneInfo | None:
        return ZoneInfo(self.time_zone) if self.time_zone else None
