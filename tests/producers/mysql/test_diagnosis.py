"""What `sorbus doctor` says of a MariaDB."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.conformance.in_memory_bus import InMemoryBus
from sorbus.producers.mysql.producer import MysqlProducer
from tests.mariadb import Mariadb
from tests.producers.mysql.test_hard_cases import shop

__all__ = ["shop"]
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("log", "tables", "words"),
    [(0, 2, "sync_binlog is 0 and innodb_flush_log_at_trx_commit is 2: a crash"), (100, 1, "sync_binlog is 100:"),
     (1, 3, None)],
)  # fmt: skip
def test_what_a_crash_would_take_back_is_said(
    shop: Callable[..., InMemoryBus], mariadb_server: Mariadb, log: int, tables: int, words: str | None
) -> None:
    system = shop().source.system()
    variables = f"global sync_binlog = {log}, global innodb_flush_log_at_trx_commit = {tables}"
    try:
        mariadb_server.root(f"set {variables}")
        found = [one for one in MysqlProducer.diagnose(system) if one.what == "crashes"]
    finally:
        mariadb_server.root("set global sync_binlog = 0, global innodb_flush_log_at_trx_commit = 0")
    assert [(one.level, one.found.startswith(words or "?")) for one in found] == ([("warning", True)] if words else [])
