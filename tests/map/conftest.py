"""Golden files: what a drawing or a document looked like when somebody last looked at it and found it good."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compares a text with tests/map/golden/NAME; SORBUS_GOLDEN=write writes it anew, for eyes and `git diff`."""

    def compare(name: str, text: str) -> None:
        file = GOLDEN / name
        if os.environ.get("SORBUS_GOLDEN") == "write":
            file.write_text(text, "utf-8")
        assert text == file.read_text("utf-8"), f"{name} has changed; if that is wanted: SORBUS_GOLDEN=write pytest"

    return compare


@pytest.fixture
def larkspur() -> Path:
    """A map of ten systems and thirty-three flows, with everything that a drawing has to show."""
    return Path(__file__).parent / "larkspur" / "map.yaml"
