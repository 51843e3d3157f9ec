"""A data type's `source:` when its system of record is a PostgreSQL database."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Child(BaseModel):
    """A table whose rows are the items of a list field, such as an order's lines."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str
    parent: list[str] = Field(min_length=1, description="Its columns that hold the record's key, in the key's order.")
    order: list[str] = Field(default=[], description="What its rows are sorted by; default: its primary key.")


class PostgresSource(BaseModel):
    """Where in the database a data type's records are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str = Field(description="SCHEMA.TABLE; the schema is public if left out.")
    key: list[str] = Field(default=[], description="The columns that name a record; default: the primary key.")
    children: dict[str, Child] = Field(default={}, description="List field -> the table of its items.")
