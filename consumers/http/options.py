"""A flow's `target:` when the target is an application behind HTTP."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from sorbus.http_api.description import JsonPath


class HttpTarget(BaseModel):
    """Which resource of the application takes a data type, and what is done in doubt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resource: str = Field(description="A resource of the application's description, such as contacts.")
    lists: dict[str, str] = Field(default={}, description="List field -> the resource's list that takes its items.")
    marker: JsonPath | None = Field(
        default=None,
        description="The field that holds our own id of the record; default: the description's, '' for none.",
    )
    on_missing: Literal["recreate", "refuse"] = Field(
        default="recreate", description="When a record that we made or linked was deleted by hand in the application."
    )
    deleted: dict[JsonPath, JsonValue] = Field(
        default={}, description="With soft deletes: the fields that say that a record is deleted, and their values."
    )
    creates: bool = Field(
        default=True,
        description="False: only records that are there are written, by their own ids, since the application itself"
        " decides which there are.",
    )
    shared: bool = Field(
        default=False,
        description="Whether its records may be another data type's, too: this flow then only adds fields to them.",
    )
    indexed: int = Field(
        default=50_000,
        ge=0,
        description="Most records to read in order to match by a field that the application can't search by.",
    )
