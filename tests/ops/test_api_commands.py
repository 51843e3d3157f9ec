"""`sorbus api`: what there is, whether a description agrees with the vendor's file, one record raw and canonical."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sorbus.http_api.json_schema import json_schema
from sorbus.state import State, migrate
from tests.commands import type_command
from tests.http_api.applications import Asked, Reply, answering, as_json

SCHEMA = Path(__file__).parents[2] / "docs" / "api.schema.json"


def run(*arguments: str) -> tuple[int, str]:
    result = type_command("api", *arguments)
    return result.exit_code, result.output


def test_the_schema_in_docs_is_the_models_own() -> None:
    assert json.loads(SCHEMA.read_text("utf-8")) == json_schema(), "run: sorbus api schema -o docs/api.schema.json"


def test_the_shipped_descriptions_are_listed_with_their_resources() -> None:
    code, output = run("list", "--json")
    assert code == 0
    assert {each["api"]: each["resources"] for each in json.loads(output)}["zendesk"] == [
        "users",
        "organizations",
        "tickets",
    ]
    assert "HubSpot" in run("list")[1]


def test_a_description_is_shown_with_its_credentials_and_fields() -> None:
    code, output = run("show", "zendesk")
    assert code == 0
    for part in ("EMAIL/token", "200 in 60 s", "organizations: list", "external_id", "at most 255"):
        assert part in output
    assert json.loads(run("show", "zendesk", "--json")[1])["api"] == "zendesk"


def test_a_check_says_what_agrees_and_fails_with_what_does_not(tmp_path: Path) -> None:
    answers = {"200": {"content": {"application/json": {"schema": {"properties": {"id": {"type": "string"}}}}}}}
    spec = tmp_path / "openapi.json"
    spec.write_text(json.dumps({"openapi": "3.0.0", "paths": {"/orders/{id}": {"get": {"responses": answers}}}}))
    own = tmp_path / "own.yaml"
    text = "api: own\ntitle: Own\nresources:\n  orders:\n    get: {path: '/orders/{id}'}\n    fields:\n      id: {}\n"
    own.write_text(text, "utf-8")
    code, said = run("check", str(own))
    assert (code, said.splitlines()[0]) == (0, "Own: 1 resources, no problems found")
    assert "does it answer 200 to a rejected request" in said
    own.write_text(text.replace("get: {path: '/orders/{id}'}", "list: {path: /orders}"), "utf-8")
    assert "orders: nothing says how its list is paged" in run("check", str(own))[1]
    own.write_text(text, "utf-8")
    code, said = run("check", str(own), "--spec", str(spec))
    assert (code, said.splitlines()[0]) == (0, "Own: 1 requests and 1 fields agree with openapi.json")
    own.write_text(text + "      name: {}\n", "utf-8")
    code, output = run("check", str(own), "--spec", str(spec))
    assert code == 1
    assert f"{own}:8: /orders/{{id}} answers no name" in output
    [found] = json.loads(run("check", str(own), "--spec", str(spec), "--json")[1])["findings"]
    assert (found["line"], found["code"]) == (8, "unknown-field")


def test_an_application_with_a_hook_has_no_requests_to_compare(tmp_path: Path) -> None:
    spec = tmp_path / "openapi.json"
    spec.write_text('{"paths": {}}', "utf-8")
    code, output = run("check", "tryton", "--spec", str(spec))
    assert code == 2
    assert "TrytonApi" in output


@pytest.mark.parametrize(
    ("about", "record", "said"),
    [
        ("updated: changed", {"changed": "30.11.2026 18:14:59"}, "that is not iso: each becomes a dead letter"),
        ("updated: [changed, made]", {"made": "2026-11-30T18:14:59Z"}, None),
        ("updated: changed", {"changed": None}, "have no update time"),
        ("updated_format: iso", {"id": None}, "have no id at id"),
        ("updated_format: iso", {}, "the list says that there are more, but not where"),
    ],
)
def test_trying_says_what_polls_would_suffer_from(
    tmp_path: Path,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    about: str,
    record: dict[str, object],
    said: str | None,
) -> None:
    monkeypatch.setenv("SORBUS_DATABASE", database)
    pages = 4 if said and "more" in said else 1
    rows = [{"id": number, **record} for number in range(3)]
    own = f"api: own\ntitle: Own\nresources:\n  orders:\n    {about}\n"
    own += "    list: {path: /orders, records: result.items}\n"
    (tmp_path / "own.yaml").write_text(own + "    fields: {id: {}, changed: {}, made: {}}\n", "utf-8")
    with answering(lambda asked: as_json(200, {"result": {"items": rows, "pages": pages}})) as (url, _):
        text = f"systems:\n  shop: {{kind: http, connection: {{api: own.yaml, base_url: '{url}'}}}}\n"
        text += "data_types: {order: {system_of_record: shop, source: {resource: orders}}}\n"
        (tmp_path / "map.yaml").write_text(text, "utf-8")
        output = type_command("--map", str(tmp_path / "map.yaml"), "api", "try", "shop", "orders", "--json").output
    warnings = json.loads(output)["warnings"]
    assert [said in one for one in warnings] == [True] if said else warnings == []


PROJECT = {"id": 7, "name": "Roof", "identifier": "roof", "status": 5, "created_on": "2026-11-24T02:00:00Z"}
MAP = """\
systems:
  desk: {kind: http, connection: {api: redmine, base_url: URL, api_key: k-secret}}
data_types:
  project: {system_of_record: desk, source: {resource: projects}}
lookups:
  state: {"1": ACTIVE, "5": COMPLETED}
"""
SHEET = """\
Source System,Source Field,Target System,Target Field,Rule
desk,projects.name,canonical,project.name,
desk,projects.status,canonical,project.status,"value | text | lookup(""state"")"
"""


def test_a_record_is_shown_raw_and_canonical(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def redmine(asked: Asked) -> Reply:
        if asked.path.startswith("/projects.json"):
            return as_json(200, {"projects": [PROJECT], "total_count": 1})
        return as_json(200, {"project": PROJECT}) if asked.path == "/projects/7.json" else as_json(404, {})

    monkeypatch.setenv("SORBUS_DATABASE", database)
    state = State(database)
    migrate(state)
    state.close()
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "desk.csv").write_text(SHEET, "utf-8")
    with answering(redmine) as (url, asked):
        (tmp_path / "map.yaml").write_text(MAP.replace("URL", url), "utf-8")

        def tried(*more: str) -> tuple[int, str]:
            arguments = ["--map", str(tmp_path / "map.yaml"), "api", "try", "desk", "projects", *more]
            result = type_command(*arguments)
            return result.exit_code, result.output

        code, output = tried("--id", "7", "--json")
        assert code == 0, output
        shown = json.loads(output)
        assert shown["raw"] == PROJECT
        assert (shown["data_type"], shown["canonical"]["status"]) == ("project", "COMPLETED")
        assert "COMPLETED" in tried()[1]
        code, output = tried("--id", "8")
        assert (code, "has no record 8" in output) == (1, True)
    assert {each.method for each in asked} == {"GET"}
