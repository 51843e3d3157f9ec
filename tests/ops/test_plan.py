"""Plan and apply: what differs is shown, done once, and what would lose data is left to a person."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import ConfigResource
from pydantic import ValidationError

from sorbus.bus.kafka import admin
from sorbus.connector import Step
from sorbus.errors import SchemaError, SorbusError
from sorbus.map.load import load_map
from sorbus.map.loaded import LoadedMap
from sorbus.mapfile.model import Map
from sorbus.ops.embedded import Addresses
from sorbus.ops.runtime.subjects import plan_subjects
from sorbus.ops.runtime.topics import Topic, plan_topics, topics_of
from sorbus.settings import Settings

if TYPE_CHECKING:
    from tests.ops.conftest import Sorbus

NAME = {"name": "name", "type": "string", "doc": "What it is called."}
NOTE = {"name": "note", "type": ["null", "string"], "default": None, "doc": "A remark."}
KIND = {
    "name": "kind",
    "type": {"type": "enum", "name": "thing_kind", "symbols": ["UNKNOWN", "SMALL"], "default": "UNKNOWN"},
    "default": "UNKNOWN",
    "doc": "Its kind.",
}
POLICY = {"cleanup.policy": "compact"}
Write = Callable[..., LoadedMap]


@pytest.fixture
def settings(stack: Addresses) -> Settings:
    return Settings(kafka=stack.kafka, registry=stack.registry)


@pytest.fixture
def write(tmp_path: Path, unique: str) -> Write:
    """Writes a map with one data type `thing` of the given fields, and loads it."""

    def write_map(*fields: object, partitions: int = 2) -> LoadedMap:
        (tmp_path / "schemas").mkdir(exist_ok=True)
        schema = {"type": "record", "name": "thing", "namespace": "sorbus", "doc": "A thing.", "fields": fields}
        (tmp_path / "schemas" / "thing.avsc").write_text(json.dumps(schema))
        (tmp_path / "map.yaml").write_text(
            f"""
topic_prefix: {unique}
systems:
  crm: {{kind: postgres, connection: {{dsn: "${{CRM_DSN}}"}}}}
  books: {{kind: postgres, connection: {{dsn: "${{CRM_DSN}}"}}}}
data_types:
  thing: {{system_of_record: crm, source: {{table: public.things}}, partitions: {partitions}}}
flows:
  - {{data_type: thing, to: books, target: {{table: copied_things}}}}
"""
        )
        return load_map(tmp_path / "map.yaml")

    return write_map


def run(steps: list[Step]) -> None:
    for step in steps:
        assert step.apply is not None, step
        step.apply()


def test_topics_are_made_once_with_their_compaction(write: Write, settings: Settings, unique: str) -> None:
    client, wanted = admin(settings), topics_of(write(NAME).map)
    steps = plan_topics(client, wanted)
    assert [step.what for step in steps] == [
        f"topic {unique}{name}"
        for name in (
            "sorbus.positions",
            "sorbus.requests",
            "sorbus.schemas",
            "sorbus.status",
            "sorbus.controls",
            "thing",
            "thing.dlq",
            "thing-to-books.requeue",
        )
    ]
    run(steps)
    assert plan_topics(client, wanted) == []


def test_one_request_makes_all_topics_and_each_step_tells_of_its_own(settings: Settings, unique: str) -> None:
    client = admin(settings)
    odd = Topic(f"{unique}b", 1, {"cleanup.policy": "none"})
    first, refused, last = plan_topics(client, [Topic(f"{unique}a", 1, POLICY), odd, Topic(f"{unique}c", 2, POLICY)])
    run([first])
    assert plan_topics(client, [Topic(f"{unique}c", 2, POLICY)]) == []
    for _ in range(2):
        with pytest.raises(SorbusError, match=f"making topic {unique}b"):
            run([refused])
    run([last])


def test_a_changed_setting_is_put_back(settings: Settings, unique: str) -> None:
    client = admin(settings)
    run(plan_topics(client, [Topic(f"{unique}a", 1, {"cleanup.policy": "delete"})]))
    (step,) = steps = plan_topics(client, [Topic(f"{unique}a", 1, {"cleanup.policy": "compact"})])
    assert step.detail == "cleanup.policy: delete -> compact"
    run(steps)
    deadline = time.monotonic() + 20
    while left := plan_topics(client, [Topic(f"{unique}a", 1, {"cleanup.policy": "compact"})]):
        assert time.monotonic() < deadline, f"the brokers never took the setting over: {left}"


def test_a_provider_that_refuses_a_setting_is_given_another(write: Write, settings: Settings, unique: str) -> None:
    overrides: dict[str, dict[str, str | None]] = {
        "*": {"max.compaction.lag.ms": None, "replication.factor": "1"},
        "*thing": {"min.compaction.lag.ms": "3600000"},
    }
    client, wanted = admin(settings), topics_of(write(NAME).map, overrides)
    run(plan_topics(client, wanted))
    assert plan_topics(client, wanted) == []
    asked = ConfigResource(ConfigResource.Type.TOPIC, f"{unique}thing")
    made = client.describe_configs([asked])[asked].result(30)
    assert made["min.compaction.lag.ms"].value == "3600000"
    assert made["max.compaction.lag.ms"].is_default
    with pytest.raises(ValidationError, match=r"cleanup\.policy stays"):
        Settings(topic_config={"*": {"cleanup.policy": "delete"}})


@pytest.mark.parametrize(
    ("partitions", "words"), [(1, "write 2 in the map"), (4, "keep the number"), (4, "`sorbus crosswalk export`")]
)
def test_the_partitions_of_a_keyed_topic_are_never_changed_by_us(
    settings: Settings, unique: str, partitions: int, words: str
) -> None:
    client = admin(settings)
    run(plan_topics(client, [Topic(f"{unique}a", 2, POLICY)]))
    (step,) = plan_topics(client, [Topic(f"{unique}a", partitions, POLICY)])
    assert step.apply is None
    assert words in step.detail


@pytest.mark.parametrize(("had", "then"), [(None, 1), (4, 4)])
def test_a_map_that_says_no_number_keeps_the_partitions_that_there_are(
    settings: Settings, unique: str, had: int | None, then: int
) -> None:
    client = admin(settings)
    company = Map.model_validate(
        {
            "topic_prefix": unique,
            "systems": {"crm": {"kind": "postgres", "connection": {"dsn": "${CRM}"}}},
            "data_types": {"thing": {"system_of_record": "crm", "source": {"table": "things"}}},
        }
    )
    (events,) = [topic for topic in topics_of(company) if topic.name == f"{unique}thing"]
    if had:
        run(plan_topics(client, [replace(events, partitions=had, may_differ=False)]))
    run(plan_topics(client, [events]))
    assert plan_topics(client, [events]) == []
    assert len(client.list_topics(events.name, timeout=10).topics[events.name].partitions) == then


def test_schemas_are_registered_once(write: Write, settings: Settings) -> None:
    loaded = write(NAME, KIND)
    steps = plan_subjects(loaded, settings)
    assert [step.detail for step in steps] == ["register its first schema", "compatibility FULL_TRANSITIVE"]
    run(steps)
    assert plan_subjects(loaded, settings) == []


def test_an_optional_field_may_come_and_go(write: Write, settings: Settings) -> None:
    run(plan_subjects(write(NAME), settings))
    (step,) = steps = plan_subjects(write(NAME, NOTE, KIND), settings)
    assert step.detail == "register a version after 1; compatible"
    run(steps)
    assert plan_subjects(write(NAME), settings) == []


@pytest.mark.parametrize(
    "fields",
    [
        ({**NAME, "type": "long"},),
        (NAME, {"name": "size", "type": "long", "doc": "Required, so that old records lack it."}),
        (NOTE,),
    ],
    ids=["another type", "a new required field", "a required field gone"],
)
def test_an_incompatible_schema_stops_with_both_side_by_side(
    write: Write, settings: Settings, fields: tuple[object, ...]
) -> None:
    run(plan_subjects(write(NAME), settings))
    with pytest.raises(SchemaError) as caught:
        plan_subjects(write(*fields), settings)
    text = str(caught.value)
    assert "registered (version 1) | the map's" in text
    assert "name: string" in text
    assert "new fields need a default" in text


MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (MONEY, {**MONEY, "scale": 4}),
        ("long", {"type": "long", "logicalType": "timestamp-micros"}),
        ({"type": "int", "logicalType": "date"}, "int"),
    ],
)
def test_a_type_that_only_avros_registry_takes_for_the_same_stops(
    write: Write, settings: Settings, before: object, after: object
) -> None:
    run(plan_subjects(write(NAME, {"name": "value", "type": before}), settings))
    with pytest.raises(SchemaError, match="not compatible"):
        plan_subjects(write(NAME, {"name": "value", "type": after}), settings)


def test_without_a_registry_nothing_is_registered(write: Write, settings: Settings) -> None:
    assert plan_subjects(write(NAME), Settings(kafka=settings.kafka)) == []


def test_the_names_of_topics_follow_the_map() -> None:
    company = Map.model_validate(
        {
            "topic_prefix": "acme.",
            "systems": {"a": {"kind": "postgres"}, "b": {"kind": "postgres"}},
            "data_types": {"order": {"system_of_record": "a", "partitions": 6}},
            "flows": [{"data_type": "order", "to": "b"}, {"data_type": "order", "to": "a", "none": "its own"}],
        }
    )
    assert [(topic.name, topic.partitions) for topic in topics_of(company)] == [
        ("acme.sorbus.positions", 1),
        ("acme.sorbus.requests", 1),
        ("acme.sorbus.schemas", 1),
        ("acme.sorbus.status", 1),
        ("acme.sorbus.controls", 1),
        ("acme.order", 6),
        ("acme.order.dlq", 1),
        ("acme.order-to-b.requeue", 1),
    ]


def test_apply_leaves_nothing_to_plan_but_the_slot(
    sorbus: Sorbus, write: Write, stack: Addresses, make_database: Callable[[str], str]
) -> None:
    dsn = make_database("create table public.things (id int primary key, name text not null)")
    env = {**stack.env(), "SORBUS_MAP": str(write(NAME).file), "CRM_DSN": dsn}
    before = sorbus("plan", "--json", **env)
    assert before.exit_code == 0, before.stderr
    assert {step["where"] for step in json.loads(before.stdout)["steps"]} == {
        "kafka",
        "registry",
        "state database",
        "crm",
        "books",
    }
    assert sorbus("plan", "--check", **env).exit_code == 1
    refused = sorbus("apply", **env)
    assert refused.exit_code == 1
    assert "Aborted" in refused.stderr
    applied = sorbus("apply", "--yes", "--wait", "30", **env)
    assert applied.exit_code == 0, applied.stderr
    left = json.loads(sorbus("plan", "--json", **env).stdout)["steps"]
    assert [step["what"].split()[0] for step in left] == ["slot"], left


def test_plan_refuses_a_map_with_findings(sorbus: Sorbus, tmp_path: Path) -> None:
    file = tmp_path / "map.yaml"
    file.write_text("systems: {}\ndata_types:\n  order: {system_of_record: nowhere}\n")
    done = sorbus("--map", str(file), "plan")
    assert done.exit_code == 1
    assert f"{file}:3" in done.stderr


@pytest.mark.parametrize(
    ("timing", "days"),
    [
        ("real-time", 30),
        ("weekdays at 09:00", 30),
        ("Monday at 06:00", 30),
        ("every 14d", 60),
        ("last working day of the month at 18:00", 90),
        ("third working day of the quarter", 150),
        ("every 366d", 420),
    ],
)
def test_deletes_are_kept_for_a_month_longer_than_the_timing_lets_them_wait(timing: str, days: int) -> None:
    """And so are requeued letters: else a flow that delivers each quarter loses what it has to deliver."""
    company = Map.model_validate(
        {
            "systems": {"a": {"kind": "postgres"}, "b": {"kind": "postgres"}},
            "data_types": {"order": {"system_of_record": "a"}, "other": {"system_of_record": "a"}},
            "flows": [{"data_type": "order", "to": "b", "timing": timing}, {"data_type": "other", "to": "b"}],
        }
    )
    kept = {
        topic.name.rpartition("sorbus.")[2]: int(topic.config[name]) / 86_400_000
        for topic in topics_of(company)
        for name in ("delete.retention.ms", "retention.ms")
        if name in topic.config and topic.name.endswith(("order", "other", "requeue"))
    }
    assert kept == {"order": days, "order-to-b.requeue": days, "other": 30, "other-to-b.requeue": 30}
