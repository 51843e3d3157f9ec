"""The name under which the user of a command is recorded."""

from __future__ import annotations

import os
from getpass import getuser


def login_name() -> str:
    """The operating system user of this process; `uid 10001` for a user without a name (in a container)."""
    try:
        return getuser()
    except (KeyError, OSError):  # KeyError before Python 3.13
        return f"uid {os.getuid()}"
