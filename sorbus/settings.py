"""Addresses of Kafka, the registry and Sorbus's own database, from SORBUS_... variables, files or .env.

Each variable, such as `SORBUS_KAFKA`, may also be a file of that name in lower case under /run/secrets, as container
engines mount them, or a line of .env in the working folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from sorbus.errors import SorbusError

_MOUNTED = Path("/run/secrets")
_OWNED = {"bootstrap.servers", "group.id", "enable.auto.commit", "enable.auto.offset.store", "key.serializer"}

KafkaConfig = dict[str, str | int | float | bool]
COPIES = "replication.factor"
"""In SORBUS_TOPIC_CONFIG: how many copies of a topic are made."""


class Settings(BaseSettings):
    """Addresses of external services. Any may hold a password, so its repr shows none."""

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
    registry_config: dict[str, str] = Field(
        default={}, repr=False, description="How the registry is reached as JSON: logins and certificates."
    )
    database: str = Field(
        default="postgresql://localhost/sorbus",
        repr=False,
        description="PostgreSQL for Sorbus's own state: crosswalk, review log, findings.",
    )
    kafka_config: KafkaConfig = Field(
        default={}, repr=False, description="Extra librdkafka settings as JSON, such as SASL."
    )
    kafka_token: str = Field(
        default="",
        description="MODULE:FUNCTION that gives tokens for Kafka's OAUTHBEARER login, such as for MSK's IAM.",
    )
    topic_config: dict[str, dict[str, str | None]] = Field(
        default={},
        description="Settings of topics as JSON, by the end of their names or *; null leaves ours out.",
    )

    console_url: str = Field(
        default="", description="Where people reach the console, such as https://sorbus.example.com; for links."
    )

    mail_server: str = Field(default="", description="SMTP server for digests, HOST:PORT.")
    mail_from: str = Field(default="", description="From address of mail.")
    mail_user: str = Field(default="", description="The mail server's user; empty: without a login.")
    mail_password: SecretStr = Field(default=SecretStr(""), repr=False, description="The user's password.")
    mail_password_file: Path | None = Field(default=None, description="The file with the password, instead.")
    mail_tls: Literal["starttls", "implicit", "off"] = Field(
        default="starttls", description="starttls (port 587), implicit (465), or off (a relay on this machine)."
    )

    def read_mail_password(self) -> str:
        """The mail user's password, from its file if one is named; SorbusError if that can't be read."""
        if self.mail_password_file is None:
            return self.mail_password.get_secret_value()
        try:
            return self.mail_password_file.read_text("utf-8").strip()
        except OSError as error:
            raise SorbusError(f"SORBUS_MAIL_PASSWORD_FILE {self.mail_password_file}: {error.strerror}") from error

    @field_validator("kafka_config")
    @classmethod
    def _leaves_ours_alone(cls, config: KafkaConfig) -> KafkaConfig:
        if taken := sorted(_OWNED & config.keys()):
            raise ValueError(f"{', '.join(taken)} is set by Sorbus; remove it (SORBUS_KAFKA holds Kafka's address)")
        return config

    @field_validator("topic_config")
    @classmethod
    def _keeps_what_is_needed(cls, config: dict[str, dict[str, str | None]]) -> dict[str, dict[str, str | None]]:
        for pattern, settings in config.items():
            if "cleanup.policy" in settings:
                raise ValueError(f"{pattern}: cleanup.policy stays: Sorbus relies on what a topic keeps")
            if not (settings.get(COPIES) or "1").isdigit():
                raise ValueError(f"{pattern}: {COPIES} must be a whole number")
        return config
