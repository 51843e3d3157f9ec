"""Finding the record and the column that PostgreSQL refused, from what it says and by trying."""

from __future__ import annotations

import re
from typing import NamedTuple

import psycopg
from psycopg import sql

from sorbus.consumers.postgres.merge import value_of
from sorbus.consumers.postgres.shape import StageColumn

_COPY = re.compile(r"^COPY (?P<table>\w+), line (?P<line>\d+)(?:, column (?P<column>[^:\n]+))?")


class CopyContext(NamedTuple):
    """Where a COPY failed: the line counts from 1."""

    table: str
    line: int
    column: str | None


def copy_context(error: psycopg.Error) -> CopyContext | None:
    """What the server says of the failed COPY; None when it failed elsewhere."""
    found = _COPY.match(error.diag.context or "")
    return found and CopyContext(found["table"], int(found["line"]), found["column"])


def try_value(stage: str, column: StageColumn, native: str) -> list[sql.Composed]:
    """Makes the target's value of the one staged row and assigns it to a column of the target's type."""
    return [
        sql.SQL("create temporary table sorbus_trial (v {}) on commit drop").format(sql.SQL(native)),
        sql.SQL("insert into sorbus_trial select {} from {} s").format(value_of("s", column), sql.Identifier(stage)),
    ]
