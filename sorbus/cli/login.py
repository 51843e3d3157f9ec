"""The name under which somebody who types a command is noted."""

from __future__ import annotations

import os
from getpass import getuser


def login_name() -> str:
    """The operating system's name for who runs this process, `uid 10001` for a user without one (a container's)."""
    try:
        return getuser()
    except (KeyError, OSError):  # KeyError before Python 3.13
        return f"uid {os.getuid()}"
