"""What a long-running command does when its access is denied (exit code 4): a person has to act before another try.

By default it ends with code 4. Where a supervisor would restart it at once (`sorbus up`, a container's `restart:`),
that would be a login every few seconds, until the account is locked; there SORBUS_WHEN_REFUSED=wait makes it stay,
report the problem in health, status and log, and retry once its credentials have changed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from dotenv import dotenv_values

from sorbus.errors import AuthError, ExitCode, LostPosition, SorbusError
from sorbus.map.loaded import LoadedMap
from sorbus.state import State
from sorbus.telemetry.health import REFUSED
from sorbus.telemetry.process import Process

REFUSED_FOR_GOOD = (ExitCode.WRONG_USE, ExitCode.REFUSED)
"""What a supervisor doesn't start again: it would end the same way until a person has acted."""
WHEN_REFUSED, WAIT = "SORBUS_WHEN_REFUSED", "wait"
AGAIN = 60.0
"""Seconds until another try where retrying can't lock an account: a permission, a slot, a position."""
_LOOK, _ASK_TOKENS = 1.0, 10.0
_MOUNTED = Path("/run/secrets")
_log = logging.getLogger(__name__)


def until_accepted(
    run: Callable[[], None],
    process: Process,
    loaded: LoadedMap,
    system: str = "",
    *,
    again: float = AGAIN,
    begin_anew: Callable[[], None] | None = None,
) -> None:
    """Runs until it ends; when denied, as the module says. `system`: whose stored tokens are watched.

    `begin_anew`: what is done once the map or a login's files have changed; without it the process restarts itself.

    Raises AuthError or LostPosition if it shall not wait.
    """
    files = LoginFiles(loaded)
    while True:
        try:
            run()
        except (AuthError, LostPosition) as error:
            if os.environ.get(WHEN_REFUSED) != WAIT:
                raise
            if not _wait(error, process, loaded, files, system, again, begin_anew or restart_process):
                return
        else:
            return


def _wait(
    error: AuthError | LostPosition,
    process: Process,
    loaded: LoadedMap,
    files: LoginFiles,
    system: str,
    again: float,
    begin_anew: Callable[[], None],
) -> bool:
    """Waits until a person has acted; False on a stop. `begin_anew` if files have changed since this process began."""
    tokens = _tokens(loaded, system)  # read before anybody is alerted and may act
    locks = isinstance(error, AuthError) and error.lockout
    how = "not retried automatically, since that could lock the account" if locks else "retried every minute"
    if process.health.status().dependency != REFUSED:
        _log.error(
            "stopped: %s; %s; a change of the map, its .env or its secrets' files takes effect at once", error, how
        )
    process.health.block(REFUSED, str(error))
    due, ask_at = time.monotonic() + again, time.monotonic() + _ASK_TOKENS
    while not process.stop.wait(_LOOK):
        process.health.beat()
        if files.have_changed():
            begin_anew()
        if time.monotonic() >= ask_at:
            ask_at = time.monotonic() + _ASK_TOKENS
            if _tokens(loaded, system) != tokens:
                _log.info("new tokens are stored: retrying", extra={"system": system})
                return True
        if not locks and time.monotonic() >= due:
            return True
    return False


class LoginFiles:
    """The files that a login may depend on: the map since it was loaded; .env and the files that it names, as now."""

    def __init__(self, loaded: LoadedMap) -> None:
        self._loaded, self._before = loaded, _digest(loaded.folder)

    def have_changed(self) -> bool:
        """Whether any of them is another now."""
        try:
            return self._loaded.has_changed() or _digest(self._loaded.folder) != self._before
        except OSError:  # being written at this moment
            return False

    def begin_anew_if_changed(self) -> None:
        """Restarts this process with the same command if any of them has changed."""
        if self.have_changed():
            restart_process()


def restart_process() -> NoReturn:
    """Runs the same command in this process's place."""
    _log.info("the credentials or the map have changed: restarting")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # the very same command


def _digest(folder: Path) -> str:
    found = hashlib.sha256()
    for file in _secret_files(folder):
        found.update(str(file).encode() + b"\0" + _content(file))
    return found.hexdigest()


def _secret_files(folder: Path) -> Iterator[Path]:
    for here in {folder.resolve(), Path.cwd()}:
        yield here / ".env"
        if (here / ".env").is_file():
            values = dotenv_values(here / ".env", interpolate=False)
            yield from (here / value for name, value in values.items() if value and name.endswith("_FILE"))
    yield from (folder / value for name, value in os.environ.items() if value and name.endswith("_FILE"))
    if _MOUNTED.is_dir():
        yield from sorted(_MOUNTED.iterdir())


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes() if file.is_file() and file.stat().st_size < 1_000_000 else b""
    except OSError:
        return b""


def _tokens(loaded: LoadedMap, system: str) -> object:
    """When the system's stored tokens were obtained; None if it has none, or the state is unreachable."""
    if not system or loaded.map.systems[system].kind != "http":
        return None
    try:
        return State.of(loaded.map.topic_prefix).run(b"select obtained_at from token where system = %s", [system])
    except SorbusError:
        return None
