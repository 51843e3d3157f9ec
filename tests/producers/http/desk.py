"""A map whose system of record is the faulty application, with its topics: `Shop` for what is behind HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from sorbus.schema import AvroType
from sorbus.settings import Settings
from tests.http_api.faulty import Faulty
from tests.producers.shop import Record, Shop

CONTACT: list[AvroType] = [
    {"name": "name", "type": "string"},
    {"name": "email", "type": ["null", "string"]},
    {"name": "amount", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}]},
    {"name": "city", "type": ["null", "string"]},
]
LINE: AvroType = {
    "type": "record",
    "name": "contact_line",
    "fields": [{"name": "text", "type": "string"}, {"name": "count", "type": ["null", "long"]}],
}
WITH_LINES: list[AvroType] = [*CONTACT, {"name": "items", "type": {"type": "array", "items": LINE}}]


class Desk(Shop):
    """`shop` is the faulty application; `state` is where rate limits are kept."""

    def __init__(self, folder: Path, dsn: str, prefix: str, settings: Settings, faulty: Faulty) -> None:
        super().__init__(folder, dsn, prefix, settings)
        self.faulty = faulty

    def poll(
        self,
        resource: str = "contacts",
        *,
        fields: list[AvroType] | None = None,
        sheet: str = "",
        description: Mapping[str, object] | None = None,
        connection: Mapping[str, object] | None = None,
        system: Mapping[str, object] | None = None,
        **source: object,
    ) -> None:
        """Writes the map, contacts being polled every second, and makes topics and state."""
        (self.folder / "schemas").mkdir(exist_ok=True)
        schema = {"type": "record", "name": "contact", "fields": fields or CONTACT}
        (self.folder / "schemas" / "contact.avsc").write_text(json.dumps(schema))
        self.faulty.describe(self.folder, **(description or {}))
        written = {
            "company": "Test",
            "topic_prefix": self.prefix,
            "systems": {
                "shop": {
                    "kind": "http",
                    "connection": {
                        "api": "./faulty.yaml",
                        "base_url": self.faulty.base_url,
                        "api_key": "${DESK_API_KEY}",
                        **(connection or {}),
                    },
                    **(system or {}),
                }
            },
            "data_types": {
                "contact": {
                    "system_of_record": "shop",
                    "partitions": 2,
                    "source": {"resource": resource, "every": "every 1s", **source},
                }
            },
        }
        (self.folder / "map.yaml").write_text(json.dumps(written, indent=1))
        (self.folder / "mappings").mkdir(exist_ok=True)
        head = "Source System;Source Field;Target System;Target Field;Rule\n"
        (self.folder / "mappings" / "shop.csv").write_text(head + sheet)
        self.apply()

    def there(self) -> dict[str, Record | None]:
        """What the topic has to end on."""
        from decimal import Decimal

        return {
            id: {
                "name": one["name"],
                "email": one["email"],
                "amount": None if one["amount"] is None else Decimal(str(one["amount"])),
                "city": one["city"],
            }
            for id, one in self.faulty.contacts().items()
        }
