"""Values that can't be converted are told with their record, unless they are about a person."""

from __future__ import annotations

import json
from pathlib import Path

from sorbus.map.load import load_map
from sorbus.ops.checklists.sheets.target_fields import RecordReader, manual_flow
from sorbus.schema import parse_schema
from tests.consumers.gadgets import Writer

TYPE = {
    "type": "record",
    "name": "gadget",
    "fields": [
        {"name": "maker", "type": ["null", "string"], "default": None, "tags": ["personal"]},
        {"name": "origin", "type": ["null", "string"], "default": None},
    ],
}
MAP = """
systems:
  crm: {kind: postgres, connection: {dsn: x}}
  book: {kind: spreadsheet}
data_types:
  gadget: {system_of_record: crm, source: {table: gadgets}}
flows:
  - data_type: gadget
    to: book
    manual: {checklist: [Type.], schedule: on demand, responsible: Ann, verification: Count.}
"""
SHEET = """Source System,Source Field,Target System,Target Field,Rule,Notes
canonical,gadget.maker,book,prices.maker,value | country,
canonical,gadget.origin,book,prices.origin,value | country,
"""


def test_a_personal_value_is_not_in_the_reason(tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text(MAP)
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "gadget.avsc").write_text(json.dumps(TYPE))
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "book.csv").write_text(SHEET)
    loaded = load_map(tmp_path / "map.yaml")
    reader, writer = RecordReader(manual_flow(loaded, loaded.map.flows[0])), Writer(parse_schema(json.dumps(TYPE)))

    named = reader.read(writer.delivery("1", 1, {"maker": None, "origin": "Ruritania"}))
    hidden = reader.read(writer.delivery("2", 2, {"maker": "Ann Lee of Ruritania", "origin": None}))

    assert "Ruritania" in named.error
    assert "field maker: its value, which is personal, can't be converted" in hidden.error
    assert "Ann" not in hidden.error
