"""A map whose one system of record, `crm`, is an application behind HTTP with webhooks."""

from __future__ import annotations

import json
from pathlib import Path

from sorbus.map.load import load_map
from sorbus.map.loaded import LoadedMap

NULLABLE = ["null", "string"]
SCHEMA = {
    "type": "record",
    "name": "contact",
    "fields": [
        {"name": "name", "type": "string", "doc": "What it is called."},
        {"name": "email", "type": NULLABLE, "default": None, "doc": "Where it is written to."},
    ],
}


def write_map(
    folder: Path, connection: dict[str, object], *, prefix: str = "", resource: str = "contacts"
) -> LoadedMap:
    """Writes the map. Its data type `contact` is polled once an hour: what comes sooner was told by a webhook."""
    source = {"resource": resource, "every": "every 1h", "compare": "every 1d"}
    document = {
        "company": "Test",
        "topic_prefix": prefix,
        "systems": {"crm": {"kind": "http", "connection": connection}},
        "data_types": {"contact": {"system_of_record": "crm", "partitions": 1, "source": source}},
    }
    (folder / "schemas").mkdir()
    (folder / "mappings").mkdir()
    (folder / "schemas" / "contact.avsc").write_text(json.dumps(SCHEMA))
    (folder / "mappings" / "crm.csv").write_text(
        "Source System,Source Field,Target System,Target Field,Rule,Notes\n"
        f"crm,{resource}.name,canonical,contact.name,,\n"
        f"crm,{resource}.email,canonical,contact.email,,\n"
    )
    (folder / "map.yaml").write_text(json.dumps(document, indent=1))
    return load_map(folder / "map.yaml")
