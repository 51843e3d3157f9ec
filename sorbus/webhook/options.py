"""A flow's `target:` when its changes are posted to a webhook."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from sorbus.http_api.description import Duration


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
