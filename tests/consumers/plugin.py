"""The fixture `make_line`, for the tests of consumers, dead letters and replay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from sorbus.ops.embedded import Addresses
from sorbus.settings import Settings
from sorbus.state import plan_state
from tests.consumers.line import Line


class MakeLine(Protocol):
    def __call__(self, *, registry: bool = True, timing: str = "real-time") -> Line: ...


@pytest.fixture
def make_line(
    tmp_path: Path,
    stack: Addresses,
    make_database: Callable[[], str],
    unique: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[MakeLine]:
    """Makes a flow with topics and tables of its own."""
    lines: list[Line] = []

    def make(*, registry: bool = True, timing: str = "real-time") -> Line:
        dsn = make_database()
        for name in ("CRM_DSN", "BOOKS_DSN"):
            monkeypatch.setenv(name, dsn)
        lines.append(Line(tmp_path, dsn, stack.env(), unique, registry=registry, timing=timing))
        return lines[-1]

    yield make
    for line in lines:
        line.close()


@pytest.fixture
def line(make_line: MakeLine) -> Line:
    """A flow in real time, with a registry."""
    return make_line()


@pytest.fixture
def line_with_state(line: Line, monkeypatch: pytest.MonkeyPatch) -> Line:
    """Its consumers know where Sorbus's state is."""
    monkeypatch.setenv("SORBUS_DATABASE", line.env["SORBUS_DATABASE"])
    for step in plan_state(Settings().database, line.names.topic("")):
        assert step.apply is not None
        step.apply()
    return line
