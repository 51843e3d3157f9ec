"""Connections to a test's own state end with the test: many short ones would keep all that the server has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sorbus.state.database import close_states


@pytest.fixture(autouse=True)
def states_are_closed() -> Iterator[None]:
    yield
    close_states()
