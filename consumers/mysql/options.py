"""A flow's `target:` when the target is a MySQL or MariaDB database."""

from __future__ import annotations

from typing import Self
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class MysqlItemsTarget(BaseModel):
    """A table that takes the items of a list field, one row each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str
    parent: str = Field(default="parent_id", description="The column that takes the record's id.")
    position: str | None = Field(default="position", description="The column that takes the item's place, from 1.")


class MysqlTarget(BaseModel):
    """Where a data type goes. Sorbus makes the table unless it is `existing`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str = Field(description="DATABASE.TABLE; the connection's database if left out.")
    existing: bool = Field(default=False, description="The table is managed elsewhere: Sorbus only writes rows.")
    shared: bool = Field(
        default=False,
        description="Another data type goes into the table too, and their ids never meet: where they do, one record is"
        " left out or overwritten.",
    )
    key: str = Field(default="id", description="The column that takes the record's id; it must be unique.")
    same_ids: bool = Field(
        default=False,
        description="With existing, where the table numbers its rows itself: a row and a record with the same id are"
        " the same. Without it a flow doesn't begin in such a table that has rows already.",
    )
    children: dict[str, MysqlItemsTarget] = Field(default={}, description="List field -> the table of its items.")
    deleted_column: str = Field(
        default="sorbus_deleted_at", description="With soft deletes: the datetime column that says since when (UTC)."
    )
    time_zone: str = Field(default="UTC", description="Where the clocks are that `datetime` columns show.")

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError(f"{name} is no time zone; write it as Europe/Zurich or UTC")
        return name

    @model_validator(mode="after")
    def _own_tables(self) -> Self:
        names = list(self.tables.values())
        if len(set(names)) != len(names):
            raise ValueError(f"the tables {', '.join(names)} must differ")
        if not self.existing and any(child.position is None for child in self.children.values()):
            raise ValueError(
                "position: null is for existing tables; those that Sorbus makes have a place for each item"
            )
        return self

    @property
    def tables(self) -> dict[str, str]:
        """The record's table ("") and each list field's."""
        return {"": self.table, **{name: child.table for name, child in self.children.items()}}
