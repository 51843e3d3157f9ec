"""Alerts and dashboards: every figure they name is exported, every alert fires when it should and says what to do."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Metric, generate_latest
from ruamel.yaml import YAML

import sorbus.telemetry.metrics
from sorbus.conflict.store import OpenField
from sorbus.http_api.limits.budgets import Budget, Window
from sorbus.map.contact import Contact
from sorbus.mapfile.model import Map
from sorbus.ops.checklists.occurrences import Checklist
from sorbus.ops.checklists.standings import ChecklistStandings
from sorbus.ops.conflicts.counts import ConflictCounts
from sorbus.ops.dead_letters.counts import LetterCounts
from sorbus.ops.duplicates.counts import DuplicateCounts
from sorbus.ops.monitoring.escalation import Escalation
from sorbus.ops.monitoring.exporter import FAILURES, MapCollector, WatchCollector
from sorbus.ops.monitoring.flow_state import GRACE, FlowState
from sorbus.ops.monitoring.measure import Measurement, TopicState
from sorbus.ops.reconcile.counts import DifferenceCounts
from sorbus.ops.reconcile.store import LastRun
from sorbus.ops.waiting.counts import WaitingCounts

ROOT = Path(sorbus.telemetry.metrics.__file__).parents[2]
OPS = ROOT / "ops"
ALERTS, CASES = OPS / "prometheus" / "alerts.yml", Path(__file__).with_name("alerts_cases.yml")
DASHBOARD = OPS / "grafana" / "dashboards" / "sorbus.json"
GRAFANA_RULES = OPS / "grafana" / "provisioning" / "alerting" / "rules.yml"
OF_NO_SYSTEM = {
    "SorbusDependencyUnreachable",
    "SorbusDigestNotSent",
    "SorbusProcessDown",
    "SorbusProcessRestarts",
    "SorbusProcessUnmapped",
    "SorbusWatchDown",
}
FROM_ELSEWHERE = {"up", "process_start_time_seconds", "process_resident_memory_bytes", "process_cpu_seconds_total"}

Yaml = dict[str, "Yaml"] | list["Yaml"] | str | int | float | None

FLOW = FlowState("order-to-books", "order", "books", "running", 1, 7, 3, 12.5, None, 2, 1.0, 0.0)
OVERDUE = Checklist(
    "price-to-book",
    "price",
    "book",
    Contact("Field sales"),
    "daily",
    "ten are equal",
    (),
    round=datetime.fromtimestamp(90, UTC),
    due=datetime.fromtimestamp(90, UTC),
    overdue_since=datetime.fromtimestamp(70, UTC),
    done=(),
)
MEASURED = Measurement(
    100.0,
    (FLOW,),
    (TopicState("order", 99.0, 10), TopicState("customer", None, 0)),
    {("order", "order-to-books"): 2},
    {"crm": 4096, "other": None},
    (Budget("accounting", (Window(60.0, 60, 58), Window(86_400.0, 5000, 4812)), 0.0, 90.0, probing=False),),
    escalations=(Escalation("order-to-books", "order", "books", "late", 3, 7200.0, 3600.0, Contact("Finance")),),
    standbys={"crm": ("a standby lags", "a standby is away"), "books": ()},
    decisions=(
        LetterCounts({("order", "order-to-books"): 2}),
        DuplicateCounts({"order-to-books": 4}),
        ConflictCounts(
            {("order-to-books", "open"): 1},
            {"order-to-books": 60.0},
            [("order-to-books", OpenField("books", "order", "email", "crm", 1, 60.0, "7"))],
        ),
        DifferenceCounts(
            {("order-to-books", "missing"): 1}, {"order-to-books": LastRun(datetime.now(UTC), False, None)}
        ),
        WaitingCounts({("order-to-books", "incomplete"): 2}, {("order-to-books", "incomplete"): 30.0}),
        ChecklistStandings((OVERDUE,)),
    ),
)
COMPANY = Map.model_validate(
    {
        "systems": {"crm": {"kind": "postgres"}, "books": {"kind": "http", "owner": "Finance <finance@example.com>"}},
        "data_types": {"order": {"system_of_record": "crm"}},
        "flows": [{"data_type": "order", "to": "books", "escalate_to": "Ann Lee"}],
    }
)


def test_every_metric_that_a_rule_or_panel_names_is_exported() -> None:
    known = _exported() | FROM_ELSEWHERE
    unknown = {
        (where, name) for where, expression in _expressions() for name in _metrics_in(expression) if name not in known
    }
    assert unknown == set()


@pytest.mark.parametrize(
    ("seen", "labels"),
    [
        (
            replace(MEASURED, lost=("order: topic order isn't there",)),
            'data_type="order",flow="",kind="lost",name="order"',
        ),
        (
            replace(MEASURED, lost=("order-to-books: 3 messages were removed",)),
            'data_type="order",flow="order-to-books",kind="lost",name="order-to-books"',
        ),
        (
            replace(MEASURED, notes={("order-to-books", "stale"): "it has newer versions"}),
            'data_type="order",flow="order-to-books",kind="stale",name="order-to-books"',
        ),
        (
            replace(MEASURED, notes={("old_shop", "unmapped"): "by an older map"}),
            'data_type="",flow="",kind="unmapped",name="old_shop"',
        ),
    ],
)
def test_what_only_words_say_is_a_figure_too(seen: Measurement, labels: str) -> None:
    """Otherwise people see it in `sorbus status` alone, and nobody is called."""
    registry, collector = CollectorRegistry(), WatchCollector(clock=lambda: seen.at)
    collector.show(seen)
    registry.register(collector)
    assert f"sorbus_finding{{{labels}}} 1.0" in generate_latest(registry).decode()


@pytest.mark.parametrize(("every", "stays"), [(10.0, 60.0), (55.0, 110.0), (1000.0, 300.0)])
def test_figures_stay_until_the_next_may_have_come_and_no_longer(every: float, stays: float) -> None:
    """A series with gaps begins anew for each rule that waits, which so never fires."""
    now = MEASURED.at
    registry, collector = CollectorRegistry(), WatchCollector(clock=lambda: now)
    registry.register(collector)
    for _ in range(3):
        collector.show(replace(MEASURED, at=now))
        now += every
    now += stays - every
    assert "sorbus_flow_lag_seconds{" in generate_latest(registry).decode()
    now += 1
    assert "sorbus_flow_lag_seconds{" not in generate_latest(registry).decode()


def test_a_flow_that_ended_before_it_delivered_anything_has_lost_nothing() -> None:
    """As with a wrong password, which has an alert of its own."""
    registry, collector = CollectorRegistry(), WatchCollector(clock=lambda: MEASURED.at)
    words = "order-to-books: `sorbus consume order-to-books` has run, and its consumer group has no offsets"
    seen = replace(MEASURED, without_offsets=(words,))
    assert words in seen.complaints()
    collector.show(seen)
    registry.register(collector)
    assert 'kind="lost"' not in generate_latest(registry).decode()


def test_every_alert_says_how_grave_it_is_what_happened_and_what_to_do() -> None:
    for rule in _rules():
        annotations, labels = rule["annotations"], rule["labels"]
        assert isinstance(labels, dict)
        assert isinstance(annotations, dict)
        assert labels["severity"] in ("critical", "warning", "info"), rule["alert"]
        assert annotations.keys() >= {"summary", "action", "console", "runbook_url"}, rule["alert"]
        assert annotations.keys() <= {"summary", "action", "owner", "records", "console", "runbook_url"}, rule["alert"]
        assert ("owner" in annotations) != (rule["alert"] in OF_NO_SYSTEM), rule["alert"]
        address = str(annotations["runbook_url"])
        file = re.search(r"docs/runbooks/\S+?\.md", address)
        assert file, rule["alert"]
        assert (ROOT / file[0]).is_file(), rule["alert"]
        assert f"/runbooks/{Path(file[0]).stem}{{{{ else }}}}" in address, rule["alert"]


def test_every_alert_is_on_the_runbooks_front_page() -> None:
    page = (ROOT / "docs" / "runbooks" / "README.md").read_text()
    assert [rule["alert"] for rule in _rules() if str(rule["alert"]) not in page] == []
    linked = set(re.findall(r"\((\S+\.md)\)", page)) - {"../../ops/prometheus/alerts.yml"}
    assert linked == {file.name for file in (ROOT / "docs" / "runbooks").glob("*.md")} - {"README.md"}


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    cases = YAML(typ="safe").load(CASES.read_text())
    fired = {test["alertname"] for case in cases["tests"] for test in case["alert_rule_test"] if test["exp_alerts"]}
    assert {rule["alert"] for rule in _rules()} == fired


def test_status_and_alerts_agree_on_when_a_flow_is_late() -> None:
    (behind,) = [rule for rule in _rules() if rule["alert"] == "SorbusFlowBehind"]
    assert str(behind["expr"]).endswith(f"+ {GRACE:.0f})")


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    alike: dict[str, list[Yaml]] = {}
    for case in YAML(typ="base").load(CASES.read_text())["tests"]:  # all of it text: `0x4` is four more zeros
        alike.setdefault(case["interval"].replace("10s", "1m"), []).append(case)
    for interval, cases in alike.items():
        written = {"rule_files": [str(ALERTS)], "evaluation_interval": interval, "tests": cases}
        (tmp_path / f"{interval}.yml").write_text(json.dumps(written))
    _run("promtool", "test", "rules", *map(str, tmp_path.iterdir()))


def test_no_alert_fails_where_two_processes_measure_the_same(tmp_path: Path) -> None:
    """Two watches while one replaces the other, or two maps in one Prometheus: whoever compares must not give up."""
    cases = YAML(typ="base").load(CASES.read_text())["tests"]
    for case in cases:
        twice = []
        for one in case["input_series"]:
            name, _, labels = one["series"].partition("{")
            rest = f", {labels}" if labels else "}"
            twice += [{**one, "series": f'{name}{{copy="{each}"{rest}'} for each in "ab"]
        case.update(input_series=twice, alert_rule_test=[], interval="4m")
    written = {"rule_files": [str(ALERTS)], "evaluation_interval": "4m", "tests": cases}
    (tmp_path / "twice.yml").write_text(json.dumps(written))
    _run("promtool", "test", "rules", str(tmp_path / "twice.yml"))


def test_the_configurations_are_valid() -> None:
    _run("promtool", "check", "config", "--syntax-only", str(OPS / "prometheus" / "prometheus.yml"))
    _run("amtool", "check-config", str(OPS / "alertmanager" / "alertmanager.yml"))


def test_every_query_of_the_dashboards_is_valid(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$flow", ".*")}
        for number, (_, expression) in enumerate(_expressions())
    ]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    _run("promtool", "check", "rules", str(file))


def test_grafanas_alerts_show_on_the_panels_of_what_they_watch() -> None:
    panels = {panel["id"]: panel for panel in json.loads(DASHBOARD.read_text())["panels"]}
    (group,) = YAML(typ="safe").load(GRAFANA_RULES.read_text())["groups"]
    for rule in group["rules"]:
        panel = panels[int(rule["annotations"]["__panelId__"])]
        watched = _metrics_in(rule["data"][0]["model"]["expr"])[0]
        assert watched in panel["targets"][0]["expr"], rule["title"]
        assert {part["refId"] for part in rule["data"]} >= {rule["condition"]}


def test_the_panels_do_not_overlap() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
                assert x < 24


def test_old_figures_are_not_shown_as_if_they_were_fresh() -> None:
    now = 130.0
    collector = WatchCollector(clock=lambda: now)
    collector.show(MEASURED)
    assert "sorbus_flow_lag_seconds" in {metric.name for metric in collector.collect()}
    now = 200.0
    assert [metric.name for metric in collector.collect() if metric.samples] == [
        "sorbus_watch_last_success_timestamp_seconds"
    ]


def test_the_exporter_shows_what_was_measured() -> None:
    collector = WatchCollector(clock=lambda: 100.0)
    collector.show(MEASURED)
    shown = {
        (sample.name, *sample.labels.values()): sample.value
        for family in collector.collect()
        for sample in family.samples
    }
    flow = ("order-to-books", "order", "books")
    assert shown["sorbus_flow_lag_records", *flow] == 3
    assert shown["sorbus_flow_lag_seconds", *flow] == 12.5
    assert shown["sorbus_dead_letters_open", "order", "order-to-books"] == 2
    assert shown["sorbus_duplicates_open", *flow] == 4
    assert shown["sorbus_records_waiting", *flow, "incomplete"] == 2
    assert shown["sorbus_records_waiting_oldest_seconds", *flow, "incomplete"] == 70
    assert shown["sorbus_conflict_oldest_seconds", *flow] == 40
    assert shown["sorbus_conflict_loops", *flow, "email", "crm"] == 1
    assert shown["sorbus_slot_lag_bytes", "crm"] == 4096
    assert ("sorbus_slot_lag_bytes", "other") not in shown
    assert shown["sorbus_standby_faults", "crm"] == 2
    assert MEASURED.complaints().count("crm: a standby lags") == 1
    assert shown["sorbus_system_requests_left", "accounting", "day"] == 4812
    assert shown["sorbus_system_requests_allowed", "accounting", "minute"] == 60
    assert shown["sorbus_system_breaker_open", "accounting"] == 1
    assert shown["sorbus_escalated_seconds", *flow, "late", "Finance"] == 7200
    assert shown["sorbus_escalated_records", *flow, "late", "Finance"] == 3
    assert shown["sorbus_checklist_overdue_seconds", "price-to-book", "price", "book", "Field sales"] == 30
    assert ("sorbus_topic_last_event_timestamp_seconds", "customer") not in shown


def test_the_exporter_shows_whom_to_ask_and_where_the_console_is() -> None:
    shown = {
        (sample.name, *sample.labels.values())
        for family in MapCollector(COMPANY, "https://sorbus.example.com/").collect()
        for sample in family.samples
    }
    assert shown == {
        ("sorbus_system_info", "crm", "none in the map"),
        ("sorbus_system_info", "books", "Finance"),
        ("sorbus_flow_info", "order-to-books", "order", "books", "Finance", "Ann Lee"),
        ("sorbus_data_type_info", "order", "crm", "none in the map"),
        ("sorbus_console_info", "https://sorbus.example.com"),
    }


def _exported() -> set[str]:
    collector = WatchCollector(clock=lambda: 100.0)
    collector.show(MEASURED)
    people = MapCollector(COMPANY, "https://sorbus.example.com")
    families: list[Metric] = [*REGISTRY.collect(), *FAILURES.collect(), *collector.collect(), *people.collect()]
    endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return {family.name + ending for family in families for ending in endings.get(family.type, [""])}


def _rules() -> Iterator[dict[str, Yaml]]:
    for group in YAML(typ="safe").load(ALERTS.read_text())["groups"]:
        yield from group["rules"]


def _expressions() -> Iterator[tuple[str, str]]:
    for rule in _rules():
        yield str(rule["alert"]), str(rule["expr"])
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for group in YAML(typ="safe").load(GRAFANA_RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["title"], rule["data"][0]["model"]["expr"]


def _metrics_in(expression: str) -> list[str]:
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|on)\s*\([^)]*\)", "", expression)
    return re.findall(r"\b(?:sorbus|process)_\w+|\bup\b", bare)


def _run(program: str, *words: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (Debian's packages prometheus and prometheus-alertmanager)")
    done = subprocess.run((program, *words), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
