"""Two ways to start a child process: as a program, or as a fork of this process, which has Sorbus's modules loaded.

A fork begins at once and shares the modules' memory; forty flows as programs import the same modules forty times, at
more than a second of CPU each, and hold forty copies.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import hashlib
import importlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, Protocol

import sorbus
from sorbus.cli import app
from sorbus.tls import trusted_certificates

CAN_FORK = sys.platform == "linux"
"""Elsewhere a fork isn't safe (macOS) or isn't there (Windows)."""

_MOST_FILES = 1 << 20
"""Closed at most where the system sets no limit to open files."""
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_LOOK_EVERY = 5.0
_log = logging.getLogger(__name__)
_loaded: list[str] = []
"""The digest of the code that was loaded; empty before."""
_looked_at, _changed = 0.0, False
_PRELOADED = (
    "sorbus.bus.status",
    "sorbus.cli.refusal",
    "sorbus.consumers.commands",
    "sorbus.consumers.run_flow",
    "sorbus.ops.decisions.registry",
    "sorbus.ops.monitoring.build_monitor",
    "sorbus.ops.monitoring.exporter",
    "sorbus.producers.commands",
    "sorbus.producers.loop",
    "sorbus.producers.progress",
    "sorbus.telemetry.process",
    "sorbus.waiting.complete",
)


class Launched(Protocol):
    """A child process that was started. `output` is the file descriptor of its stdout and stderr, non-blocking."""

    @property
    def pid(self) -> int: ...

    @property
    def output(self) -> int: ...

    def poll(self) -> int | None:
        """Its exit code once it has ended, negative for a signal."""

    def send_signal(self, number: signal.Signals) -> None:
        """Does nothing if it has ended."""

    def close(self) -> None:
        """Closes `output`."""


Launch = Callable[[Sequence[str], Mapping[str, str]], Launched]
"""Starts a command line with these variables added to the environment."""


def spawn(command: Sequence[str], env: Mapping[str, str]) -> Launched:
    """Starts any program."""
    return _Spawned(command, env)


def fork(command: Sequence[str], env: Mapping[str, str]) -> Launched:
    """Starts a `sorbus` command line as a fork of this process; as a program where that can't be done.

    So also once code has changed on disk: what a fork loads later would be of another version than what it has.
    """
    if not CAN_FORK or threading.active_count() > 1:  # another thread's locks would stay locked in the child
        return spawn(command, env)
    if _loaded and _has_changed():
        return spawn(command, env)
    return _Forked(command, env)


def preload(connectors: Callable[[], object] = lambda: None) -> None:
    """Loads what forks need, once; `connectors` loads those of the map.

    The garbage collector marks each object that it looks at, and so would give each fork a copy of all of them: it
    never looks at what is here now.
    """
    _loaded[:] = [_code_on_disk()]
    gc.disable()
    for name in _PRELOADED:
        importlib.import_module(name)
    connectors()
    trusted_certificates()
    for command in ("consume", "produce", "watch"):
        app.application(command)
    gc.collect()
    gc.freeze()
    gc.enable()


def _has_changed() -> bool:
    global _looked_at, _changed
    if not _changed and time.monotonic() - _looked_at > _LOOK_EVERY:
        _looked_at, _changed = time.monotonic(), _code_on_disk() != _loaded[0]
        if _changed:
            _log.warning(
                "Sorbus or a package of its has changed on disk: processes that start now have the new one, the others"
                " still the old one; restart `sorbus up`"
            )
    return _changed


def _code_on_disk() -> str:
    """A digest of Sorbus's own files, by their times, and of which packages are installed."""
    found = []
    for folder, _, files in os.walk(Path(sorbus.__file__).parent, followlinks=True):
        found += [Path(folder) / file for file in files if file.endswith((".py", ".so"))]
    for place in filter(os.path.isdir, sys.path):
        found += [entry for entry in Path(place).iterdir() if entry.suffix == ".dist-info"]
    digest = hashlib.sha256()
    for file in sorted(found):
        with contextlib.suppress(FileNotFoundError):
            digest.update(f"{file} {file.stat().st_mtime_ns}\n".encode())
    return digest.hexdigest()


class _Spawned:
    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env},
            # A group of its own: Ctrl-C in a terminal reaches the supervisor alone, which then stops each child once.
            process_group=0,
            preexec_fn=_die_with(os.getpid()),
        )
        assert self._process.stdout is not None
        self._stdout = self._process.stdout
        os.set_blocking(self.output, False)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> int:
        return self._stdout.fileno()

    def poll(self) -> int | None:
        return self._process.poll()

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def close(self) -> None:
        self._stdout.close()


class _Forked:
    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        die = _die_with(os.getpid())
        sys.stdout.flush()
        sys.stderr.flush()
        self.output, written = os.pipe()
        # Until the child has handlers of its own, a signal must not run ours in it.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
        self.pid = os.fork()
        if not self.pid:
            _become(command, env, written, die)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.close(written)
        os.set_blocking(self.output, False)
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def close(self) -> None:
        os.close(self.output)


def _become(command: Sequence[str], env: Mapping[str, str], output: int, die: Callable[[], None] | None) -> NoReturn:
    """Runs the command in what has just been forked, and never returns into the supervisor's frames."""
    code = 1
    try:
        from setproctitle import setproctitle

        os.setpgid(0, 0)
        if die is not None:
            die()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
        nothing = os.open(os.devnull, os.O_RDONLY)
        for old, new in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(old, new)
        most = os.sysconf("SC_OPEN_MAX")
        os.closerange(
            3, most if most > 0 else _MOST_FILES
        )  # the supervisor's, whose objects live on in frames that never run
        os.environ.update(env)
        sys.argv = [*command]
        sys.orig_argv = [sys.executable, *command]  # to begin anew as a program (sorbus/cli/refusal.py)
        setproctitle(" ".join(("sorbus", *command[1:])))
        code = _run()
    except BaseException:  # noqa: BLE001  # whatever it is, it must not reach the supervisor's own handlers
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:  # also where the supervisor is gone, and with it who reads the pipe
            os._exit(code)


def _run() -> int:
    try:
        app.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


def _die_with(parent: int) -> Callable[[], None] | None:
    """What a child does first: asks to be stopped when the supervisor is killed (Linux)."""
    if _LIBC is None:
        return None
    libc = _LIBC

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(128 + signal.SIGTERM)

    return ask
