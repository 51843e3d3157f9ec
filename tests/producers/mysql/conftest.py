"""The run's MariaDB, and shops in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sorbus.ops.embedded import Addresses
from sorbus.settings import Settings
from tests.mariadb import Mariadb, mariadb, mariadb_server
from tests.producers.mysql.mysql_shop import MysqlShop

__all__ = ["make_mysql_shop", "mariadb", "mariadb_server"]


@pytest.fixture
def make_mysql_shop(
    stack: Addresses, mariadb_server: Mariadb, mariadb: Callable[..., str], unique: str, tmp_path: Path
) -> Iterator[Callable[..., MysqlShop]]:
    """Makes a shop whose database begins with these statements."""
    made: list[MysqlShop] = []

    def make(*statements: str) -> MysqlShop:
        settings = Settings(kafka=stack.kafka, registry="")
        made.append(MysqlShop(tmp_path, mariadb_server, mariadb(*statements), f"{unique}.", settings))
        return made[-1]

    yield make
    for shop in made:
        shop.close()
