"""A tap's virtual environment: made by Sorbus from the package's name and version, apart from Sorbus's own.

What was installed is recorded beside it, with the hash of every archive, and is not installed again.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from sorbus.errors import SorbusError, TransientError
from sorbus.producers.singer.options import SingerConnection
from sorbus.producers.singer.secret_values import SecretValues
from sorbus.producers.singer.tap_folder import cache_folder
from sorbus.producers.singer.tap_process import KEPT

_LONGEST_INSTALL = 1800
_RECORD = "installed.json"
_NOT_PIPS = ("PIP_REQUIRE_VIRTUALENV", "PIP_TARGET", "PIP_PREFIX", "PIP_USER")
_FOR_PIP = (
    *KEPT, "ALL_PROXY", "all_proxy", "CURL_CA_BUNDLE", "NETRC", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS",
    "CC", "CXX", "CFLAGS", "CPPFLAGS", "CXXFLAGS", "LDFLAGS", "LD_LIBRARY_PATH", "PKG_CONFIG_PATH",
)  # fmt: skip
"""Of our environment, besides PIP_*. pip runs what packages bring (setup.py), so it gets no other system's secrets."""
_COMMANDS = """
import importlib.metadata, json, sys
found = importlib.metadata.distribution(sys.argv[1]).entry_points
print(json.dumps(sorted(one.name for one in found if one.group == "console_scripts")))
"""
_log = logging.getLogger(__name__)


class TapEnvironment(NamedTuple):
    """Where a package is installed, or will be."""

    connection: SingerConnection
    folder: Path

    @classmethod
    def of(cls, connection: SingerConnection) -> TapEnvironment:
        """One environment for each set of packages and Python."""
        parts = [
            connection.package,
            *connection.also,
            connection.python,
            f"{sys.version_info[0]}.{sys.version_info[1]}",
        ]
        digest = blake2b(json.dumps(parts).encode(), digest_size=6).hexdigest()
        return cls(connection, cache_folder() / "singer" / f"{connection.name}-{digest}")

    @property
    def is_installed(self) -> bool:
        """Whether it was installed to the end."""
        return (self.folder / _RECORD).is_file()

    @property
    def installed(self) -> dict[str, str]:
        """Package and version -> the hash of its archive."""
        found = json.loads((self.folder / _RECORD).read_text("utf-8"))
        return {str(name): str(digest) for name, digest in found["packages"].items()}

    def install(self) -> None:
        """Makes it, unless it is there. TransientError with pip's last words."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(self.folder.with_name(f".{self.folder.name}.lock")):
            if self.is_installed:
                return
            shutil.rmtree(self.folder, ignore_errors=True)
            _log.info("installing %s into %s", self.connection.package, self.folder)
            _run([self.connection.python or sys.executable, "-m", "venv", str(self.folder)])
            report, wanted = self.folder / "report.json", [str(self.connection.package), *self.connection.also]
            pip = [str(self.folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input"]
            _run([*pip, "--disable-pip-version-check", "--report", str(report), *wanted])
            record = {"packages": _packages(report), "commands": self._commands()}
            (self.folder / "new").write_text(json.dumps(record, indent=1), "utf-8")
            (self.folder / "new").replace(self.folder / _RECORD)

    def command(self) -> list[str]:
        """The tap's program. SorbusError where the package has several, and the map doesn't say which."""
        found = json.loads((self.folder / _RECORD).read_text("utf-8"))["commands"]
        chosen = self.connection.executable or (found[0] if len(found) == 1 else "")
        if chosen not in found:
            known = ", ".join(found) or "none"
            raise SorbusError(
                f"{self.connection.package} has the commands {known}: name one with `executable:` in the connection"
            )
        return [str(self.folder / "bin" / chosen)]

    def _commands(self) -> list[str]:
        told = _run([str(self.folder / "bin" / "python"), "-c", _COMMANDS, self.connection.name])
        return [str(name) for name in json.loads(told)]


def tap_command(connection: SingerConnection) -> list[str]:
    """What starts the tap, installed first where it isn't. TransientError, SorbusError."""
    if connection.command:
        return list(connection.command)
    environment = TapEnvironment.of(connection)
    environment.install()
    return environment.command()


def _packages(report: Path) -> dict[str, str]:
    found = {}
    for one in json.loads(report.read_text("utf-8")).get("install", []):
        hashes = one["download_info"].get("archive_info", {}).get("hashes", {})
        found[f"{one['metadata']['name']}=={one['metadata']['version']}"] = "sha256:" + hashes.get("sha256", "unknown")
    return found


def _run(command: list[str]) -> str:
    env = {
        name: value
        for name, value in os.environ.items()
        if name in _FOR_PIP or (name.startswith("PIP_") and name not in _NOT_PIPS)
    }
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=_LONGEST_INSTALL, check=False)
    except subprocess.TimeoutExpired as error:
        raise TransientError(f"{' '.join(command[:4])} took more than {_LONGEST_INSTALL} s and was stopped") from error
    except OSError as error:
        raise TransientError(f"{command[0]} can't be started: {error.strerror}") from error
    if done.returncode:
        told = SecretValues({}, {}).masked(done.stderr or done.stdout)  # an index's login
        said = "\n".join(told.strip().splitlines()[-8:])
        raise TransientError(f"{' '.join(command[1:4])} failed with {done.returncode}: {said[-1500:]}")
    return done.stdout


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process installs; others wait for it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
