"""The supervisor: starts in turn, restarts what ends, gives up where that is right, and leaves nothing behind."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pytest

from sorbus.errors import ExitCode
from sorbus.ops.runtime.child import ChildProcess, ChildProgram
from sorbus.ops.runtime.output import Output
from sorbus.ops.runtime.supervisor import Supervisor
from sorbus.telemetry.stop import Stop

HEALTHY = """
import sys
from sorbus.telemetry.process import running
with running("test", int(sys.argv[1])) as process:
    process.health.ready()
    process.stop.wait()
"""
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def python(name: str, code: str) -> ChildProgram:
    return ChildProgram(name, (sys.executable, "-c", code, "{port}"))


class Run:
    """A supervisor in a thread of its own, its output and its files."""

    def __init__(self, folder: Path, *programs: ChildProgram, stream: TextIO | None = None) -> None:
        self.stream = stream or io.StringIO()
        self.folder, self.stop = folder, Stop()
        names = [program.name for program in programs]
        self.supervisor = Supervisor(programs, output=Output(self.stream, names), folder=folder, base_port=21900)
        self.code: ExitCode | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.code = self.supervisor.run(self.stop)

    def until(self, what: str, is_so: Callable[[], bool], seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, f"waited for {what}\n{self.said()}\n{self.processes()}"
            time.sleep(0.02)

    def said(self) -> str:
        return self.stream.getvalue() if isinstance(self.stream, io.StringIO) else ""

    def processes(self) -> list[dict[str, str | int | None]]:
        file = self.folder / "processes.json"
        found: list[dict[str, str | int | None]] = json.loads(file.read_text()) if file.exists() else []
        return found

    def end(self) -> ExitCode | None:
        self.stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the supervisor did not end"
        return self.code


def test_processes_start_answer_and_stop_gently(tmp_path: Path) -> None:
    run = Run(tmp_path, python("one", HEALTHY), python("two", HEALTHY), python("three", HEALTHY))
    run.until("all running", lambda: [item["state"] for item in run.processes()] == ["running"] * 3)
    targets = json.loads((tmp_path / "prometheus.json").read_text())
    assert [target["labels"]["process"] for target in targets] == ["one", "two", "three"]
    pids = [item["pid"] for item in run.processes()]
    assert run.end() == ExitCode.FINE
    assert [item["state"] for item in run.processes()] == ["stopped"] * 3
    assert not [pid for pid in pids if isinstance(pid, int) and Path(f"/proc/{pid}").exists()]
    assert run.said().count('"event": "stopped"') == 3


def test_a_killed_process_is_started_again_on_its_port(tmp_path: Path) -> None:
    run = Run(tmp_path, python("one", HEALTHY))
    run.until("it runs", lambda: [item["state"] for item in run.processes()] == ["running"])
    (before,) = run.processes()
    assert isinstance(before["pid"], int)
    os.kill(before["pid"], signal.SIGKILL)
    run.until(
        "it runs again", lambda: [(item["state"], item["restarts"]) for item in run.processes()] == [("running", 1)]
    )
    (after,) = run.processes()
    run.end()
    assert after["pid"] != before["pid"]
    assert after["port"] == before["port"]
    assert "ended by signal 9; starts again in" in run.said()


def test_a_refused_process_is_reported_and_not_tried_again(tmp_path: Path) -> None:
    run = Run(tmp_path, python("one", "print('the password is wrong'); raise SystemExit(4)"), python("two", HEALTHY))
    run.until("one given up", lambda: [item["state"] for item in run.processes()] == ["given up", "running"])
    assert run.end() == ExitCode.REFUSED
    assert "is killed" not in run.said(), run.said()
    lines = [json.loads(line)["event"] for line in run.said().splitlines() if '"one"' in line]
    assert lines == [
        "the password is wrong",
        "ended with exit code 4; refused: a person must act first, as its last message says",
    ]


def test_it_ends_by_itself_when_nothing_is_left_to_run(tmp_path: Path) -> None:
    run = Run(tmp_path, python("one", "raise SystemExit(4)"), python("two", "raise SystemExit(2)"))
    run.until("the end", lambda: run.code is not None)
    assert run.code == ExitCode.REFUSED


def test_a_process_that_does_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sorbus.ops.runtime.supervisor.GRACE", 0.3)
    run = Run(tmp_path, python("deaf", STUBBORN))
    run.until("it is up", lambda: "up" in run.said())
    run.end()
    assert "has not stopped within 0 s and is killed" in run.said()


def test_a_process_that_never_answers_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sorbus.ops.runtime.supervisor._ANSWERS_AFTER", 0.1)
    monkeypatch.setattr("sorbus.ops.runtime.supervisor._ASK_EVERY", 0.1)
    run = Run(tmp_path, python("silent", "import time; time.sleep(60)"))
    run.until("it begins again", lambda: [item["restarts"] for item in run.processes()] == [1])
    run.end()
    assert "is stuck and is ended: its health server does not answer" in run.said()


def test_children_end_with_a_killed_supervisor(tmp_path: Path) -> None:
    code = f"""
import io, pathlib, sys
from sorbus.ops.runtime.supervisor import Supervisor
from sorbus.ops.runtime.output import Output
from sorbus.ops.runtime.child import ChildProgram
from sorbus.telemetry.stop import Stop
program = ChildProgram("one", (sys.executable, "-c", {HEALTHY!r}, "{{port}}"))
output, folder = Output(sys.stdout, ["one"]), pathlib.Path({str(tmp_path)!r})
Supervisor([program], output=output, folder=folder, base_port=21950).run(Stop())
"""
    file = tmp_path / "processes.json"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL) as supervisor:
        _wait_for("the child", lambda: file.exists() and '"running"' in file.read_text())
        pid = json.loads(file.read_text())[0]["pid"]
        supervisor.kill()
    _wait_for("the child's end", lambda: not _is_alive(pid))


def test_pauses_grow_up_to_a_minute_and_a_healthy_minute_forgets_them() -> None:
    now = 1000.0
    child = ChildProcess(python("one", "raise SystemExit(3)"), clock=lambda: now, jitter=lambda: 1.0)
    pauses = []
    for _ in range(9):
        _end(child)
        pauses.append(child.pause())
        now += 100
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    child.start(0, {})
    now += 61
    _wait_for("the end", lambda: child.ended() is not None)
    assert child.pause() == 1


def test_pauses_differ_by_chance_so_that_processes_do_not_come_back_at_once() -> None:
    child = ChildProcess(python("one", "raise SystemExit(3)"), clock=lambda: 0.0, jitter=lambda: 0.0)
    _end(child)
    assert child.pause() == 0.5


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_are_prefixed_on_a_terminal_even_when_they_come_in_pieces() -> None:
    stream, (read, write) = Terminal(), os.pipe()
    output = Output(stream, ["produce crm", "watch"])
    for piece in (b"first li", b"ne\nsecond", b" line\nlast"):
        os.write(write, piece)
        output.copy(read, "watch")
    os.close(write)
    assert not output.copy(read, "watch")
    os.close(read)
    assert [line.partition(" | ")[2] or line.partition("|\x1b[0m ")[2] for line in stream.getvalue().splitlines()] == [
        "first line",
        "second line",
        "last",
    ]
    assert "watch       |" in stream.getvalue()


class Full(io.StringIO):
    """A stream that takes nothing while it is full; what it was given then is gone."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number, self.is_full = number, True

    def flush(self) -> None:
        if self.is_full:
            self.seek(0)
            self.truncate()
            raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE, errno.EIO], ids=errno.errorcode.get)
def test_output_that_can_not_be_written_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    stream = Full(number)
    run = Run(tmp_path, python("one", HEALTHY), stream=stream)
    run.until("it runs", lambda: [item["state"] for item in run.processes()] == ["running"])
    run.until("it is reported", lambda: "the output can't be written" in caplog.text)
    (process,) = run.processes()
    assert isinstance(process["pid"], int)
    stream.is_full = False
    os.kill(process["pid"], signal.SIGKILL)
    run.until("the count of what is missing", lambda: "lines could not be written" in stream.getvalue())
    run.until("its next start", lambda: [item["restarts"] for item in run.processes()] == [1])
    assert run.end() == ExitCode.FINE


CHATTY = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True:
    print("x" * 100, flush=True)
"""


def _pipe() -> tuple[int, int]:
    return os.pipe()


def _terminal() -> tuple[int, int]:
    """One whose reader has stopped, as after Ctrl-S."""
    reader, writer = os.openpty()
    tty.setraw(writer)
    return reader, writer


def _socket() -> tuple[int, int]:
    reader, writer = socket.socketpair()
    return reader.detach(), writer.detach()


@pytest.mark.parametrize("opened", [_pipe, _terminal, _socket])
def test_output_whose_reader_has_stopped_stops_nothing(tmp_path: Path, opened: Callable[[], tuple[int, int]]) -> None:
    reader, writer = opened()
    with os.fdopen(writer, "w") as stream:
        run = Run(tmp_path, python("one", CHATTY), python("two", HEALTHY), stream=stream)
        output = run.supervisor._output
        run.until("lines are dropped", lambda: output._dropped > 0)
        run.until("the other runs", lambda: [item["state"] for item in run.processes()][1:] == ["running"])
        read = threading.Thread(target=_read_until, args=(reader, b"lines could not be written"))
        read.start()
        read.join(20)
        assert not read.is_alive(), "the count was not written"
        dropped = output._dropped
        run.until("lines are dropped again", lambda: output._dropped > dropped)
        began = time.monotonic()
        assert run.end() == ExitCode.FINE
        assert time.monotonic() - began < 10
        assert os.get_blocking(writer), "others that share it would find it non-blocking"
    os.close(reader)


def test_a_stop_within_a_line_or_a_pause_of_the_reader_loses_nothing() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        output, lines = Output(stream, ["one"]), [json.dumps({"number": number}) for number in range(9000)]
        for line in lines:
            output._write("one", [line])
        assert output.has_waiting
        threading.Timer(0.2, output.finish).start()
        assert _read_until(reader, lines[-1].encode() + b"\n").decode().splitlines() == lines
    os.close(reader)


def _read_until(reader: int, words: bytes) -> bytes:
    found = b""
    while words not in found:
        found += os.read(reader, 1 << 16)
    return found


def _end(child: ChildProcess) -> None:
    child.start(0, {})
    _wait_for("the process's end", lambda: child.ended() is not None)


def _wait_for(what: str, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
