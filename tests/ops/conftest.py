"""Commands in the test's own process: what a person types, without a new interpreter for each."""

from __future__ import annotations

import logging
from typing import Protocol

import pytest
import structlog
from typer.testing import CliRunner, Result

from sorbus.cli.app import application


class Sorbus(Protocol):
    """`sorbus WORDS...`, with environment variables; `.exit_code`, `.stdout` and `.stderr` tell how it went."""

    def __call__(self, *words: str, **env: str) -> Result: ...


@pytest.fixture
def sorbus() -> Sorbus:
    """Runs commands; the logging they configure is put back afterwards."""
    root, runner = logging.getLogger(), CliRunner()
    handlers, level = root.handlers[:], root.level

    def run(*words: str, **env: str) -> Result:
        try:
            return runner.invoke(application(), words, env=env)
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
            logging.captureWarnings(False)
            structlog.reset_defaults()

    return run
