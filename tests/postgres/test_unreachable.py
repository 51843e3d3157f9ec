"""A server that can't be reached is said in one line, without the driver's hints, whatever way it is away."""

from __future__ import annotations

import os
import socket

import psycopg
import pytest

from sorbus.errors import PermanentError, TransientError
from sorbus.ops.embedded import Addresses
from sorbus.postgres.connection import PostgresConnection, connect, postgres_errors
from tests.gateway import Gateway


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("127.0.0.1:1", r'connection to server at "127.0.0.1", port 1 failed: Connection refused'),
        ("127.0.0.1:1,127.0.0.1:2", r"port 1 failed: Connection refused; .*port 2 failed: Connection refused"),
        ("nowhere.invalid", r"nowhere.invalid"),
    ],
)
def test_a_server_that_is_away_is_said_in_one_line(host: str, said: str) -> None:
    with pytest.raises(TransientError, match=f"connecting for us: PostgreSQL can't be reached: .*{said}") as raised:
        connect(PostgresConnection.model_validate({"dsn": f"postgresql://{host}/x"}), "us")

    assert "\n" not in str(raised.value)
    assert "Is the server running" not in str(raised.value)
    assert raised.value.dependency == "system"


def test_a_connection_that_breaks_is_said_in_one_line(stack: Addresses) -> None:
    parts = psycopg.conninfo.conninfo_to_dict(stack.database)
    gateway = Gateway(str(parts["host"]), int(str(parts["port"])))
    gateway.open()
    with psycopg.connect(stack.database, host="127.0.0.1", port=gateway.port, autocommit=True) as session:
        gateway.close()
        with (
            pytest.raises(TransientError, match=r"looking: PostgreSQL can't be reached: ") as raised,
            postgres_errors("looking"),
        ):
            session.execute("select 1")

    assert "\n" not in str(raised.value)
    assert raised.value.dependency == "system"


def test_a_value_that_the_driver_does_not_send_is_no_server_that_is_away(stack: Addresses) -> None:
    with (
        psycopg.connect(stack.database, autocommit=True) as session,
        pytest.raises(PermanentError, match=r"looking: PostgreSQL rejects it: .*NUL"),
        postgres_errors("looking"),
    ):
        session.execute("select %s", ["x\0y"])


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux alone gives up sooner")
def test_a_line_that_is_dead_while_an_answer_is_due_is_noticed_within_a_minute(stack: Addresses) -> None:
    session = connect(PostgresConnection.model_validate({"dsn": stack.database}), "us")
    with session, socket.socket(fileno=os.dup(session.pgconn.socket)) as line:
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
        assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
