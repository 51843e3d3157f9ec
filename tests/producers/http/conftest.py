"""A desk for each test: the faulty application, and a map that polls it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sorbus.ops.embedded import Addresses
from sorbus.settings import Settings
from tests.api.faulty import Faulty
from tests.producers.http.desk import Desk


@pytest.fixture
def desk(
    stack: Addresses, database: str, unique: str, tmp_path: Path, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    """A map without a registry, whose state is in a database of the test's own."""
    monkeypatch.setenv("SORBUS_DATABASE", database)
    monkeypatch.setenv("DESK_API_KEY", faulty.api_key)
    monkeypatch.setenv("DESK_WEBHOOK_SECRET", "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0")
    settings = Settings(kafka=stack.kafka, registry="", database=database)
    made = Desk(tmp_path, database, f"{unique}.", settings, faulty)
    yield made
    made.close()
