"""A flow's `target:` and a data type's `source:` when they are webhooks."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from sorbus.http_api.description import ApiField, Duration, JsonPath, Moment


def _several(written: object) -> object:
    return (written,) if isinstance(written, str) else written


def _path(text: str) -> str:
    if re.search(r"[\s\\#]", text) or "//" in text or ".." in text.split("/"):
        raise ValueError(f"{text!r}: write what follows the connection's url, such as customers")
    return text.strip("/")


def _wait(given: timedelta) -> timedelta:
    if not timedelta(seconds=1) <= given <= timedelta(minutes=2):
        raise ValueError("write 1s to 2m: a receiver that takes longer should answer first and work afterwards")
    return given


class WebhookTarget(BaseModel):
    """How changes of a data type are posted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[str, AfterValidator(_path)] = Field(
        default="", description="Appended to the connection's url, where an endpoint has several."
    )
    resource: str = Field(default="record", description="What mapping sheets call the posted data: record.FIELD.")
    timeout: Annotated[Duration, AfterValidator(_wait)] = Field(
        default=timedelta(seconds=15), description="How long an answer may take."
    )
    concurrency: int = Field(
        default=4,
        ge=1,
        le=32,
        description="How many records are posted at the same time; each record's own order is kept.",
    )
    pause_after: Duration = Field(
        default=timedelta(days=3),
        description="When nothing was accepted for so long, the flow pauses itself until a person resumes it.",
    )


class WebhookSource(BaseModel):
    """What a posted record of a data type looks like."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resource: str = Field(default="record", description="What mapping sheets call the posted record: record.FIELD.")
    id: Annotated[tuple[JsonPath, ...], BeforeValidator(_several), Field(min_length=1)] = Field(
        description="The field, or the fields, that identify a record: customer.id."
    )
    records: JsonPath = Field(
        default="", description="Path of the record, or of the list of records, in the body; empty: the body itself."
    )
    updated: JsonPath = Field(
        default="",
        description="When the record was changed: what is older than what is known changes nothing. Without it the"
        " order of arrival counts.",
    )
    updated_format: Moment = Field(default="iso", description="How that is written; without a time zone it is UTC.")
    deleted: dict[JsonPath, str] = Field(
        default={}, description="A record with one of these values is deleted: {status: archived}."
    )
    absent: Literal["refuse", "empty"] = Field(
        default="refuse",
        description="A field that the mapping sheet names and that isn't in the body: refuse the record (the sender may"
        " have sent a part of it), or take it as empty.",
    )
    fields: dict[JsonPath, ApiField] = Field(
        default={}, description="Kinds of fields that JSON doesn't tell: {birthday: {kind: date}}."
    )
    lists: dict[str, JsonPath] = Field(
        default={}, description="List field -> the list inside the record: lines: items."
    )

    @property
    def resources(self) -> dict[str, str]:
        """Which resource holds which part, as mapping sheets name them: `record`, `record.items`."""
        return {"": self.resource, **{name: f"{self.resource}.{inside}" for name, inside in self.lists.items()}}
