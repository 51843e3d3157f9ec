"""How many rows a target's table has, and the sums of its columns, whoever wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from sorbus.abilities import TargetTotals
from sorbus.connector import BoundFlow
from sorbus.consumers.mysql.options import MysqlTarget
from sorbus.errors import PermanentError, UsageError
from sorbus.mysql.connection import quoted, session_for
from sorbus.mysql.discovery import connection_of


def read_totals(flow: BoundFlow, sums: Sequence[str]) -> TargetTotals:
    """Rows marked as deleted don't count. UsageError: no such table, or a column that can't be summed."""
    options = flow.options
    assert isinstance(options, MysqlTarget)
    columns = ["count(*)", *(f"coalesce(sum({quoted(name)}), 0)" for name in sums)]
    is_soft = flow.flow.deletes == "soft"
    where = f" where {quoted(options.deleted_column)} is null" if is_soft else ""
    doing = f"counting {options.table} of {flow.system.name}"
    try:
        with session_for(connection_of(flow.system), "totals", doing) as session:
            limit = "max_statement_time = 60" if session.is_mariadb else "max_execution_time = 60000"
            session.execute(f"set session {limit}")
            [found] = session.query(f"select {', '.join(columns)} from {quoted(*options.table.split('.'))}{where}")  # noqa: S608 - quoted
    except PermanentError as error:
        raise UsageError(f"{error}; correct `target:` or `totals:` in the map") from error
    values = [Decimal(str(value)) for value in found]
    return TargetTotals(int(values[0]), dict(zip(sums, values[1:], strict=True)))
