"""The company that the tests of privacy run in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sorbus.ops.embedded import Addresses
from tests.privacy.people import People


@pytest.fixture
def people(tmp_path: Path, stack: Addresses, make_database: Callable[[], str], unique: str) -> People:
    """A company of its own, its topics and tables made."""
    dsns = {name: make_database() for name in ("crm", "books", "archive", "state")}
    return People(tmp_path, stack.env(), dsns, unique)
