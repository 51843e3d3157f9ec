"""Whoever acts on a map learns that its files have changed since they were read, also while they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from sorbus.errors import MapError
from sorbus.map import load
from sorbus.map.load import load_map
from sorbus.mapfile.document import Document

ROOT = Path(__file__).parents[3]
MAP = """
systems:
  crm: {kind: http, connection: {api: apis/own.yaml, token: '${T}'}}
calendars: {office: {holidays: holidays.csv}}
data_types: {}
"""


@pytest.mark.parametrize(
    "file",
    sorted([*ROOT.glob("examples/*/map.yaml"), *ROOT.glob("bench/*/map.yaml")]),
    ids=lambda file: file.parent.name,
)
def test_a_map_that_was_just_read_has_not_changed(file: Path) -> None:
    assert not load_map(file).has_changed()


@pytest.mark.parametrize(
    "name", ["map.yaml", "mappings/new.csv", "schemas/new.avsc", "catalog/new.json", "apis/own.yaml", "holidays.csv"]
)
def test_a_change_of_any_file_is_seen(tmp_path: Path, name: str) -> None:
    loaded = load_map(_written(tmp_path))
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text((file.read_text("utf-8") if file.exists() else "") + "# changed\n", "utf-8")
    assert loaded.has_changed()


def test_a_change_between_reading_and_the_end_of_reading_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_then_changed(path: Path) -> Document:
        found = read_document(path)
        path.write_text(MAP + "company: Larkspur\n", "utf-8")
        return found

    read_document = load.read_document
    monkeypatch.setattr(load, "read_document", read_then_changed)
    loaded = load_map(_written(tmp_path))
    assert loaded.map.company != "Larkspur"
    assert loaded.has_changed()


@pytest.mark.parametrize("place", ["/proc/self/mem", "/nowhere"], ids=["unreadable", "dangling"])
@pytest.mark.parametrize("name", ["map.yaml", "mappings/new.csv"])
def test_a_file_that_cannot_be_read_is_a_finding(tmp_path: Path, name: str, place: str) -> None:
    file = _written(tmp_path)
    (tmp_path / "mappings").mkdir()
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).symlink_to(place)
    with pytest.raises(MapError, match="can't"):
        load_map(file)


def _written(folder: Path) -> Path:
    (folder / "apis").mkdir()
    (folder / "apis" / "own.yaml").write_text("extends: hubspot\n", "utf-8")
    (folder / "holidays.csv").write_text("2099-12-25\n", "utf-8")
    (folder / "map.yaml").write_text(MAP, "utf-8")
    return folder / "map.yaml"
