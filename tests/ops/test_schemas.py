"""`sorbus schemas`, and the compatibility rule at the registry: before anything starts, with every version."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sorbus.bus.registry import ConfluentRegistry
from sorbus.errors import SchemaError
from sorbus.map.load import load_map
from sorbus.map.loaded import LoadedMap
from sorbus.ops.embedded import Addresses
from sorbus.ops.runtime.subjects import plan_subjects
from sorbus.settings import Settings

if TYPE_CHECKING:
    from tests.ops.conftest import Sorbus

NAME = {"name": "name", "type": "string", "doc": "What it is called."}
NOTE = {"name": "note", "type": ["null", "string"], "default": None, "doc": "A remark."}
SIZE = {"name": "size", "type": "long", "doc": "How large."}
Apply = Callable[..., LoadedMap]


@pytest.fixture
def settings(stack: Addresses) -> Settings:
    return Settings(kafka=stack.kafka, registry=stack.registry)


@pytest.fixture
def write(tmp_path: Path, unique: str) -> Apply:
    """Writes a map whose one data type `thing` has these fields and this rule."""

    def make(*fields: object, rule: str = "full") -> LoadedMap:
        (tmp_path / "schemas").mkdir(exist_ok=True)
        schema = {"type": "record", "name": "thing", "doc": "A thing.", "fields": fields}
        (tmp_path / "schemas" / "thing.avsc").write_text(json.dumps(schema))
        thing = {"system_of_record": "crm", "source": {"table": "things"}, "compatibility": rule}
        written = {
            "topic_prefix": unique,
            "systems": {"crm": {"kind": "postgres", "connection": {"dsn": "postgresql://nowhere/x"}}},
            "data_types": {"thing": thing},
        }
        (tmp_path / "map.yaml").write_text(json.dumps(written))
        return load_map(tmp_path / "map.yaml")

    return make


def apply(loaded: LoadedMap, settings: Settings) -> list[str]:
    steps = plan_subjects(loaded, settings)
    for step in steps:
        assert step.apply is not None
        step.apply()
    assert plan_subjects(loaded, settings) == []
    return [step.detail for step in steps]


def test_the_rule_of_the_map_is_the_registrys(write: Apply, settings: Settings, unique: str) -> None:
    apply(write(NAME, rule="backward"), settings)
    assert ConfluentRegistry(settings).level(f"{unique}thing-value") == "BACKWARD_TRANSITIVE"
    with pytest.raises(SchemaError, match="BACKWARD_TRANSITIVE"):
        plan_subjects(write(NAME, SIZE, rule="backward"), settings)
    # Another rule and a version that only the new rule allows, in one go.
    assert apply(write(NAME, SIZE, rule="forward"), settings) == [
        "compatibility FORWARD_TRANSITIVE",
        "register a version after 1; compatible",
    ]


def test_diff_and_history_say_what_changed_and_who_can_read_it(
    sorbus: Sorbus, write: Apply, settings: Settings, stack: Addresses
) -> None:
    apply(write(NAME), settings)
    apply(write(NAME, NOTE), settings)
    env = {**stack.env(), "SORBUS_MAP": str(write(NAME, NOTE, SIZE).file)}
    shown = json.loads((done := sorbus("schemas", "diff", "thing", "--json", **env)).stdout)
    assert done.exit_code == 1
    assert [(one["path"], one["backward"], one["forward"]) for one in shown["changes"]] == [("size", False, True)]
    assert "add a default" in shown["changes"][0]["why"]
    first = json.loads(sorbus("schemas", "diff", "thing", "--with", "1", "--json", **env).stdout)
    assert [one["path"] for one in first["changes"]] == ["note", "size"]
    assert "NOT compatible with version 2" in sorbus("schemas", "diff", "thing", **env).stdout
    history = json.loads(sorbus("schemas", "history", "thing", "--json", **env).stdout)
    assert [(each["version"], [one["path"] for one in each["changes"]]) for each in history["versions"]] == [
        (1, []),
        (2, ["note"]),
    ]
    assert history["map_differs"]
    write(NAME, NOTE)
    assert not json.loads(sorbus("schemas", "history", "thing", "--json", **env).stdout)["map_differs"]


def test_check_finds_what_breaks_with_any_version_and_needs_no_registry_for_a_file(
    sorbus: Sorbus, write: Apply, settings: Settings, stack: Addresses, tmp_path: Path
) -> None:
    loaded = write(NAME, NOTE)
    apply(loaded, settings)
    env = {**stack.env(), "SORBUS_MAP": str(loaded.file)}
    assert sorbus("schemas", "check", **env).exit_code == 0
    before = tmp_path / "before.avsc"
    before.write_text((tmp_path / "schemas" / "thing.avsc").read_text())
    write(NAME, {**NOTE, "type": ["null", "long"]})
    found = json.loads((done := sorbus("schemas", "check", "--json", **env)).stdout)
    assert done.exit_code == 1
    assert [(one["path"], one["breaks"]) for one in found["findings"]] == [("note", True)]
    without = {**env, "SORBUS_REGISTRY": ""}
    assert sorbus("schemas", "check", "thing", "--against", str(before), **without).exit_code == 1
    write(NAME, {"name": "bare", "type": ["null", "string"], "default": None})
    assert sorbus("schemas", "check", "thing", "--against", str(before), **without).exit_code == 0
    assert sorbus("schemas", "check", "--strict", **without).exit_code == 1
