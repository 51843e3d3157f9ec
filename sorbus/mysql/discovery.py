"""What both MySQL connectors say of a database: its tables, where it is, which columns lack values, a few rows."""

from __future__ import annotations

from pydantic import BaseModel

from sorbus.abilities import Resource
from sorbus.connector import BoundSystem
from sorbus.discovery import NullCount
from sorbus.mysql.catalog import read_mysql_resources, read_mysql_table
from sorbus.mysql.connection import MysqlConnection, quoted, session_for

_SAMPLE = 10_000


def connection_of(system: BoundSystem) -> MysqlConnection:
    """The system's connection."""
    assert isinstance(system.connection, MysqlConnection)
    return system.connection


class MysqlDiscovery:
    """SupportsDiscovery, SupportsLocation, SupportsSampling and SupportsNullCounts."""

    Connection: type[BaseModel] = MysqlConnection

    @classmethod
    def discover(cls, system: BoundSystem) -> list[Resource]:
        """Every table of the connection's database."""
        connection = connection_of(system)
        with session_for(connection, "discover", f"looking into {system.name}") as session:
            return read_mysql_resources(session, connection.database)

    @classmethod
    def location(cls, system: BoundSystem, *, ask: bool = False) -> str | None:
        """Which database it is."""
        connection = connection_of(system)
        server = connection.socket or f"{connection.host.lower()}:{connection.port}"
        if ask:
            with session_for(connection, "plan", f"asking {system.name} which server it is") as session:
                found = session.variables("server_uuid", "server_uid")
                server = next(iter(found.values()), server)
        return f"mysql {server}/{connection.database}"

    @classmethod
    def sample(cls, system: BoundSystem, resource: str, limit: int) -> list[dict[str, object]]:
        """A few rows of a table, as the server writes them."""
        connection = connection_of(system)
        with session_for(connection, "suggest", f"reading a few rows of {resource}") as session:
            table = read_mysql_table(session, resource, connection.database)
            if table is None or not table.columns:
                return []
            names = ", ".join(map(quoted, table.columns))  # `*` leaves the invisible ones out
            rows = session.query(f"select {names} from {table.sql} limit %s", [limit])  # noqa: S608 - quoted names
        return [dict(zip(table.columns, row, strict=True)) for row in rows]

    @classmethod
    def count_nulls(cls, system: BoundSystem, columns: dict[str, list[str]]) -> dict[tuple[str, str], NullCount]:
        """Rows without a value among each table's first 10,000."""
        connection, found = connection_of(system), dict[tuple[str, str], NullCount]()
        with session_for(connection, "discover", f"counting empty values in {system.name}") as session:
            for resource, names in columns.items():
                table = read_mysql_table(session, resource, connection.database)
                known = [] if table is None else [name for name in names if name in table.columns]
                if table is None or not known:
                    continue
                counts = ", ".join(f"sum({quoted(name)} is null)" for name in known)
                own = ", ".join(map(quoted, known))
                [row] = session.query(
                    f"select count(*), {counts} from (select {own} from {table.sql} limit {_SAMPLE}) t"  # noqa: S608
                )
                total = int(str(row[0]))
                for name, count in zip(known, row[1:], strict=True):
                    found[resource, name] = NullCount(total, int(str(count or 0)), total >= _SAMPLE)
        return found
