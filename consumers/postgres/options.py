"""A flow's `target:` when the target is a PostgreSQL database."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ChildTarget(BaseModel):
    """A table that takes the items of a list field, one row each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str
    parent: str = Field(default="parent_id", description="The column that takes the record's id.")
    position: str | None = Field(default="position", description="The column that takes the item's place, from 1.")


class PostgresTarget(BaseModel):
    """Where a data type goes. Sorbus makes the table unless it is `existing`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str = Field(description="SCHEMA.TABLE; the schema is public if left out.")
    existing: bool = Field(default=False, description="The table is managed elsewhere: Sorbus only writes rows.")
    creates: bool = Field(
        default=True,
        description="False, with existing: only rows that are there are written, since another system decides which"
        " there are.",
    )
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
    children: dict[str, ChildTarget] = Field(default={}, description="List field -> the table of its items.")
    deleted_column: str = Field(
        default="sorbus_deleted_at", description="With soft deletes: the timestamptz column that says since when."
    )

    @model_validator(mode="after")
    def _own_tables(self) -> Self:
        names = [self.table, *(child.table for child in self.children.values())]
        if len(set(names)) != len(names):
            raise ValueError(f"the tables {', '.join(names)} must differ")
        if not self.existing and any(child.position is None for child in self.children.values()):
            raise ValueError(
                "position: null is for existing tables; those that Sorbus makes have a place for each item"
            )
        if not self.creates and (not self.existing or self.children):
            raise ValueError("creates: false is for an existing table without children")
        return self
