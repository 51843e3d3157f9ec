"""What `map check` says of required fields, defaults, conditions, time limits and references."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from sorbus.map.checks.check import check
from sorbus.map.load import load_map

HEAD = ("Source System", "Source Field", "Target System", "Target Field", "Rule")
SCHEMA = {
    "type": "record",
    "name": "bill",
    "fields": [{"name": "number", "type": "string"}, {"name": "customer_id", "type": "long"}],
}


def findings(folder: Path, flow: dict[str, object], rule: str = "") -> dict[str, str]:
    """Code -> message and fix, for a map with one flow of bills into an application that also gets customers."""
    postgres = {"kind": "postgres", "connection": {"dsn": "${DSN}"}, "owner": "Sales"}
    data_types = {
        name: {"system_of_record": "crm", "schema": schema, "source": {"table": name}}
        for name, schema in (("bill", "bill"), ("customer", "customer"), ("product", "product"))
    }
    flows = [{"data_type": "bill", "to": "books", "target": {"table": "bills"}, **flow}]
    flows.append({"data_type": "customer", "to": "books", "target": {"table": "customers"}})
    systems = {"crm": postgres, "books": postgres}
    written = {"systems": systems, "data_types": data_types, "flows": flows}
    (folder / "map.yaml").write_text(json.dumps(written, indent=1), "utf-8")
    (folder / "schemas").mkdir()
    (folder / "schemas" / "bill.avsc").write_text(json.dumps(SCHEMA), "utf-8")
    (folder / "mappings").mkdir()
    rows = [("canonical", "bill.number", "books", "bills.number", "")]
    rows.append(("canonical", "bill.customer_id", "books", "bills.customer_id", rule))
    with (folder / "mappings" / "sheet.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEAD, *rows])
    return {found.code: f"{found.message}; {found.fix}" for found in check(load_map(folder / "map.yaml"))}


@pytest.mark.parametrize(
    ("flow", "rule", "code", "words"),
    [
        ({"required": ["nmber"], "on_incomplete": "hold"}, "", "unknown-field", "did you mean number?"),
        ({"required": ["number"]}, "", "unused-required", "write on_incomplete: hold"),
        ({"on_incomplete": "default"}, "", "no-default", "gives no default"),
        ({"defaults": {"number": "1"}}, "", "unused-default", "write on_incomplete: default"),
        ({"on_incomplete": "default", "defaults": {"customer_id": "x"}}, "", "bad-value", "the default of customer_id"),
        ({"wait_limit": "soon"}, "", "bad-duration", "write 30s, 5m, 2h or 1d"),
        ({"where": "numbr == 1", "on_leave": "keep"}, "", "bad-condition", "did you mean number?"),
        ({"where": "number", "on_leave": "keep"}, "", "bad-condition", "isn't true or false"),
        ({"where": 'number == "1"'}, "", "no-on-leave", "add on_leave: delete"),
        ({"on_leave": "keep"}, "", "unused-on-leave", "add where: CONDITION"),
        (
            {"where": 'number == "1"', "on_leave": "delete", "deletes": "ignore"},
            "",
            "ignored-on-leave",
            "on_leave: keep",
        ),
        ({}, 'value | id_in("custmer")', "unknown-data-type", "did you mean customer?"),
        ({}, 'value | id_in("product")', "no-reference", "no flow brings product to books"),
    ],
)
def test_what_is_wrong_is_said_with_its_cure(
    flow: dict[str, object], rule: str, code: str, words: str, tmp_path: Path
) -> None:
    found = findings(tmp_path, flow, rule)
    assert found.keys() == {code}
    assert words in found[code]


def test_what_is_right_is_not_mentioned(tmp_path: Path) -> None:
    flow = {"on_incomplete": "default", "required": ["number"], "defaults": {"number": "none"}, "wait_limit": "2h"}
    assert findings(tmp_path, flow, 'value | id_in("customer")') == {}
