"""A tap ready to be started: its command, its files, and how its failures are told."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from sorbus.connector import BoundSystem
from sorbus.errors import TransientError
from sorbus.http_api.values import dump_json
from sorbus.producers.singer.catalog import TapCatalog
from sorbus.producers.singer.messages import OverlongLine
from sorbus.producers.singer.options import SingerConnection
from sorbus.producers.singer.secret_values import SecretValues
from sorbus.producers.singer.tap_environment import tap_command
from sorbus.producers.singer.tap_folder import TapFolder
from sorbus.producers.singer.tap_process import TapProcess

_LARGEST_CATALOG = 256 << 20
_SHOWN = 200


class Tap:
    """One system's. At most one process at a time; `close` ends it and removes its files."""

    def __init__(self, system: BoundSystem, purpose: str) -> None:
        assert isinstance(system.connection, SingerConnection)
        self.connection, self._system = system.connection, system
        self._key = f"{system.folder.absolute()}/{system.topic_prefix}{system.name}"
        environment = {name: value.get_secret_value() for name, value in self.connection.environment.items()}
        self._environment, self._secrets = environment, SecretValues(self.connection.config, environment)
        self._purpose = purpose
        self._folder: TapFolder | None = None
        self._command: list[str] = []
        self._process: TapProcess | None = None
        self._catalog: list[bytes] = []
        self._catalog_size = 0

    def prepare(self) -> None:
        """Installs it where it isn't, and removes what an earlier process left. TransientError, SorbusError."""
        self._command = tap_command(self.connection)
        self._folder = TapFolder.of(self._key, self._purpose)

    @property
    def process(self) -> TapProcess | None:
        """The one that runs."""
        return self._process

    def discover(self) -> None:
        """Starts it to list its streams."""
        self._catalog, self._catalog_size = [], 0
        self._start(["--discover"])

    def sync(self, catalog: str | None, state: str | None) -> None:
        """Starts it to read: these streams, from this state on."""
        arguments = []
        if catalog is not None:
            arguments += [self.connection.catalog, str(self._write("catalog.json", catalog))]
        if state is not None:
            arguments += ["--state", str(self._write("state.json", state))]
        self._start(arguments)

    def discovered(self, wait: float) -> TapCatalog | None:
        """The catalog, once it is complete; None after `wait` seconds without it. TransientError."""
        process = self._process
        assert process is not None
        until = time.monotonic() + wait
        while process.exit_code is None:
            for line in process.read(max(0.0, until - time.monotonic())):
                self._catalog_size += line.size if isinstance(line, OverlongLine) else len(line)
                if isinstance(line, OverlongLine) or self._catalog_size > _LARGEST_CATALOG:
                    raise TransientError("its catalog is too long to be read")
                self._catalog.append(line)
            self.check()
            if process.exit_code is None and time.monotonic() >= until:
                return None
        self.check()
        data = b"\n".join(self._catalog)
        begins = data.find(b"{")  # some write log lines before it
        return TapCatalog.parse(data[max(begins, 0) :])

    def check(self) -> None:
        """TransientError once it has failed, or says nothing for too long."""
        process = self._process
        assert process is not None
        if process.exit_code is not None and process.fault:
            raise TransientError(f"the tap {process.fault}{self.last_words()}")
        if process.exit_code:
            raise TransientError(f"the tap {_ended(process.exit_code)}{self.last_words()}")
        silent = time.monotonic() - process.heard_at
        if process.exit_code is None and silent > self.connection.idle_seconds:
            raise TransientError(
                f"the tap wrote nothing for {silent:,.0f} s and was stopped: see why, or allow it more time with"
                f" `idle_limit:`{self.last_words()}"
            )

    def last_words(self) -> str:
        """The end of its error output, without secrets."""
        said = self._process.last_words if self._process is not None else ""
        return f"; its last words:\n{said}" if said else ", and said nothing about it"

    def masked(self, text: str) -> str:
        """A text without the tap's secrets."""
        return self._secrets.masked(text)

    def beginning(self, text: str) -> str:
        """Of a text without secrets: those are masked before it is cut."""
        return self.masked(text)[:_SHOWN]

    def stop(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def close(self) -> None:
        """Ends it, and removes its files."""
        self.stop()
        if self._folder is not None:
            self._folder.remove()
            self._folder = None

    def _start(self, arguments: list[str]) -> None:
        self.stop()
        config = self._write("config.json", dump_json(self.connection.config))
        assert self._folder is not None
        command = [*self._command, "--config", str(config), *arguments]
        self._process = TapProcess(command, self._environment, self._system.folder.absolute(), self.masked)
        self._folder.note_process(self._process.pid)

    def _write(self, name: str, text: str) -> Path:
        if self._folder is None:
            self.prepare()
        assert self._folder is not None
        return self._folder.write(name, text)


def _ended(code: int) -> str:
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = str(-code)
        return f"was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"ended with status {code}"
