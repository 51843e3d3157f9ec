"""n8n's own copies of the year's targets, and what its polling needs in the owners' tables."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg import sql

from sorbus.ops.demo.year.servers import Mariadb

BOOKS = "accounting_n8n"
_COPIES = {
    "projects": ("clients",),
    "reporting": ("customers", "orders", "order_lines", "invoices", "invoice_lines", "products"),
}
_WRITTEN = {
    "id", "number", "name", "email", "kind", "status", "phone", "tags", "currency", "customer_id", "total_amount",
    "order_id", "invoice_id", "position", "quantity", "net_amount",
}  # fmt: skip
_STAMPED = (("crm", "customers"), ("crm", "orders"), ("erp", "invoices"))


def stamp(dsns: Mapping[str, str]) -> None:
    """The owners' tables show when a row changed, as polling needs; before Sorbus sees them."""
    for system, table in _STAMPED:
        with psycopg.connect(dsns[system]) as connection:
            connection.execute(
                sql.SQL(
                    "alter table {0} add column updated_at timestamptz not null default now();"
                    "create function stamp_{1}() returns trigger language plpgsql as"
                    " $$ begin new.updated_at := now(); return new; end $$;"
                    "create trigger stamp before update on {0} for each row execute function stamp_{1}();"
                    "create index on {0} (updated_at)"
                ).format(sql.Identifier(table), sql.SQL(table))
            )


def create(dsns: Mapping[str, str], accounting: Mariadb) -> None:
    """The tables that Sorbus made, empty, in a schema n8n beside them; accounting's in a database of its own."""
    for system, tables in _COPIES.items():
        with psycopg.connect(dsns[system]) as connection:
            connection.execute("create schema n8n")
            for table in tables:
                _copy(connection, table)
    with psycopg.connect(dsns["projects"]) as connection:
        connection.execute(
            "create table n8n.errors (at timestamptz default now(), workflow text, node text, message text)"
        )
    books = f"create database {BOOKS} character set utf8mb4; create table {BOOKS}.debtors like accounting.debtors"
    accounting.execute(books, "")


def set_password(accounting: Mariadb, password: str) -> None:
    """n8n's password in accounting, from now on; sessions that are open are ended."""
    accounting.execute(
        f"create user if not exists n8n@'127.0.0.1' identified by '{password}';"
        f"alter user n8n@'127.0.0.1' identified by '{password}'; grant all on {BOOKS}.* to n8n@'127.0.0.1';"
        "kill user n8n@'127.0.0.1';",
        "",
    )


def _copy(connection: psycopg.Connection, table: str) -> None:
    """With all that it demands of what a workflow writes."""
    names = {"table": sql.Identifier(table)}
    connection.execute(
        sql.SQL(
            "create table n8n.{table} (like public.{table} including all);"
            "alter table n8n.{table} drop column if exists sorbus_version"
        ).format(**names)
    )
    rows = connection.execute(
        "select column_name from information_schema.columns"
        " where table_schema = 'n8n' and table_name = %s and is_nullable = 'NO'",
        (table,),
    ).fetchall()
    for (column,) in rows:
        if column not in _WRITTEN:
            connection.execute(
                sql.SQL("alter table n8n.{table} alter {column} drop not null").format(
                    **names, column=sql.Identifier(column)
                )
            )


def credential(dsn: str) -> dict[str, object]:
    """A credential of n8n's."""
    found = psycopg.conninfo.conninfo_to_dict(dsn)
    return {
        "host": found["host"], "port": int(str(found["port"])), "database": found["dbname"], "user": found["user"],
        "password": found.get("password", ""), "ssl": "disable", "maxConnections": 10,
    }  # fmt: skip
