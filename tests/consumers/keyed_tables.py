"""Existing tables whose key column takes different ids for one, and a flow into each."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from sorbus.connector import BoundFlow
from tests.consumers.gadgets import flow_into, make_tables

REST = "name text, note text, price numeric, made_on date"
SETUP = """create extension citext; create domain alike as citext; create domain number as integer;
create domain price as numeric(8,2); create domain short as varchar(4); create domain fixed as char(4);"""
ALONE = "create collation alone (provider = icu, locale = 'und-u-ks-level1', deterministic = false)"


def keyed_flow(make_database: Callable[[str], str], columns: str, **more: object) -> tuple[str, BoundFlow]:
    dsn = make_database(SETUP)
    with psycopg.connect(dsn, autocommit=True) as session:
        if "alone" in columns:
            try:
                session.execute(ALONE)
            except psycopg.errors.FeatureNotSupported:
                pytest.skip("this server has no ICU, which alone has collations that aren't deterministic")
        session.execute(f"create table gadgets ({REST}, {columns})".encode())
    flow = flow_into(dsn, existing=True, **more)  # type: ignore[arg-type]
    make_tables(flow)
    return dsn, flow


def values_of(dsn: str, table: str = "gadgets", column: str = "name") -> list[str]:
    with psycopg.connect(dsn) as session:
        return [str(name) for (name,) in session.execute(f"select {column} from {table} order by 1".encode())]
