"""A map of an earlier release: read as what its words are called now, and said with the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sorbus.map.load import load_map
from sorbus.mapfile.model import System
from sorbus.mapfile.renamed import VALUES


@pytest.mark.parametrize(("pattern", "old", "new"), VALUES)
def test_each_value_of_an_earlier_release_is_read_with_a_notice(
    pattern: tuple[str, ...], old: str, new: str, tmp_path: Path
) -> None:
    assert pattern == ("systems", "*", "on_lost_slot")
    text = "systems:\n  crm:\n    kind: postgres\n    on_lost_slot: {}\ndata_types: {{}}\nflows: []\n"
    (tmp_path / "map.yaml").write_text(text.format(old))
    loaded = load_map(tmp_path / "map.yaml")
    assert loaded.map.systems["crm"].on_lost_slot == new
    (notice,) = loaded.notices
    assert notice.startswith("map.yaml:4: ")
    assert f"{pattern[-1]}: {new}" in notice
    (tmp_path / "map.yaml").write_text(text.format(new))
    assert load_map(tmp_path / "map.yaml").notices == ()
    assert System.model_fields["on_lost_slot"].default == "stop"
