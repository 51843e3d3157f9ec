"""The company that the tests of privacy run in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from sorbus.ops.embedded import Addresses
from tests.privacy.people import People
from tests.replication_slots import drop_slots


@pytest.fixture
def people(tmp_path: Path, stack: Addresses, make_database: Callable[[], str], unique: str) -> Iterator[People]:
    """A company of its own, its topics and tables made."""
    dsns = {name: make_database() for name in ("crm", "books", "archive", "state")}
    yield People(tmp_path, stack.env(), dsns, unique)
    with psycopg.connect(dsns["crm"], autocommit=True) as connection:
        drop_slots(connection)
