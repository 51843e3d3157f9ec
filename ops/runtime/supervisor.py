"""Keeps a map's processes running on one machine: starts them in turn, restarts what ends, stops all together."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sorbus.errors import ExitCode
from sorbus.ops.runtime.child import ChildProcess, ChildProgram
from sorbus.ops.runtime.launch import Launch, spawn
from sorbus.ops.runtime.output import Output
from sorbus.ops.runtime.run_folder import RunFolder
from sorbus.telemetry.options import LOOPBACK
from sorbus.telemetry.stop import Stop

GRACE = 10.0
"""Seconds a process has to stop by itself."""

_ANSWER_WITHIN, _LONGEST_ANSWER = 1.0, 16_384
_TICK, _SOON = 0.2, 0.02
_STARTING_AT_MOST = 15.0
_ASK_EVERY, _STUCK_ANSWERS = 10.0, 3
_ANSWERS_AFTER = 60.0
"""Seconds after its start: one that doesn't answer by then is stuck, as one that no longer answers."""


class Supervisor:
    """Runs programs until asked to stop. `folder` gets prometheus.json (targets) and processes.json (who is who).

    A process that runs several parts is given up when it ends by a signal or a fault: from then on each part has a
    process of its own, so that one that ends its process again and again ends nothing else.
    """

    def __init__(
        self,
        programs: Sequence[ChildProgram],
        *,
        output: Output,
        folder: Path,
        base_port: int = 9400,
        env: Mapping[str, str] | None = None,
        launch: Launch = spawn,
    ) -> None:
        self._launch = launch
        self.children = [ChildProcess(program, launch) for program in programs]
        self._output, self._folder = output, RunFolder(folder)
        self._base_port, self._env = base_port, dict(env or {})
        self._selector = selectors.DefaultSelector()
        self._at_once = max(1, os.cpu_count() or 1)
        self._asked_at = time.monotonic()
        self._stuck: dict[str, int] = {}

    def run(self, stop: Stop) -> ExitCode:
        """Returns once all have stopped: REFUSED if one was given up on, else FINE.

        UsageError if another supervisor has the folder, or it can't be written to.
        """
        self._folder.claim()
        self._selector.register(stop, selectors.EVENT_READ)
        try:
            while not stop.is_set():
                self._start_due()
                self._copy_output(_TICK)
                self._note_answers()
                self._note_ends()
                self._end_stuck()
                if all(child.state == "given up" for child in self.children):
                    break
        finally:
            self._selector.unregister(stop)
            self._stop_all()
            self._folder.release()
        return ExitCode.REFUSED if any(child.state == "given up" for child in self.children) else ExitCode.FINE

    def _start_due(self) -> None:
        starting = sum(child.state == "starting" and child.uptime() < _STARTING_AT_MOST for child in self.children)
        for child in self.children:
            if starting >= self._at_once:
                return
            if child.is_due():
                port = self._port_for(child)
                descriptor = child.start(port, self._env)
                self._selector.register(descriptor, selectors.EVENT_READ, child)
                starting += 1
                self._write_files()

    def _port_for(self, child: ChildProcess) -> int:
        """The port it had, or the one its place gives it; any free one if that is taken, or the base port is 0."""
        wanted = child.port or (self._base_port and self._base_port + self.children.index(child))
        if wanted and all(other.port != wanted for other in self.children if other is not child) and _is_free(wanted):
            return wanted
        with socket.create_server((LOOPBACK, 0)) as free:
            port: int = free.getsockname()[1]
        return port

    def _copy_output(self, wait: float) -> None:
        self._output.flush()
        for key, _ in self._selector.select(min(wait, _SOON) if self._output.has_waiting else wait):
            child = key.data
            if isinstance(child, ChildProcess) and not self._output.copy(key.fd, child.name):
                self._selector.unregister(key.fd)

    def _note_answers(self) -> None:
        for child in self.children:
            if child.state == "starting" and child.is_alive() and not _is_free(child.port):
                child.answered()
                self._write_files()

    def _note_ends(self) -> None:
        for child in list(self.children):
            if child.is_alive():
                continue
            self._drain(child)
            code = child.ended()
            if code is None:
                continue
            how = f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
            self._output.say(child.name, f"{how}; {child.verdict or f'starts again in {child.pause():.1f} s'}")
            if child.is_split:
                at = self.children.index(child)
                self.children[at : at + 1] = [ChildProcess(part, self._launch) for part in child.program.parts]
            self._write_files()

    def _drain(self, child: ChildProcess) -> None:
        """What a process printed last explains its end, so it comes before the words on it."""
        for key in list(self._selector.get_map().values()):
            if key.data is child:
                while self._output.copy(key.fd, child.name):
                    pass
                self._selector.unregister(key.fd)

    def _end_stuck(self) -> None:
        if time.monotonic() - self._asked_at < _ASK_EVERY:
            return
        self._asked_at = time.monotonic()
        if self._folder.is_behind:
            self._write_files()
        for child in self.children:
            should_answer = child.state == "running" or (child.state == "starting" and child.uptime() > _ANSWERS_AFTER)
            if not should_answer or not (reason := _complaint(child.port)):
                self._stuck.pop(child.name, None)
                continue
            self._stuck[child.name] = self._stuck.get(child.name, 0) + 1
            if self._stuck[child.name] >= _STUCK_ANSWERS:
                self._output.say(child.name, f"is stuck and is ended: {reason}")
                child.signal(signal.SIGKILL)
                del self._stuck[child.name]

    def _stop_all(self) -> None:
        for child in self.children:
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        while any(child.is_alive() for child in self.children) and time.monotonic() < deadline:
            self._copy_output(0.05)
        for child in self.children:
            if child.is_alive():
                self._output.say(child.name, f"has not stopped within {GRACE:.0f} s and is killed")
                child.signal(signal.SIGKILL)
        while any(child.is_alive() for child in self.children):
            self._copy_output(0.05)
        for child in self.children:
            self._drain(child)
            child.reap()
        self._output.finish()
        self._selector.close()
        self._write_files()

    def _write_files(self) -> None:
        self._folder.write(self.children)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((LOOPBACK, port)) != 0


def _complaint(port: int) -> str:
    """Why a process says that it should be restarted; empty if it is alive, or says nothing at all."""
    end, raw = time.monotonic() + _ANSWER_WITHIN, b""
    try:
        with socket.create_connection((LOOPBACK, port), _ANSWER_WITHIN) as connection:
            connection.sendall(b"GET /healthz/live HTTP/1.0\r\n\r\n")
            while len(raw) < _LONGEST_ANSWER:
                connection.settimeout(max(0.001, end - time.monotonic()))
                if not (piece := connection.recv(_LONGEST_ANSWER)):
                    break
                raw += piece
    except OSError as error:
        return f"its health server does not answer: {error}"
    head, _, body = raw.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if status == [b"200"]:
        return ""
    return body[:500].decode("utf-8", "replace").strip() or f"status {b''.join(status).decode('ascii', 'replace')}"
