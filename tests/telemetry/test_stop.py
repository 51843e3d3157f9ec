"""Stop: one signal asks, the second one ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

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


UNHEARD = """
from pathlib import Path
from sorbus.telemetry.stop import Stop
import os, signal, threading
def elsewhere():
    state = Path(f"/proc/self/task/{os.getpid()}/stat")
    while state.read_text().rpartition(")")[2].split()[0] != "S":
        pass
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
stop = Stop.on_signals()
threading.Thread(target=elsewhere).start()
stop.wait()
print("asked", flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks whether the thread sleeps in /proc")
def test_a_signal_that_does_not_end_the_poll_is_heard_all_the_same() -> None:
    """As one that comes between the last look and the poll: the handler waits for the main thread to come round."""
    done = subprocess.run([sys.executable, "-c", UNHEARD], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "asked\n"


BROKEN_OFF = """
from sorbus.telemetry.stop import Stop
import ctypes, sys, threading, time
def in_a_library():  # locked twice: it waits for ever, whatever signals come
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.CDLL(None).pthread_mutex_lock(mutex)
stop = Stop.on_signals()
with stop.breaking_off(0.2, 1.0):
    print("up", flush=True)
    in_a_library() if sys.argv[1] == "library" else time.sleep(60)
print("out", flush=True)
if sys.argv[1] == "thread":
    threading.Thread(target=time.sleep, args=[60]).start()
"""


@pytest.mark.parametrize(
    ("holds", "status", "told"),
    [
        ("nothing", 0, ["out"]),
        ("thread", 128 + signal.SIGTERM, ["out", "ending as by kill -9"]),
        ("library", 128 + signal.SIGTERM, ["ending as by kill -9", "in_a_library"]),
    ],
)
def test_what_a_block_waits_for_is_broken_off_and_nothing_holds_the_process(
    holds: str, status: int, told: list[str]
) -> None:
    command = [sys.executable, "-c", BROKEN_OFF, holds]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "up\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == status
            rest = process.stdout.read()
            assert [words for words in told if words not in rest] == []
            assert ("out\n" in rest) is ("out" in told)
        finally:
            process.kill()
