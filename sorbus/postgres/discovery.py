"""What both PostgreSQL connectors offer to discovery: a database's tables, where it is, which columns lack values."""

from __future__ import annotations

from pydantic import BaseModel

from sorbus.abilities import NullCount, Resource
from sorbus.connector import BoundSystem
from sorbus.postgres.catalog import discover_tables
from sorbus.postgres.connection import PostgresConnection
from sorbus.postgres.location import location
from sorbus.postgres.nulls import count_nulls


class PostgresDiscovery:
    """SupportsDiscovery, SupportsLocation and SupportsNullCounts of a connector."""

    Connection: type[BaseModel] = PostgresConnection

    @classmethod
    def discover(cls, system: BoundSystem) -> list[Resource]:
        """Every table of the database."""
        return discover_tables(system)

    @classmethod
    def location(cls, system: BoundSystem, *, ask: bool = False) -> str | None:
        """Which database it is."""
        assert isinstance(system.connection, PostgresConnection)
        return location(system.connection, ask=ask)

    @classmethod
    def count_nulls(cls, system: BoundSystem, columns: dict[str, list[str]]) -> dict[tuple[str, str], NullCount]:
        """Rows without a value, of tables' columns."""
        assert isinstance(system.connection, PostgresConnection)
        return count_nulls(system.connection, columns)
