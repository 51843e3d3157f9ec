"""What a write of many records returns: how many rows it wrote, and how many of them are new, as a CTE named `w`."""

from __future__ import annotations

from psycopg import sql

IS_NEW = sql.SQL("t.xmax = 0 as is_new")  # a row that was there carries the lock of its update
COUNT = sql.SQL("select count(*), count(*) filter (where is_new) from w")
OTHER_KEY = " is another key than the record was written with"
"""What the error says of a row whose key a trigger has changed: a text that isn't an integer."""


def counted(write: sql.Composed) -> sql.Composed:
    """The write into `t`, and its counts."""
    return sql.SQL("w as ({} returning {}) {}").format(write, IS_NEW, COUNT)


def counted_with_keys(
    write: sql.Composed, key: str, made: sql.Composed, stage: str, of_other: sql.Composed
) -> sql.Composed:
    """Likewise, with an error where a row's key isn't written as one of those `made` of the stage (`s`), by texts.

    `of_other`: the condition that the row, with its key in `w.k`, is noted as that of a record with another spelling.
    """
    count = sql.SQL(
        "select count(*), count(*) filter (where is_new),"
        " count(case when g.k is null and not {} then (w.k || {})::integer end)"
        " from w left join (select distinct {} as k from {} s) g on g.k = w.k"
    ).format(of_other, sql.Literal(OTHER_KEY), made, sql.Identifier(stage))
    return sql.SQL("w as ({} returning {}, {}::text as k) {}").format(write, IS_NEW, sql.Identifier("t", key), count)
