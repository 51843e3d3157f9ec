"""Reading a map: every fault at once, with its line and the fix, and no secret in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sorbus.errors import Finding, MapError, SchemaError
from sorbus.map.load import load_map

Write = Callable[..., Path]
Findings = Callable[..., list[Finding]]

SYSTEMS = """
systems:
  crm: {kind: postgres, connection: {dsn: "${CRM_DSN}"}}
  erp: {kind: postgres, connection: {dsn: "${ERP_DSN}"}}
"""
CUSTOMER = """
data_types:
  customer:
    system_of_record: crm
    source: {table: customers}
flows:
  - {data_type: customer, to: erp, target: {table: partners}}
"""


def _found(findings: Findings, text: str) -> list[tuple[int, str, str, str]]:
    return [(found.line, found.code, found.message, found.fix) for found in findings(text)]


def test_a_sound_map_is_bound_with_its_secrets(write_map: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_DSN", "dbname=crm")
    monkeypatch.setenv("ERP_DSN", "dbname=erp")
    rows = "crm,customers.n,canonical,customer.name,value | trim,\ncanonical,customer.name,erp,partners.n,,\n"

    loaded = load_map(write_map(SYSTEMS + CUSTOMER, rows))

    assert loaded.system("crm").connection.model_dump()["dsn"].get_secret_value() == "dbname=crm"
    [source] = loaded.sources("crm")
    assert (source.name, source.schema.name, len(source.mapping)) == ("customer", "customer", 1)
    flow = loaded.flow("customer-to-erp")
    assert (flow.system.name, [row.target_field for row in flow.mapping]) == ("erp", ["partners.n"])
    assert loaded.line("flows", 0, "to") == 11


def test_all_faults_of_a_map_are_found_at_once(findings_of: Findings) -> None:
    text = """
company: acme
compny: acme
systems:
  CRM: {kind: postgres}
  shop:
    kind: 5
    conection: {}
data_types:
  customer: {system_of_record: shop}
  customer: {}
flows:
  - {data_type: customer, direction: both-ways}
  - nope
lookups:
  status: {a: 01, b: x}
  kind: {a: {b: c}}
"""

    # A double key is told with the rest: nothing hides anything else.
    assert _found(findings_of, text) == [
        (3, "unknown-key", "unknown key 'compny'", "did you mean company?"),
        (
            5,
            "bad-name",
            "systems.CRM: 'CRM' can't be a name",
            "write crm: begin with a small letter; then small letters, digits, - and _ (63 at most)",
        ),
        (7, "bad-value", "systems.shop.kind must be text", "write it in quotes"),
        (8, "unknown-key", "unknown key 'conection' in systems.shop", "did you mean connection?"),
        (11, "double-key", "'customer' is written twice, first in line 10", "delete one"),
        (13, "missing", "flows[1] has no to", "write to: …"),
        (13, "bad-value", "flows[1].direction can't be that", "write 'one-way' or 'two-way'"),
        (14, "bad-value", "flows[2] must be named entries", "write NAME: VALUE lines, indented below it"),
        (16, "bad-value", "lookups.status.a must be text", "write it in quotes"),
        (17, "bad-value", "lookups.kind.a must be text", "write one text in place of what is nested there"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("systems:\n  crm: [1\n", 3, "not valid YAML"),
        ("systems:\n\tcrm: 1\n", 2, "cannot start any token"),
        ("a: \x01\n", 1, "special characters"),
        ("[" * 500, 1, "not valid YAML"),
        ("a: &a [*a]\n", 1, "unfolds into too many parts"),
        ("a: !customs x\n", 1, "the tag !customs is not allowed"),
    ],
)
def test_yaml_that_can_not_be_read_says_where(findings_of: Findings, text: str, line: int, words: str) -> None:
    assert [found.line for found in findings_of(text) if words in found.message] == [line]


def test_a_map_that_is_not_there_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(MapError, match="sorbus init"):
        load_map(tmp_path / "map.yaml")


def test_an_empty_map_says_what_it_needs(findings_of: Findings) -> None:
    assert [found.message for found in findings_of("")] == ["the map has no data_types", "the map has no systems"]


def test_keys_of_a_lookup_table_stay_as_they_are_written(write_map: Write) -> None:
    loaded = load_map(write_map(SYSTEMS + "data_types: {}\nlookups:\n  status: {01: a, no: b, 1.50: c}\n"))

    assert loaded.map.lookups == {"status": {"01": "a", "no": "b", "1.50": "c"}}


def test_an_unset_secret_is_named_with_its_line(write_map: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CRM_DSN", raising=False)

    with pytest.raises(MapError) as refused:
        load_map(write_map(SYSTEMS + CUSTOMER)).system("crm")

    [finding] = refused.value.findings
    assert (finding.line, finding.code) == (3, "unknown-secret")


def test_a_wrong_connection_does_not_show_its_secret(write_map: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_DSN", "hidden")
    systems = 'systems:\n  crm: {kind: postgres, connection: {dsn: ["${CRM_DSN}"], dns: "${CRM_DSN}"}}\n'

    with pytest.raises(MapError) as refused:
        load_map(write_map(systems + "data_types: {}\n")).system("crm")

    assert [(found.line, found.code) for found in refused.value.findings] == [(2, "bad-value"), (2, "unknown-key")]
    assert "hidden" not in str(refused.value)


def test_a_schema_beside_the_map_comes_before_the_packaged_one(write_map: Write) -> None:
    path = write_map(SYSTEMS + CUSTOMER)
    (path.parent / "schemas").mkdir()
    own = '{"type": "record", "name": "customer", "fields": [{"name": "nick", "type": "string"}]}'
    (path.parent / "schemas" / "customer.avsc").write_text(own)

    assert [field.name for field in load_map(path).schema("customer").fields] == ["nick"]


@pytest.mark.parametrize("name", ["custommer", "../map/x"])
def test_an_unknown_schema_is_named_with_the_closest(write_map: Write, name: str) -> None:
    loaded = load_map(write_map(SYSTEMS + f"data_types:\n  client: {{schema: {name}}}\n"))

    with pytest.raises(SchemaError, match="no schema is called"):
        loaded.schema("client")


@given(st.text(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_map_or_a_map_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(text, "utf-8", errors="replace")

    with pytest.raises(MapError):
        load_map(path)
