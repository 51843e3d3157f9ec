"""Identity is tested on a real state, one for the whole run of this folder; a test's own data type keeps it apart."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from sorbus.identity.crosswalk import Crosswalk
from sorbus.ops.embedded import Addresses
from sorbus.state.database import State, migrate


@pytest.fixture(scope="session")
def state_dsn(stack: Addresses) -> str:
    """A database that holds nothing but the state."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(stack.database, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    return stack.database.rpartition("/")[0] + f"/{name}"


@pytest.fixture(scope="session")
def state(state_dsn: str) -> Iterator[State]:
    made = State(state_dsn)
    migrate(made)
    yield made
    made.close()


@pytest.fixture
def crosswalk(state: State, unique: str) -> Crosswalk:
    return Crosswalk(state, "accounting", unique, unique)
