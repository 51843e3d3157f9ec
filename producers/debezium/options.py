"""A data type's `source:` when Debezium writes its changes to a topic."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from sorbus.mapping.filters.moment import zone

_TOPIC = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
_DECIMAL = re.compile(r"decimal\((\d{1,4})\)")
PLACEHOLDER = "__debezium_unavailable_value"
TYPES = {
    "date": "io.debezium.time.Date",
    "millis": "io.debezium.time.Timestamp",
    "micros": "io.debezium.time.MicroTimestamp",
    "nanos": "io.debezium.time.NanoTimestamp",
    "text": "",
}
"""What `types:` may say of a column -> Debezium's name for it."""


def _topic(name: str) -> str:
    if _TOPIC.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no topic's name: write letters, digits, dots, - and _")
    return name


def _zone(name: str) -> str:
    if name:
        zone(name)
    return name


def _types(given: dict[str, str]) -> dict[str, str]:
    for column, kind in given.items():
        if kind not in TYPES and _DECIMAL.fullmatch(kind) is None:
            raise ValueError(f"{column}: {kind!r}: write {', '.join(TYPES)} or decimal(SCALE), such as decimal(2)")
    return given


def _listed(given: object) -> object:
    return [given] if isinstance(given, str) else given


class DebeziumSource(BaseModel):
    """The topic with a table's changes, and what its messages don't say themselves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    topic: Annotated[str, AfterValidator(_topic)] = Field(
        description="The topic that Debezium writes, such as erp.public.customers."
    )
    key: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        default=(), description="The columns that identify a record; default: the message's own key."
    )
    types: Annotated[dict[str, str], AfterValidator(_types)] = Field(
        default={},
        description="What columns hold, where messages come as JSON without a schema: date, millis, micros, nanos,"
        " decimal(2), text.",
    )
    time_zone: Annotated[str, AfterValidator(_zone)] = Field(
        default="", description="Of columns that have a date and a time but no time zone, such as Europe/Zurich."
    )
    unavailable: str = Field(
        default=PLACEHOLDER, min_length=1, description="Debezium's `unavailable.value.placeholder`, if it was changed."
    )

    @property
    def resource(self) -> str:
        """How mapping sheets name it: the topic's last part, customers of erp.public.customers."""
        return self.topic.rpartition(".")[2]

    def scale(self, column: str) -> int | None:
        """Of a column that `types` says is decimal(SCALE)."""
        found = _DECIMAL.fullmatch(self.types.get(column, ""))
        return int(found[1]) if found else None
