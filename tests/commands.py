"""Commands typed in the test's own process: no new interpreter for each, and nothing of them stays behind."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache

import structlog
import typer.testing
from typer.main import get_command
from typer.testing import CliRunner, Result

from sorbus.cli.app import application
from sorbus.state.database import close_states

# The same commands each time; making them out of their functions takes a tenth of a second.
typer.testing._get_command = cache(get_command)  # type: ignore[attr-defined]


def type_command(*words: str, env: Mapping[str, str] | None = None, input: str | None = None) -> Result:
    """`sorbus WORDS...`; `.exit_code`, `.stdout` and `.stderr` tell how it went."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        return CliRunner().invoke(application(), words, env=env, input=input)
    finally:
        close_states()
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(False)
        structlog.reset_defaults()
