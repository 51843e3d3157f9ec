"""A house for each test: a faulty application of its own, on one state for the whole run of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sorbus.state.database import State, migrate
from tests.consumers.http.house import House
from tests.http_api.faulty import Faulty


@pytest.fixture(scope="session")
def state_dsn(new_database: Callable[[], str]) -> str:
    """A database that holds nothing but the state."""
    return new_database()


@pytest.fixture(scope="session")
def state(state_dsn: str) -> Iterator[State]:
    made = State(state_dsn)
    migrate(made)
    yield made
    made.close()


@pytest.fixture
def house(faulty: Faulty, state: State, tmp_path: Path, unique: str) -> Iterator[House]:
    made = House(faulty, state, tmp_path, unique)
    yield made
    made.close()
