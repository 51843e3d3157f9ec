"""Maps for the tests, written from text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

from sorbus.errors import Finding, MapError
from sorbus.map.checks.check import check
from sorbus.map.load import load_map

settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")

HEADER = "Source System,Source Field,Target System,Target Field,Rule,Notes\n"


@pytest.fixture
def write_map(tmp_path: Path) -> Callable[..., Path]:
    """`write_map(map, rows="", catalogs={})`: gives the path of map.yaml. `rows` come below a header."""

    def write(text: str, rows: str = "", catalogs: Mapping[str, str] | None = None) -> Path:
        (tmp_path / "map.yaml").write_text(text, "utf-8")
        if rows:
            (tmp_path / "mappings").mkdir(exist_ok=True)
            (tmp_path / "mappings" / "sheet.csv").write_text(HEADER + rows, "utf-8")
        for system, catalog in (catalogs or {}).items():
            (tmp_path / "catalog").mkdir(exist_ok=True)
            (tmp_path / "catalog" / f"{system}.yaml").write_text(catalog, "utf-8")
        return tmp_path / "map.yaml"

    return write


@pytest.fixture
def findings_of(write_map: Callable[..., Path]) -> Callable[..., list[Finding]]:
    """The findings of a map written likewise, whether they keep it from being read or come from its check."""

    def find(text: str, rows: str = "", catalogs: Mapping[str, str] | None = None) -> list[Finding]:
        path = write_map(text, rows, catalogs)
        try:
            return check(load_map(path))
        except MapError as error:
            return list(error.findings)

    return find
