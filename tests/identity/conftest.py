"""Identity is tested on a real state, one for the whole run of this folder; a test's own data type keeps it apart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sorbus.identity.crosswalk import Crosswalk
from sorbus.ops.embedded import Addresses
from sorbus.state.database import State, migrate
from tests.databases import new_database


@pytest.fixture(scope="session")
def state_dsn(stack: Addresses) -> str:
    """A database that holds nothing but the state."""
    return new_database(stack.database)


@pytest.fixture(scope="session")
def state(state_dsn: str) -> Iterator[State]:
    made = State(state_dsn)
    migrate(made)
    yield made
    made.close()


@pytest.fixture
def crosswalk(state: State, unique: str) -> Crosswalk:
    return Crosswalk(state, "accounting", unique, unique)
