"""Consumers that can be killed at any moment: each line on stdin is delivered by a process of its own.

`python -m tests.consumers.http.zygote FLOW.pickle STATE_DSN`, then lines such as `0 6`: the contacts from c0 to c5. A
process that is forked from this one, which has only loaded the code, opens the real HttpConsumer on the real state and
applies until it is finished. Answers: `began PID`, then `ended STATUS` (negative: by that signal).
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from pathlib import Path

from sorbus.connector import BoundFlow
from sorbus.consumers.http.consumer import HttpConsumer
from sorbus.errors import TransientError, Unfinished
from sorbus.state.database import State
from tests.consumers.http.house import contact, event


def deliver(flow: BoundFlow, dsn: str, first: int, end: int) -> None:
    """What the loop does with one batch."""
    consumer = HttpConsumer(flow, State(dsn))
    consumer.open()
    events = [event(f"c{n}", 1, contact(f"P {n}")) for n in range(first, end)]
    while True:
        try:
            refused = consumer.apply(events)
            break
        except (TransientError, Unfinished) as error:
            time.sleep(min(error.retry_after or 0.05, 0.05))
    for refusal in refused:
        sys.stderr.write(f"refused {refusal}\n")
    os._exit(1 if refused else 0)


def main() -> None:
    """Until stdin ends."""
    flow: BoundFlow = pickle.loads(Path(sys.argv[1]).read_bytes())
    for line in sys.stdin:
        first, end = map(int, line.split())
        pid = os.fork()
        if pid == 0:
            try:
                deliver(flow, sys.argv[2], first, end)
            finally:
                os._exit(2)
        say(f"began {pid}")
        _, status = os.waitpid(pid, 0)
        say(f"ended {os.waitstatus_to_exitcode(status)}")


def say(line: str) -> None:
    """To the test."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
