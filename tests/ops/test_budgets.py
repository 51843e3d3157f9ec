"""Rate limits and circuits from outside: measured by the watch in the state; the state's step is planned once."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sorbus.http_api.description import Limit
from sorbus.http_api.limits import Limiter
from sorbus.mapfile.model import Map
from sorbus.ops.embedded import Addresses
from sorbus.ops.monitoring.budgets import budgets
from sorbus.ops.monitoring.state_answers import StateAnswers
from sorbus.state import State, migrate

if TYPE_CHECKING:
    from tests.ops.conftest import Sorbus

SYSTEMS = {"accounting": {"kind": "http"}, "crm": {"kind": "postgres"}}


def test_the_watch_sees_the_maps_systems_and_says_where_it_can_not_look(
    database: str, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SORBUS_DATABASE", database)
    company = Map.model_validate({"topic_prefix": unique, "systems": SYSTEMS, "data_types": {}})
    look = budgets(company)
    answers = StateAnswers()
    assert answers.told(look) == (), "the state was not made yet"
    (untold,) = answers.problems(1.0)
    assert "the systems' rate limits" in untold.why
    assert "run `sorbus apply`" in untold.why
    state = State.of(unique)
    migrate(state)
    for system in ("accounting", "one-of-an-older-map"):
        assert Limiter(state, system, [Limit(requests=60, per=timedelta(minutes=1))], flow="a").take(patience=1) == 0.0
    assert [str(budget) for budget in look()] == ["accounting: 60/min; circuit closed"]
    state.close()


def test_a_map_of_databases_needs_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SORBUS_DATABASE", "postgresql://127.0.0.1:1/nothing")
    assert budgets(Map.model_validate({"systems": {"crm": SYSTEMS["crm"]}, "data_types": {}}))() == ()


def test_flows_into_systems_behind_http_plan_the_state_once(
    sorbus: Sorbus, stack: Addresses, make_database: Callable[[str], str], unique: str, tmp_path: Path
) -> None:
    file = tmp_path / "map.yaml"
    file.write_text(
        f"""
topic_prefix: {unique}
systems:
  crm: {{kind: postgres, connection: {{dsn: "${{CRM_DSN}}"}}}}
  tracker: {{kind: http, connection: {{api: redmine, base_url: "http://127.0.0.1:1", api_key: "${{TRACKER_KEY}}"}}}}
data_types:
  customer: {{system_of_record: crm, source: {{table: public.customers}}}}
  project: {{system_of_record: crm, source: {{table: public.projects}}}}
flows:
  - {{data_type: customer, to: tracker, target: {{resource: projects}}}}
  - {{data_type: project, to: tracker, target: {{resource: projects}}}}
"""
    )
    rows = ["Source System,Source Field,Target System,Target Field,Rule,Notes"]
    for data_type in ("customer", "project"):
        rows.append(f"crm,{data_type}s.name,canonical,{data_type}.name,,")
        rows += [f"canonical,{data_type}.name,tracker,projects.{field},," for field in ("name", "identifier")]
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "all.csv").write_text("\n".join(rows))
    tables = (
        "create table customers (id int primary key, name text); create table projects (id int primary key, name text)"
    )
    env = {
        **stack.env(),
        "TRACKER_KEY": "k",
        "CRM_DSN": make_database(tables),
        "SORBUS_DATABASE": make_database(""),
        "SORBUS_MAP": str(file),
    }
    planned = sorbus("plan", "--json", **env)
    assert planned.exit_code == 0, planned.stderr
    places = [step["where"] for step in json.loads(planned.stdout)["steps"]]
    assert places.count("state database") == 1, places
