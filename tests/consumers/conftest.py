"""What the consumers' tests share."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import psycopg
import pytest
from psycopg import sql

from sorbus.ops.embedded import Addresses
from tests.consumers.plugin import line, make_line

__all__ = ["line", "make_line", "new_database"]


@pytest.fixture(scope="session")
def new_database(stack: Addresses) -> Callable[[], str]:
    """Makes empty databases, also for fixtures that live longer than one test."""

    def make() -> str:
        name = f"t{uuid.uuid4().hex[:12]}"
        with psycopg.connect(stack.database, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        return stack.database.rpartition("/")[0] + f"/{name}"

    return make
