"""Databases of a test's own."""

from __future__ import annotations

import uuid

import psycopg
from psycopg import sql

_STRATEGIES_SINCE = 15_00_00


def new_database(server: str, template: str = "template1") -> str:
    """A copy of `template`, empty unless named, beside the database of `server`; how to connect to it."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        make = sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
        if connection.info.server_version >= _STRATEGIES_SINCE:
            make += sql.SQL(" strategy file_copy")  # half the time, and nothing of it in the log
        connection.execute(make)
    return f"{server.rpartition('/')[0]}/{name}"
