"""A flow of gadgets with Sorbus's own state, and letters written to it."""

from __future__ import annotations

import pytest

from sorbus.state.database import State, migrate
from tests.consumers.line import Line
from tests.consumers.plugin import MakeLine, make_line
from tests.dlq.post import Post

__all__ = ["make_line"]


@pytest.fixture
def line(make_line: MakeLine) -> Line:
    """A flow in real time, with a registry and Sorbus's own state."""
    line = make_line()
    migrate(line.state)
    return line


@pytest.fixture
def state(line: Line) -> State:
    """The state of the line's map."""
    return line.state


@pytest.fixture
def post(line: Line) -> Post:
    """Writes letters, as the consumer does that can't deliver."""
    return Post(line)
