"""A `key:` that isn't unique: plan says so, and a row that goes doesn't take the record of its equal with it."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from sorbus.postgres.catalog import read_table
from sorbus.producers.postgres.unique import not_unique

TABLES = {
    "no index": "create table t (a int, b text)",
    "an index that isn't unique": "create table t (a int, b text); create index on t (a, b)",
    "a partial one": "create table t (a int, b text); create unique index few on t (a, b) where a > 0",
    "one of an expression": "create table t (a int, b text); create unique index low on t (a, lower(b))",
    "one of more columns": "create table t (a int, b text, c int); create unique index on t (a, b, c)",
    "one that only includes": "create table t (a int, b text); create unique index on t (a) include (b); "
    "alter table t drop column a; alter table t add a int",
}
KEPT = {
    "a primary key": "create table t (a int, b text, primary key (b, a))",
    "one of fewer columns": "create table t (a int unique, b text)",
    "one that holds nulls": "create table t (a int, b text, unique (a, b))",
    "one checked at the end": "create table t (a int, b text, unique (a, b) deferrable initially deferred)",
    "a partitioned one": "create table t (a int, b text, unique (a, b)) partition by list (a)",
}


@pytest.mark.parametrize("case", [*TABLES, *KEPT])
def test_only_a_whole_unique_index_keeps_a_key_unique(case: str, make_database: Callable[[str], str]) -> None:
    with psycopg.connect(make_database((TABLES | KEPT)[case])) as connection:
        table = read_table(connection, "t")
        assert table is not None
        why = not_unique(connection, table, ("a", "b"))
    assert (why is None) == (case in KEPT)
    if why is not None:
        assert "key (a, b) of public.t" in why
