"""Showing personal values on request, and logging that they were shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.login import login_name

if TYPE_CHECKING:
    from sorbus.state.database import State

ShowPersonal = Annotated[
    bool, typer.Option("--show-personal", help="Show personal values in the clear; who, what and when is logged.")
]


def note_shown(command: str, **what: str) -> None:
    """Writes the audit line (operating system user, what, when) to the log (standard error)."""
    import logging

    from sorbus.telemetry.logs import configure_logs

    configure_logs(command)
    logging.getLogger(__name__).warning(
        "personal values shown", extra={"audit": True, "who": login_name(), "command": command, **what}
    )


def note_in_trail(state: State, kind: str, subject: str, data_type: str = "", record: str = "") -> None:
    """Writes the same to the audit trail, if there is one, before anything is shown. TransientError."""
    from sorbus.audit import AuditTrail

    AuditTrail(state).note(login_name(), "show personal values", kind, subject, data_type=data_type, record=record)
