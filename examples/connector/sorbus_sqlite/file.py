"""What target and source share: the file, its one table, and what its errors mean."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel

from sorbus.connector import Step
from sorbus.errors import TransientError

_TABLE = """
create table if not exists records (
    resource text, id text, version integer not null default 0, record text check (length(record) < 10000000),
    primary key (resource, id))
"""


class File(BaseModel, extra="forbid"):
    """`connection:` of a system."""

    file: Path


class Records(BaseModel, extra="forbid"):
    """`target:` of a flow, `source:` of a data type."""

    resource: str
    every: float = 1.0  # seconds between two looks at a source


@contextmanager
def session(file: Path) -> Iterator[sqlite3.Connection]:
    """The file in one transaction; what SQLite can't do just now (locked, gone) is a TransientError."""
    try:
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=1, isolation_level=None)
        try:
            connection.execute("begin immediate")
            yield connection
            connection.execute("commit")
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        raise TransientError(f"{file}: {error}; is the file there, and free? `sorbus apply` makes it") from error


def plan_file(where: str, file: Path) -> list[Step]:
    """The table, if it isn't there: `sorbus apply` makes it before anything runs."""

    def make() -> None:
        connection = sqlite3.connect(file)
        connection.execute(_TABLE)
        connection.close()

    try:
        with session(file) as connection:
            connection.execute("select 1 from records limit 1")
    except TransientError:
        return [Step(where, f"table records in {file}", apply=make)]
    return []


def as_json(fields: dict[str, object]) -> str:
    """A record as text that says it all: decimals and moments as text."""
    return json.dumps(fields, default=str, sort_keys=True, ensure_ascii=False)
