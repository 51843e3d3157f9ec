"""A dsn that names several servers: each by itself, and the primary among them."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from sorbus.postgres.connection import PostgresConnection, full_dsn, hosts_of


@pytest.mark.parametrize(
    ("dsn", "found"),
    [
        ("postgresql://sam@db/shop", {"db:5432": ("db", None)}),
        ("postgresql://sam@db1:5433,db2:5434/shop", {"db1:5433": ("db1", "5433"), "db2:5434": ("db2", "5434")}),
        ("host=db1,db2 port=6000 dbname=shop", {"db1:6000": ("db1", "6000"), "db2:6000": ("db2", "6000")}),
        ("host=db1,db2 dbname=shop", {"db1:5432": ("db1", None), "db2:5432": ("db2", None)}),
        ("hostaddr=10.0.0.1,10.0.0.2 dbname=shop", {"10.0.0.1:5432": (None, None), "10.0.0.2:5432": (None, None)}),
        ("dbname=shop", {"localhost:5432": (None, None)}),
    ],
)
def test_each_server_of_a_dsn(dsn: str, found: dict[str, tuple[str | None, str | None]]) -> None:
    hosts = hosts_of(PostgresConnection(dsn=SecretStr(dsn)))
    given = {name: conninfo_to_dict(one.dsn.get_secret_value()) for name, one in hosts.items()}
    assert {name: (one.get("host"), one.get("port")) for name, one in given.items()} == found
    assert all(one["dbname"] == "shop" and "target_session_attrs" not in one for one in given.values())


@pytest.mark.parametrize(
    ("dsn", "attrs"),
    [
        ("postgresql://db/shop", None),
        ("postgresql://db1,db2/shop", "read-write"),
        ("postgresql://db1,db2/shop?target_session_attrs=primary", "primary"),
    ],
)
def test_of_several_servers_the_primary_is_taken(dsn: str, attrs: str | None) -> None:
    found = conninfo_to_dict(full_dsn(PostgresConnection(dsn=SecretStr(dsn)), "test"))
    assert found.get("target_session_attrs") == attrs
