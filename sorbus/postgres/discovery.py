"""What both PostgreSQL connectors say of a database: its tables, where it is, which columns lack values, its hashes."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from sorbus.abilities import Resource
from sorbus.connector import BoundSystem
from sorbus.discovery import NullCount
from sorbus.postgres.catalog import discover_tables
from sorbus.postgres.checksums import hash_algorithms
from sorbus.postgres.connection import PostgresConnection, connect, postgres_errors
from sorbus.postgres.location import location
from sorbus.postgres.nulls import count_nulls


class PostgresDiscovery:
    """SupportsDiscovery, SupportsLocation, SupportsNullCounts, and `hash_algorithms` of sorbus.checksums."""

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

    @classmethod
    def hash_algorithms(cls, system: BoundSystem) -> Sequence[str]:
        """What the database can hash text with."""
        assert isinstance(system.connection, PostgresConnection)
        session = connect(system.connection, "reconcile", autocommit=True, unhurried=True)
        with session, postgres_errors(f"comparing {system.name}"):
            return hash_algorithms(session)
