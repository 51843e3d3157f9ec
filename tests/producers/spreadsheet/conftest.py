"""A folder with a producer on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sorbus.producers.spreadsheet.options import SpreadsheetSource
from tests.producers.spreadsheet.office import Office


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SpreadsheetSource, "seconds", 0.02)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.producer.close()
