"""A slapd with people and groups, and a producer at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ldap.slapd import Slapd
from tests.producers.ldap.desk import Desk


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Slapd]:
    made = Slapd(tmp_path / "slapd")
    made.start()
    made.organize()
    yield made
    made.stop()


@pytest.fixture
def desk(server: Slapd) -> Iterator[Desk]:
    made = Desk(server)
    yield made
    made.close()
