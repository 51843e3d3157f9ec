"""A target that finds rows by its key alone: `match:` does nothing there, and map check says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sorbus.map.checks.unmatched import unmatched
from sorbus.map.load import load_map


@pytest.mark.parametrize(
    ("match", "flow", "is_noted"),
    [
        (["email"], {"target": {"table": "debtors", "existing": True}}, True),
        ([], {"target": {"table": "debtors", "existing": True}}, False),
        (["email"], {"target": {"table": "debtors"}}, False),
        (["email"], {"none": "too few"}, False),
    ],
)
def test_a_match_that_nothing_uses_is_noted(
    tmp_path: Path, match: list[str], flow: dict[str, object], is_noted: bool
) -> None:
    systems = {name: {"kind": "postgres", "connection": {"dsn": "dbname=x"}} for name in ("crm", "books")}
    owned = {"customer": {"system_of_record": "crm", "source": {"table": "customers"}, "match": match}}
    flows = [{"data_type": "customer", "to": "books", **flow}]
    written = {"company": "Test", "systems": systems, "data_types": owned, "flows": flows}
    tmp_path.joinpath("map.yaml").write_text(json.dumps(written))
    notes = unmatched(load_map(tmp_path / "map.yaml"))
    assert [note.partition(":")[0] for note in notes] == (["customer-to-books"] if is_noted else [])
