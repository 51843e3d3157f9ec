"""Connection strings that aren't read as they were meant: refused, and no part of their password is told."""

from __future__ import annotations

import traceback

import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from sorbus.errors import AuthError
from sorbus.postgres.connection import PostgresConnection, connect, full_dsn, hosts_of
from sorbus.postgres.location import location
from sorbus.state.database import State


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://sam@corp:hunter22@127.0.0.1:5/shop",
        "postgresql://sam:hunt@hunter22@127.0.0.1:5/shop",
        "postgresql://sam:hunter22/x@127.0.0.1:5/shop",
        "postgresql://sam:22/hunter22@127.0.0.1:5/shop",
        "postgres://sam:hunt@hunter22@127.0.0.1,127.0.0.2/shop",
        "postgresql://sam:%hunter22@127.0.0.1:5/shop",
        "host=127.0.0.1 port=hunter22",
        "host=127.0.0.1 password=my hunter22 user=sam",
        "host=127.0.0.1 password='hunter22 user=sam",
        "sam:hunter22@127.0.0.1/shop",
    ],
)
def test_a_dsn_that_splits_its_password_is_refused_without_a_part_of_it(dsn: str) -> None:
    connection = PostgresConnection(dsn=SecretStr(dsn))
    for use in (lambda: connect(connection, "test"), lambda: hosts_of(connection), lambda: State(dsn).run(b"select 1")):
        with pytest.raises(AuthError) as refused:
            use()
        told = "".join(traceback.format_exception(refused.value, limit=0))
        assert "hunt" not in told
        assert "dsn" in told
    assert location(connection, ask=False) is None


@pytest.mark.parametrize(
    ("dsn", "password"),
    [
        ("postgresql://sam:a%40b%2Fc@127.0.0.1:5/shop", "a@b/c"),
        ("postgresql://sam:a?b#c:d@127.0.0.1:5/shop", "a?b#c:d"),
        ("host=127.0.0.1,127.0.0.2 port=5,6 password='a://b/c@d e'", "a://b/c@d e"),
        ("postgresql://127.0.0.1/shop?user=sam%40corp&password=a@b/c", "a@b/c"),
        ("postgresql:///shop?host=/var/run/postgresql&password=x", "x"),
        ("host=@abstract password=x", "x"),
    ],
)
def test_special_characters_where_they_may_be_are_taken(dsn: str, password: str) -> None:
    assert conninfo_to_dict(full_dsn(PostgresConnection(dsn=SecretStr(dsn)), "test"))["password"] == password
