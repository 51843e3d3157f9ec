"""The first thing that the `sorbus` command does: it loads next to nothing before it handles signals.

A shell's background job ignores SIGINT, and process 1 of a container SIGTERM, so that a stop in a command's first
seconds would be lost. Until a long-running command handles them with a Stop, they end the process.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Runs the command line of this process."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, _end)
    try:
        from sorbus.cli import app
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    app.main()


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
