"""A real MariaDB for a test run, with its log as a source needs it; without its binary such tests are skipped."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pymysql
import pytest

from sorbus.ops.embedded.ports import free_port

USER, PASSWORD = "sorbus", "secret"
_WITHIN = 60.0
_OPTIONS = (
    "--log-bin=log", "--binlog-format=ROW", "--binlog-row-image=FULL", "--binlog-row-metadata=FULL", "--server-id=1",
    "--innodb-flush-log-at-trx-commit=0", "--sync-binlog=0", "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--skip-networking=0", "--bind-address=127.0.0.1", "--max-allowed-packet=64M", "--sql-mode=",
    "--performance-schema=0",
    "--character-set-server=utf8mb4", "--innodb-lock-wait-timeout=5",
)  # fmt: skip


def binary(*names: str) -> str | None:
    """The path of the first of these programs that is there."""
    return next((found for name in names if (found := shutil.which(name) or shutil.which(f"/usr/sbin/{name}"))), None)


class Mariadb:
    """A server of its own in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port(13306 + os.getpid() % 5000)  # others begin at the same moment
        self.socket = str(folder / "s")
        self._process: subprocess.Popen[bytes] | None = None
        install, user = binary("mariadb-install-db"), getpass.getuser()
        assert install is not None
        self._user = f"--user={user}"
        subprocess.run(
            [install, "--no-defaults", self._user, f"--datadir={folder / 'data'}", "--skip-test-db",
             "--auth-root-authentication-method=normal", "--skip-name-resolve"],
            check=True, capture_output=True, timeout=_WITHIN,
        )  # fmt: skip
        self.start()
        self.root(
            f"create user {USER}@'127.0.0.1' identified by '{PASSWORD}'",
            f"grant select, replication slave, binlog monitor on *.* to {USER}@'127.0.0.1'",
        )

    def start(self, *options: str) -> None:
        """Starts it and waits until it answers."""
        server = binary("mariadbd")
        assert server is not None
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [server, "--no-defaults", self._user, f"--datadir={self.folder / 'data'}", f"--port={self.port}",
                 f"--socket={self.socket}", f"--pid-file={self.folder / 'pid'}",
                 f"--tmpdir={self.folder}",  # another server that begins deletes what it finds in one that they share
                 *_OPTIONS, *options],
                stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + _WITHIN
        while True:
            try:
                self.connect().close()
            except pymysql.Error as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    told = (self.folder / "server.log").read_text()[-3000:]
                    raise RuntimeError(f"MariaDB doesn't answer: {told}") from error
                time.sleep(0.05)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends it and waits for that."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_WITHIN)
            self._process = None

    def connect(self, database: str | None = None, **options: Any) -> pymysql.connections.Connection:
        """As root, each statement its own transaction unless told otherwise."""
        return pymysql.connect(
            unix_socket=self.socket, user="root", database=database, autocommit=options.pop("autocommit", True),
            charset="utf8mb4", **options,
        )  # fmt: skip

    def root(self, *statements: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Executes as root; the rows of the last statement."""
        session = self.connect(database)
        try:
            with session.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return list(cursor.fetchall())
        finally:
            session.close()

    def many(self, database: str, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Executes for many rows in one transaction."""
        session = self.connect(database, autocommit=False)
        try:
            with session.cursor() as cursor:
                cursor.executemany(statement, rows)
            session.commit()
        finally:
            session.close()

    def connection(self, database: str) -> dict[str, object]:
        """As a map's `connection:` has it."""
        return {"host": "127.0.0.1", "port": self.port, "user": USER, "password": PASSWORD, "database": database}

    def make_database(self, name: str, *statements: str, charset: str = "utf8mb4") -> str:
        """A new database that our user may write to."""
        self.root(f"create database `{name}` character set {charset}", f"grant all on `{name}`.* to {USER}@'127.0.0.1'")
        if statements:
            self.root(*statements, database=name)
        return name


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mariadb]:
    """One server for the run."""
    if binary("mariadbd") is None or binary("mariadb-install-db") is None:
        pytest.skip("needs MariaDB: apt-get install mariadb-server")
    server = Mariadb(tmp_path_factory.mktemp("my"))
    yield server
    server.stop(signal.SIGKILL)


@pytest.fixture
def mariadb(mariadb_server: Mariadb, unique: str) -> Iterator[Callable[..., str]]:
    """Makes databases in the run's MariaDB."""
    made: list[str] = []

    def make(*statements: str, charset: str = "utf8mb4") -> str:
        made.append(
            mariadb_server.make_database(f"{unique}_{len(made)}".replace("-", "_"), *statements, charset=charset)
        )
        return made[-1]

    yield make
    for name in made:
        mariadb_server.root(f"drop database if exists `{name}`")
