"""Where Kafka, the registry and Sorbus's own database are: from SORBUS_... variables, files or .env.

`SORBUS_KAFKA`, `SORBUS_REGISTRY`, `SORBUS_DATABASE` and `SORBUS_KAFKA_CONFIG`; each may also be a file of that name in
lower case under /run/secrets, as container engines mount them, or a line of .env in the working folder.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_MOUNTED = Path("/run/secrets")
_OWNED = {"bootstrap.servers", "group.id", "enable.auto.commit", "enable.auto.offset.store", "key.serializer"}

KafkaConfig = dict[str, str | int | float | bool]


class Settings(BaseSettings):
    """The outside world's addresses. Passwords may be in any of them, so its text form shows none."""

    model_config = SettingsConfigDict(
        env_prefix="SORBUS_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        secrets_dir=_MOUNTED if _MOUNTED.is_dir() else None,
    )

    kafka: str = Field(default="localhost:9092", repr=False, description="Bootstrap servers, HOST:PORT,HOST:PORT.")
    registry: str = Field(
        default="", repr=False, description="Schema registry URL; empty: Avro single-object encoding with schemas/."
    )
    database: str = Field(
        default="postgresql://localhost/sorbus",
        repr=False,
        description="PostgreSQL for Sorbus's own state: crosswalk, review log, findings.",
    )
    kafka_config: KafkaConfig = Field(
        default={}, repr=False, description="Extra librdkafka settings as JSON, such as SASL."
    )

    console_url: str = Field(
        default="", description="Where people reach the console, such as https://sorbus.example.com; for links."
    )

    @field_validator("kafka_config")
    @classmethod
    def _leaves_ours_alone(cls, config: KafkaConfig) -> KafkaConfig:
        if taken := sorted(_OWNED & config.keys()):
            raise ValueError(
                f"{', '.join(taken)} is set by Sorbus itself; take it out (SORBUS_KAFKA says where Kafka is)"
            )
        return config
