"""A parent that has checked the map spares its children that."""

from pathlib import Path

import pytest

from sorbus.cli.context import CHECKED, Context
from sorbus.errors import MapError

UNSOUND = "systems: {crm: {kind: postgres, connection: {dsn: '${X}'}}}\ndata_types: {customer: {}}\n"


def test_only_the_very_map_that_was_checked_is_spared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "map.yaml"
    file.write_text(UNSOUND, "utf-8")
    context = Context(map_path=file)
    with pytest.raises(MapError):
        context.load_sound()
    monkeypatch.setenv(CHECKED, context.load().digest)
    assert context.load_sound().file == file
    file.write_text(UNSOUND + "# changed since\n", "utf-8")
    with pytest.raises(MapError):
        context.load_sound()
