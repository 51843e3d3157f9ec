"""Commands in the test's own process: what a person types, without a new interpreter for each."""

from __future__ import annotations

from typing import Protocol

import pytest
from typer.testing import Result

from tests.commands import type_command


class Sorbus(Protocol):
    """`sorbus WORDS...`, with environment variables; `.exit_code`, `.stdout` and `.stderr` tell how it went."""

    def __call__(self, *words: str, **env: str) -> Result: ...


@pytest.fixture
def sorbus() -> Sorbus:
    def run(*words: str, **env: str) -> Result:
        return type_command(*words, env=env)

    return run
