"""A real PostgreSQL, set up for logical replication, its cluster kept in a folder.

PostgreSQL refuses to run as root, so for root it runs as another user (`postgres` or `nobody`). Where that user can't
reach the folder or the programs (a checkout under /root), the server is given the one capability that lets it pass
through foreign folders, instead of opening them to everybody.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

from sorbus.ops.embedded.errors import StackError
from sorbus.ops.embedded.packages import Packages
from sorbus.ops.embedded.ports import LOOPBACK
from sorbus.ops.embedded.process import ServerProcess

SUPERUSER = "sorbus"
DATABASE = "sorbus"

_SETTINGS = {
    "wal_level": "logical",
    "max_wal_senders": "40",
    "max_replication_slots": "40",
    "max_connections": "200",
    "max_prepared_transactions": "0",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "jit": "off",
    # TCP on loopback only: a socket's path would be too long in a deep folder.
    "unix_socket_directories": "",
    "listen_addresses": LOOPBACK,
    "log_min_messages": "warning",
}
# A test makes a database or two: autovacuum would start a process every tenth of a second to look at one of them. Its
# slots may stay.
_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum_naptime": "1h",
    "max_replication_slots": "400",
}

# Capabilities by bit (linux/capability.h), the smaller one first: read and search any folder, or pass any check.
_CAPABILITIES = {2: "dac_read_search", 1: "dac_override"}


class Postgres:
    """The database server of a stack, on one loopback port; superuser `sorbus`, no password, default database `sorbus`.

    `fast` gives up durability over a crash of the machine for speed: for tests.
    """

    def __init__(self, folder: Path, packages: Packages, *, port: int, fast: bool = False) -> None:
        self.address = self.dsn(port, DATABASE)
        self._programs = packages.postgres
        self._folder = folder
        self._data = folder / "postgres"
        self._port = port
        self._settings = {**_SETTINGS, "port": str(port), **(_FAST if fast else {})}
        self._initdb_options = ["--no-sync"] if fast else []
        # Fast shutdown: SIGTERM would wait for every client to leave. SIGQUIT at least lets it release its memory.
        self._process = ServerProcess("postgres", folder, stop=signal.SIGINT, death=signal.SIGQUIT)

    @staticmethod
    def dsn(port: int, database: str) -> str:
        """How a client connects to `database`."""
        return f"postgresql://{SUPERUSER}@{LOOPBACK}:{port}/{database}"

    def start(self) -> None:
        """Create the cluster if the folder is new, and start; `wait` tells when it answers."""
        prefix = self._other_user() if os.geteuid() == 0 else []
        if not (self._data / "PG_VERSION").exists():
            self._create(prefix)
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        self._process.start([*prefix, str(self._programs / "postgres"), "-D", str(self._data), *settings])

    def wait(self, deadline: float = 120.0) -> None:
        """Return when the database `sorbus` accepts clients (it is created if need be), or raise StackError."""

        def is_ready() -> bool:
            try:
                self.create_database(DATABASE)
            except psycopg.OperationalError:
                return False
            return True

        event = f"it accepted clients on port {self._port}"
        self._process.wait_until(is_ready, deadline=deadline, event=event, port=self._port)

    def create_database(self, name: str) -> str:
        """Make sure that a database exists; returns how to connect to it."""
        with psycopg.connect(self.dsn(self._port, "postgres"), autocommit=True, connect_timeout=5) as connection:
            known = connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone()
            if known is None:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        return self.dsn(self._port, name)

    def stop(self) -> None:
        """Shut down in order, without waiting for clients; the cluster stays in the folder."""
        self._process.stop()

    def is_running(self) -> bool:
        """Whether the server is up."""
        return self._process.is_running()

    def _create(self, prefix: list[str]) -> None:
        initdb = [str(self._programs / "initdb"), "-D", str(self._data), "-U", SUPERUSER, "-A", "trust", "-E", "UTF8"]
        # The builtin provider sorts and folds the same on every machine, whatever locales it has; 17 brought it.
        builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if self._major() >= 17 else []
        locale = [*builtin, "--locale=C", "--no-instructions"]
        done = subprocess.run(
            [*prefix, *initdb, *locale, *self._initdb_options],
            capture_output=True,
            text=True,
            check=False,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise StackError(f"PostgreSQL could not create its cluster in {self._data}:\n{done.stdout}{done.stderr}")

    def _major(self) -> int:
        """The programs' major version: 18 of `postgres (PostgreSQL) 18.6`."""
        asked = [str(self._programs / "postgres"), "--version"]
        told = subprocess.run(asked, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL).stdout
        return int(told.split()[2].partition(".")[0]) if len(told.split()) > 2 else 18

    def _other_user(self) -> list[str]:
        """As root: hand the data folder to another user, and say how to run a command as that user."""
        setpriv = shutil.which("setpriv")
        user = _unprivileged_user()
        if setpriv is None or user is None:
            raise StackError(
                "PostgreSQL refuses to run as root, and there is no "
                f"{'setpriv (package util-linux)' if setpriv is None else 'user postgres or nobody'} to run it as "
                "somebody else. Run this as an ordinary user."
            )
        self._data.mkdir(mode=0o700, exist_ok=True)
        if self._data.stat().st_uid != user.pw_uid:
            for path in [self._data, *self._data.rglob("*")]:
                os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
        identity = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--pdeathsig=QUIT"]
        if all(_can_pass(path, user) for path in (self._folder, self._programs)):
            return [setpriv, *identity, "--"]
        capability = next((name for bit, name in _CAPABILITIES.items() if _effective_capabilities() >> bit & 1), None)
        if capability is None:
            raise StackError(
                f"PostgreSQL runs as {user.pw_name} here, who can't reach {self._folder} or {self._programs}.\n"
                "Put the checkout and the stack's folder where everybody may enter, or run this as an ordinary user."
            )
        # Without the secure bit access(2), by which PostgreSQL looks for its own programs, leaves the capability out.
        identity.append("--securebits=+no_setuid_fixup")
        return [setpriv, *identity, f"--inh-caps=-all,+{capability}", f"--ambient-caps=-all,+{capability}", "--"]


def _unprivileged_user() -> pwd.struct_passwd | None:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


def _can_pass(path: Path, user: pwd.struct_passwd) -> bool:
    """Whether a user may enter a folder and every folder above it, going by owner and mode."""
    for folder in (path.resolve(), *path.resolve().parents):
        status = folder.stat()
        bit = 0o100 if status.st_uid == user.pw_uid else 0o010 if status.st_gid == user.pw_gid else 0o001
        if not status.st_mode & bit:
            return False
    return True


def _effective_capabilities() -> int:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)
