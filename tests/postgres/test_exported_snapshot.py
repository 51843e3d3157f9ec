"""Joining what another session sees."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from sorbus.errors import TransientError
from sorbus.ops.embedded import Addresses
from sorbus.postgres.connection import PostgresConnection, connect
from sorbus.postgres.exported_snapshot import join_snapshot


def test_a_snapshot_whose_session_has_ended_is_taken_anew(stack: Addresses) -> None:
    connection = PostgresConnection(dsn=SecretStr(stack.database))
    with connect(connection, "one") as one:
        (name,) = one.execute("select pg_export_snapshot()").fetchone() or ("",)
    for gone in (str(name), "00000003-0000001B-1"):
        with connect(connection, "other") as other:
            other.execute("set transaction isolation level repeatable read")
            with pytest.raises(TransientError, match="has ended"):
                join_snapshot(other, gone)
