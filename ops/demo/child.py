"""Runs a `sorbus` command as a child of the demo, which ends when the demo does, however that dies.

The demo holds the other end of standard input and never writes to it: end of file means that the demo is gone.
"""

from __future__ import annotations

import os
import signal
import threading

from sorbus.cli.app import main


def _end_with_parent() -> None:
    # read(), not sys.stdin: its lock would be held by this thread when the interpreter ends.
    while os.read(0, 64):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    main()
