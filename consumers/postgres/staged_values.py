"""The target's values of staged ones."""

from __future__ import annotations

from psycopg import sql

from sorbus.consumers.postgres.shape import StageColumn

NARROW = " is more than the column keeps, as "
"""What the error says of a value that a column would round or cut."""


def value_of(alias: str, column: StageColumn) -> sql.Composed:
    """The target's value of a staged one."""
    value = sql.Identifier(alias, column.name)
    if column.unit is not None:
        return sql.SQL("{} * {}::numeric").format(value, sql.Literal(str(column.unit)))
    made = sql.SQL("{}::{}").format(value, sql.SQL(column.cast)) if column.cast else sql.SQL("{}").format(value)
    return _exactly(made, column.exact, column.cast or column.type) if column.exact else made


def _exactly(value: sql.Composed, native: str, plain: str) -> sql.Composed:
    """A value of type `plain`, or an error where the column's declared type would round or cut it: a text that isn't an
    integer.
    """
    return sql.SQL(
        "case when ({value})::{native}::{plain} is not distinct from {value} then {value}::{native}"
        " else (({value})::text || {words})::integer::text::{native} end"
    ).format(value=value, native=sql.SQL(native), plain=sql.SQL(plain), words=sql.Literal(f"{NARROW}{native}"))
