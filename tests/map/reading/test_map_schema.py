"""The JSON Schema that editors complete map.yaml with."""

from __future__ import annotations

import json
from pathlib import Path

from sorbus.map.checks.check import json_schema

FILE = Path(__file__).parents[3] / "docs" / "map.schema.json"


def test_the_schema_in_docs_is_the_models_own() -> None:
    assert json.loads(FILE.read_text("utf-8")) == json_schema(), "run: sorbus map schema -o docs/map.schema.json"


def test_the_schema_knows_a_connectors_own_settings() -> None:
    assert "dsn" in json.dumps(json_schema()["$defs"])
