"""A company with people as its records: a real producer, and two real flows, one that deletes and one that marks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
import psycopg

from sorbus.bus.names import Names
from sorbus.dlq.reader import open_letters
from sorbus.settings import Settings
from tests.commands import type_command

T = TypeVar("T")
IMPATIENT = """
from sorbus.cli.app import main
from sorbus.consumers import isolate
isolate.COLLISION_LIMIT = 1.0
main()
"""
"""`sorbus` as it is, but that a value which is taken is waited for not a minute but a second."""
PERSONAL = ["personal"]
SCHEMA = {
    "type": "record",
    "name": "person",
    "fields": [
        {"name": "name", "type": "string", "tags": PERSONAL},
        {"name": "email", "type": ["null", "string"], "default": None, "tags": PERSONAL},
        {"name": "code", "type": ["null", "string"], "default": None, "tags": PERSONAL},
        {"name": "born", "type": ["null", {"type": "int", "logicalType": "date"}], "default": None, "tags": PERSONAL},
        {"name": "status", "type": ["null", "string"], "default": None},
    ],
}
MAP = """
topic_prefix: {prefix}.
systems:
  crm: {{kind: postgres, connection: {{dsn: "${{CRM_DSN}}"}}, owner: Sales}}
  books: {{kind: postgres, connection: {{dsn: "${{BOOKS_DSN}}"}}, owner: Finance}}
  archive: {{kind: postgres, connection: {{dsn: "${{ARCHIVE_DSN}}"}}, owner: Legal}}
data_types:
  person: {{system_of_record: crm, source: {{table: people}}, partitions: 2}}
flows:
  - {{data_type: person, to: books, target: {{table: persons, existing: true}}}}
  - {{data_type: person, to: archive, deletes: soft, target: {{table: persons}}}}
"""
SHEET = """Source System;Source Field;Target System;Target Field;Rule;Notes
crm;people.full_name;canonical;person.name;;
crm;people.mail;canonical;person.email;;
crm;people.code;canonical;person.code;;
crm;people.birthday;canonical;person.born;value | date('%d.%m.%Y');
crm;people.state;canonical;person.status;;
canonical;person.name;books;persons.name;value | upper;
canonical;person.email;books;persons.email;;
canonical;person.code;books;persons.code;;
canonical;person.status;books;persons.status;;
"""
CRM = """
create table people (id text primary key, full_name text not null, mail text, code text, birthday text, state text)
"""
BOOKS = """
create table persons (
    id text primary key, name text not null, email text unique, code varchar(12), status text,
    constraint known_status check (status <> 'refused')
)
"""


class People:
    """The company, with commands and processes in its folder."""

    def __init__(self, folder: Path, env: Mapping[str, str], dsns: Mapping[str, str], prefix: str) -> None:
        self.folder, self.dsns = folder, dsns
        self.ports: list[int] = []
        (folder / "schemas").mkdir()
        (folder / "mappings").mkdir()
        (folder / "schemas" / "person.avsc").write_text(json.dumps(SCHEMA))
        (folder / "mappings" / "people.csv").write_text(SHEET)
        (folder / "map.yaml").write_text(MAP.format(prefix=prefix))
        named = {f"{name.upper()}_DSN": dsn for name, dsn in dsns.items() if name != "state"}
        self.env = {**os.environ, **env, **named, "SORBUS_DATABASE": dsns["state"], "SORBUS_LOGS": "json"}
        self.env["SORBUS_MAP"] = str(folder / "map.yaml")
        self.names = Names(f"{prefix}.")
        self.settings = Settings(kafka=env["SORBUS_KAFKA"], registry=env["SORBUS_REGISTRY"])
        self.execute("crm", CRM)
        self.execute("books", BOOKS)
        self.sorbus("apply", "--yes")

    def execute(self, where: str, statement: str) -> None:
        """A statement in one of the databases."""
        with psycopg.connect(self.dsns[where], autocommit=True) as connection:
            connection.execute(statement.encode())

    def rows(self, where: str, query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.dsns[where]) as connection:
            return connection.execute(query.encode()).fetchall()

    def dump(self, where: str) -> str:
        """All rows of all tables of a database, as text; but not how far flows have come, which goes on by itself."""
        found = []
        with psycopg.connect(self.dsns[where]) as connection:
            tables = connection.execute(
                "select schemaname, tablename from pg_tables"
                " where schemaname not like 'pg\\_%' and schemaname <> 'information_schema'"
            ).fetchall()
            for schema, table in tables:
                rows = connection.execute(f'select t::text from "{schema}"."{table}" t'.encode()).fetchall()
                found += [f"{schema}.{table} {row}" for (row,) in rows if "sorbus progress" not in str(row)]
        return "\n".join(found)

    def sorbus(self, *words: str, status: int = 0) -> str:
        """A command, in this process; all that it said."""
        done = type_command(*words, env=self.env)
        told = f"sorbus {' '.join(words)} ended with {done.exit_code}:\n{done.output}\n{done.exception!r}"
        assert done.exit_code == status, told
        return done.output

    @contextmanager
    def running(self, *only: str) -> Iterator[list[Path]]:
        """A producer, and a process of both consumers (`only`: of these kinds), verbose; files with all they say."""
        commands = [("produce", "crm"), ("consume", "person-to-books", "person-to-archive")]
        files: list[Path] = []
        self.ports.clear()
        with ExitStack() as stack:
            for words in [words for words in commands if not only or words[0] in only]:
                files.append(self.folder / f"{'-'.join(words)}.log")
                output = stack.enter_context(files[-1].open("ab"))
                self.ports.append(_free_port())
                popen = subprocess.Popen(
                    [sys.executable, "-c", IMPATIENT, "--verbose", *words, "--metrics-port", str(self.ports[-1])],
                    env=self.env,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
                stack.callback(_end, popen)
            yield files

    def letters(self) -> int:
        return len(open_letters(self.settings, self.names, ["person"]))

    def metrics(self) -> str:
        """What every process serves on /metrics and /healthz."""
        return "\n".join(
            httpx.get(f"http://127.0.0.1:{port}/{what}").text for port in self.ports for what in ("metrics", "healthz")
        )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _end(popen: subprocess.Popen[bytes]) -> None:
    popen.terminate()
    try:
        popen.wait(15)
    except subprocess.TimeoutExpired:
        popen.kill()
        popen.wait(10)


def eventually(attempt: Callable[[], T], missing: str, seconds: float = 60) -> T:
    """What `attempt` gives once it gives something true."""
    deadline = time.monotonic() + seconds
    while not (found := attempt()):
        assert time.monotonic() < deadline, f"after {seconds:.0f} s still missing: {missing}"
        time.sleep(0.1)
    return found
