"""What the consumers' tests share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from sorbus.ops.embedded import Addresses
from tests import databases
from tests.consumers.plugin import line, line_with_state, make_line

__all__ = ["line", "line_with_state", "make_line", "new_database"]


@pytest.fixture(scope="session")
def new_database(stack: Addresses) -> Callable[[], str]:
    """Makes empty databases, also for fixtures that live longer than one test."""
    return partial(databases.new_database, stack.database)
