"""A Kafka cluster that a map names: Sorbus's own, or another one."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from sorbus.settings import KafkaConfig, Settings


class KafkaConnection(BaseModel):
    """A Kafka cluster and its registry; without keys, those that Sorbus uses."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    servers: str = Field(default="", description="Bootstrap servers, HOST:PORT,HOST:PORT; default: Sorbus's own Kafka.")
    config: dict[str, SecretStr] = Field(
        default={}, description="librdkafka settings, such as sasl.username; default: none, or Sorbus's own."
    )
    registry: SecretStr = Field(
        default=SecretStr(""), description="Schema registry URL for `encoding: avro`; default: Sorbus's own."
    )
    registry_config: dict[str, SecretStr] = Field(
        default={}, description="How that registry is reached, as SORBUS_REGISTRY_CONFIG says it of Sorbus's own."
    )
    token: str = Field(default="", description="As SORBUS_KAFKA_TOKEN: MODULE:FUNCTION that gives tokens for Kafka.")

    def settings(self) -> Settings:
        """Sorbus's settings with this cluster in place of its own. UsageError where they can't be read."""
        own = Settings()
        config: KafkaConfig = {name: value.get_secret_value() for name, value in self.config.items()}
        cluster: dict[str, object] = (
            {"kafka": self.servers, "kafka_config": config, "kafka_token": self.token} if self.servers else {}
        )
        if not self.servers and config:
            cluster = {"kafka_config": {**own.kafka_config, **config}}
        if registry := self.registry.get_secret_value():
            login = {name: value.get_secret_value() for name, value in self.registry_config.items()}
            cluster |= {"registry": registry, "registry_config": login}
        return own.model_copy(update=cluster)
