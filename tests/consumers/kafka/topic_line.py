"""A flow of gadgets into a topic for others, brought there by the real loop."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import JsonValue

from sorbus.consumers.kafka.consumer import KafkaConsumer
from tests.conformance.test_kafka import messages
from tests.consumers.line import Line

MAP = """
topic_prefix: {prefix}.
systems:
  crm: {{kind: postgres, connection: {{dsn: "${{CRM_DSN}}"}}, owner: Sales}}
  books: {{kind: kafka, connection: {connection}, owner: Data}}
data_types:
  gadget: {{system_of_record: crm, source: {{table: gadgets}}, partitions: 2}}
flows:
  - {{data_type: gadget, to: books, target: {target}}}
"""


class TopicLine(Line):
    """`target` and `connection`: of the map, in addition to the topic."""

    target: dict[str, object]
    connection_keys: dict[str, object]

    def write_map(self, text: str, prefix: str) -> None:
        self.out = f"{prefix}.out.gadgets"
        target = json.dumps({"topic": self.out, **self.target})
        made = MAP.format(prefix=prefix, target=target, connection=json.dumps(self.connection_keys))
        Path(self.folder / "map.yaml").write_text(made)

    def make_target(self) -> None:
        for step in KafkaConsumer.plan(self.flow):
            if step.apply is not None:
                step.apply()

    def consumer(self) -> KafkaConsumer:
        return KafkaConsumer(self.flow)

    def written(self) -> list[tuple[str, JsonValue]]:
        """Every message of the topic: id and payload, None for a tombstone."""
        found: list[tuple[str, JsonValue]] = []
        for key, value in messages(self.settings.kafka, self.out):
            id = str(json.loads(key)["payload"]["id"])
            found.append((id, None if value is None else json.loads(value)["payload"]))
        return found
