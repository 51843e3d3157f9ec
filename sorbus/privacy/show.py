"""Showing personal values to a person who asks for them, and writing down that they were shown."""

from __future__ import annotations

from getpass import getuser
from typing import Annotated

import typer

ShowPersonal = Annotated[
    bool, typer.Option("--show-personal", help="Personal values in the clear; who, what and when goes to the log.")
]


def note_shown(command: str, **what: str) -> None:
    """Writes the audit line: who (the user of the operating system), what and when, to the log (standard error)."""
    import structlog

    from sorbus.telemetry.logs import configure_logs

    configure_logs(command)
    structlog.get_logger(__name__).warning("personal values shown", audit=True, who=getuser(), command=command, **what)
