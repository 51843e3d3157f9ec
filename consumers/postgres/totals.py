"""How many rows a target's table has, and the sums of its columns, whoever wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import LiteralString

from psycopg import errors, sql

from sorbus.abilities import TargetTotals
from sorbus.connector import BoundFlow
from sorbus.consumers.postgres.options import PostgresTarget
from sorbus.errors import UsageError
from sorbus.postgres.catalog import qualified
from sorbus.postgres.connection import PostgresConnection, connect, postgres_errors

_WITHIN: LiteralString = "set statement_timeout = '60s'"


def read_totals(flow: BoundFlow, sums: Sequence[str]) -> TargetTotals:
    """Rows marked as deleted don't count. UsageError: no such table, or a column that can't be summed."""
    options, connection = flow.options, flow.system.connection
    assert isinstance(options, PostgresTarget)
    assert isinstance(connection, PostgresConnection)
    table = sql.Identifier(*qualified(options.table).split("."))
    columns = [sql.SQL("count(*)"), *(sql.SQL("coalesce(sum({}), 0)::numeric").format(sql.Identifier(n)) for n in sums)]
    query = sql.SQL("select {} from {}").format(sql.SQL(", ").join(columns), table)
    if flow.flow.deletes == "soft":
        query += sql.SQL(" where {} is null").format(sql.Identifier(options.deleted_column))
    doing = f"counting {options.table} of {flow.system.name}"
    with postgres_errors(doing), connect(connection, "totals") as session:
        session.execute(_WITHIN)
        try:
            found = session.execute(query).fetchone()
        except (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedFunction) as error:
            fix = "correct `target:` or `totals:` in the map"
            raise UsageError(f"{doing}: {error.diag.message_primary}; {fix}") from error
    assert found is not None
    count, *values = (Decimal(str(value)) for value in found)
    return TargetTotals(int(count), dict(zip(sums, values, strict=True)))
