"""A pooler between us and PostgreSQL: named with the fix, at once; never retried, never without our settings."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from sorbus.errors import AuthError
from sorbus.ops.embedded.ports import listens
from sorbus.postgres.connection import PostgresConnection, connect
from sorbus.producers.postgres.slot import connect_replication

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
Pool = Callable[..., PostgresConnection]


@pytest.fixture
def pool(make_database: Callable[[str], str]) -> Iterator[Pool]:
    """Starts a real PgBouncer with settings of its own in front of a database."""
    if PGBOUNCER is None:
        pytest.skip("there is no pgbouncer here: `make tools` installs it")
    started: list[subprocess.Popen[bytes]] = []
    stack = ExitStack()

    def start(**settings: str) -> PostgresConnection:
        found = conninfo_to_dict(make_database("select 1"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        lines = [
            "[databases]",
            f"shop = host={found['host']} port={found['port']} dbname={found['dbname']} user={found['user']}",
            "[pgbouncer]",
            *(f"listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\nunix_socket_dir =".split("\n")),
            *(f"{name} = {value}" for name, value in settings.items()),
        ]
        folder = stack.enter_context(TemporaryDirectory(prefix="sorbus-pooler-"))
        Path(folder).chmod(0o755)  # a test's own folder may lie in one that only its user may enter
        file = Path(folder) / "pgbouncer.ini"
        file.write_text("\n".join(lines) + "\n")
        user = "nobody" if os.getuid() == 0 else None  # it refuses to run as root
        with (file.parent / "pgbouncer.log").open("wb") as log:
            started.append(subprocess.Popen([str(PGBOUNCER), str(file)], user=user, stdout=log, stderr=log))
        end = time.monotonic() + 20
        while not listens([started[-1].pid], port):
            assert time.monotonic() < end, (file.parent / "pgbouncer.log").read_text()
            time.sleep(0.05)
        return PostgresConnection(dsn=SecretStr(f"postgresql://{found['user']}@127.0.0.1:{port}/shop"))

    yield start
    for process in started:
        process.terminate()
        process.wait(10)
    stack.close()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pool_mode": "session"}, "unsupported startup parameter"),
        ({"pool_mode": "transaction"}, "unsupported startup parameter"),
        ({"pool_mode": "session", "ignore_startup_parameters": "options"}, "IntervalStyle = iso_8601"),
        ({"pool_mode": "transaction", "ignore_startup_parameters": "options"}, "IntervalStyle = iso_8601"),
    ],
)
def test_a_pooler_that_keeps_our_settings_back_is_named_with_the_cure(
    pool: Pool, settings: dict[str, str], words: str
) -> None:
    with pytest.raises(AuthError) as refused:
        connect(pool(**settings), "test")
    assert words in str(refused.value)
    for word in ("connection pooler", "a dsn that reaches the"):
        assert word in str(refused.value)


def test_replication_by_way_of_a_pooler_is_named_with_the_cure(pool: Pool) -> None:
    with pytest.raises(AuthError, match="connection pooler"):
        connect_replication(pool(ignore_startup_parameters="options"), "test")


def test_a_database_that_a_pooler_does_not_know_needs_a_person(pool: Pool) -> None:
    known = pool(ignore_startup_parameters="options")
    with pytest.raises(AuthError):
        connect(PostgresConnection(dsn=SecretStr(known.dsn.get_secret_value() + "_not")), "test")
