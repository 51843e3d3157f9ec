"""A database in the run's MariaDB with a producer of its own, and its topics: `Shop` for MySQL."""

from __future__ import annotations

from pathlib import Path

from sorbus.settings import Settings
from tests.mariadb import Mariadb
from tests.producers.shop import Shop


class MysqlShop(Shop):
    """`shop` is a database of the run's MariaDB."""

    def __init__(self, folder: Path, server: Mariadb, database: str, prefix: str, settings: Settings) -> None:
        super().__init__(folder, "", prefix, settings)
        self.server, self.database = server, database

    def execute(self, *statements: str) -> None:
        # Gaps aren't locked then: what is held open elsewhere keeps nobody waiting.
        level = "set session transaction isolation level read committed"
        self.server.root(level, *statements, database=self.database)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        return self.server.root(query, database=self.database)

    def drop_slot(self) -> None:
        """There is none."""
