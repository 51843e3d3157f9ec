"""A flow's `target:` when it writes a topic for other consumers."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

_TOPIC = r"[A-Za-z0-9._-]{1,249}"


def _whole_topic(name: str) -> str:
    if not re.fullmatch(_TOPIC, name) or name.endswith("."):
        raise ValueError(f"{name!r} is no topic's name: write letters, digits, dots, - and _, and no dot at the end")
    return name


class KafkaTarget(BaseModel):
    """The topic that a data type's records go to, and how they are written there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    topic: Annotated[str, AfterValidator(_whole_topic)] = Field(
        description="The topic, such as erp.public.customers. `sorbus apply` makes it, compacted."
    )
    format: Literal["debezium", "flat"] = Field(
        default="debezium",
        description="debezium: before, after, op and source, as Debezium's connectors write them. flat: the record's"
        " fields alone, and a tombstone for a delete, as any sink connector reads them.",
    )
    encoding: Literal["avro", "connect-json", "json"] = Field(
        default="connect-json",
        description="connect-json: with its schema in each message (JsonConverter). avro: with a registry"
        " (AvroConverter). json: without a schema; decimals are text, and in flat so are dates and times.",
    )
    key: str = Field(default="id", min_length=1, description="The key's only field. It holds the record's id.")
    key_type: Literal["string", "int64"] = Field(
        default="string", description="The key's type; int64: a record whose id is no whole number is refused."
    )
    timestamps: Literal["text", "micros", "millis"] = Field(
        default="text",
        description="text: 2026-12-31T12:00:00.123456Z (io.debezium.time.ZonedTimestamp). micros:"
        " io.debezium.time.MicroTimestamp. millis: Kafka Connect's Timestamp; a record with microseconds is refused.",
    )
    nested: Literal["json", "omit"] = Field(
        default="json", description="Lists, maps and records in a record: as JSON text, or left out."
    )
    types: dict[str, str] = Field(
        default={},
        description="Types of fields that a rule fills, where the rule doesn't tell: {amount: decimal(12,2)}.",
    )
    partitions: int = Field(default=1, ge=1, le=1000, description="Of a topic that `sorbus apply` makes.")

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if self.key in self.types:
            raise ValueError(f"`types` names {self.key}, which is the key: its type is `key_type`")
        return self

    @property
    def resource(self) -> str:
        """How mapping sheets name it: the topic's last part, CUSTOMERS of erp.public.customers."""
        return self.topic.rpartition(".")[2]
