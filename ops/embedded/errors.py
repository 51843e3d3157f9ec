"""What can go wrong with the embedded stack, as one kind: it is not up, and the message says why and what to do."""

from __future__ import annotations

from sorbus.errors import ExitCode, SorbusError


class StackError(SorbusError):
    """A server of the embedded stack could not be fetched, started or reached."""

    exit_code = ExitCode.UNREACHABLE
