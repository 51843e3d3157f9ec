"""The companies that the demo can run: their maps, their databases, and how those are first filled."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg

import sorbus
from sorbus.errors import ExitCode, SorbusError
from sorbus.ops.demo.crm_feed import CRM_FEED
from sorbus.ops.demo.feed import Connection, Feed
from sorbus.ops.demo.northwind_feed import NORTHWIND_FEED
from sorbus.ops.demo.seed import seed_crm

_OUTDATED_SETTING = re.compile(r"^SET default_with_oids.*$", re.MULTILINE)
"""Written by pg_dump before PostgreSQL 12, which did away with it."""


class DemoError(SorbusError):
    """The demo can't be set up as it was asked for."""

    exit_code = ExitCode.WRONG_USE


@dataclass(frozen=True, slots=True)
class DemoCompany:
    """An example's map and what it needs around it.

    `databases`: database -> the environment variable that the map reads its address from; `fill`: database -> what
    makes its tables and first rows, in one transaction; `feed`: what its people do to database `source` then.
    """

    name: str
    map_file: Path
    source: str
    databases: Mapping[str, str]
    fill: Mapping[str, Callable[[Connection], None]]
    feed: Feed


def brightwater() -> DemoCompany:
    """The demo's own company: a CRM, accounting and reporting."""
    folder = examples() / "company"

    def fill_crm(connection: Connection) -> None:
        run_script(connection, folder / "crm.sql")
        seed_crm(connection)

    return DemoCompany(
        "Brightwater Supplies",
        folder / "map.yaml",
        "crm",
        {"crm": "CRM_DSN", "accounting": "ACCOUNTING_DSN", "reporting": "REPORTING_DSN"},
        {"crm": fill_crm, "accounting": partial(run_script, file=folder / "accounting.sql")},
        CRM_FEED,
    )


def northwind(script: Path) -> DemoCompany:
    """Northwind from its own PostgreSQL script; DemoError if the script isn't Northwind's."""
    folder = examples() / "northwind"
    try:
        text = script.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DemoError(f"{script} can't be read: {error}; name Northwind's PostgreSQL script") from error
    if "order_details" not in text:
        raise DemoError(f"{script} makes no table order_details; name Northwind's PostgreSQL script (northwind.sql)")
    return DemoCompany(
        "Northwind Traders",
        folder / "map.yaml",
        "northwind",
        {"northwind": "NORTHWIND_DSN", "accounting": "ACCOUNTING_DSN", "reporting": "REPORTING_DSN"},
        {
            "northwind": partial(run_script, file=script),
            "accounting": partial(run_script, file=folder / "accounting.sql"),
        },
        NORTHWIND_FEED,
    )


def examples() -> Path:
    """The folder of the example companies, which comes with the package."""
    return Path(sorbus.__file__).parent / "examples"


def fill_if_new(dsn: str, fill: Callable[[Connection], None]) -> bool:
    """Fills a database that has no tables yet, all or nothing; whether it did."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute("select from pg_tables where schemaname = 'public' limit 1").fetchone()
        if found is None:
            fill(connection)
        return found is None


def run_script(connection: Connection, file: Path) -> None:
    """Runs an SQL script within the connection's transaction."""
    text = _OUTDATED_SETTING.sub("", file.read_text("utf-8"))
    connection.execute(text.encode())
