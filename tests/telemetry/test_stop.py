"""Stop: one signal asks, the second one ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

from sorbus.telemetry.stop import Stop

WAITING = """
from sorbus.telemetry.stop import Stop
import time
stop = Stop.on_signals()
print("up", flush=True)
stop.wait()
print("asked", flush=True)
time.sleep(60)
"""


def test_waiting_ends_when_asked_to_stop() -> None:
    stop = Stop()
    threading.Timer(0.05, stop.set).start()
    begin = time.monotonic()
    assert stop.wait(10)
    assert time.monotonic() - begin < 5
    assert stop.is_set()


def test_waiting_ends_when_its_time_is_up() -> None:
    stop = Stop()
    assert not stop.wait(0.01)
    assert not stop.is_set()


def test_the_first_signal_asks_and_the_second_ends_at_once() -> None:
    with subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "up\n"
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == "asked\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 128 + signal.SIGTERM
        finally:
            process.kill()
