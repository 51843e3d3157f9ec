"""A small company of a test's own: a map, its schemas and sheets in a folder, run as people run it."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.commands import type_command

_SORBUS = str(Path(sys.executable).with_name("sorbus"))
HEAD = ("Source System", "Source Field", "Target System", "Target Field", "Rule")
Row = tuple[str, str, str, str, str]
"""Of a mapping sheet, as `HEAD` names it."""


class Office:
    """A folder with a map, and what its processes need to know. `env` holds the secrets."""

    def __init__(self, folder: Path, prefix: str, env: Mapping[str, str]) -> None:
        self.folder, self.prefix = folder, prefix
        self.env = {**os.environ, **env, "SORBUS_MAP": str(folder / "map.yaml")}
        self.log = folder / "up.log"

    def write(
        self, map: Mapping[str, object], rows: Sequence[Row] = (), schemas: Mapping[str, Sequence[object]] | None = None
    ) -> None:
        """Writes the map, one mapping sheet, and schemas: name -> fields."""
        document = {"topic_prefix": f"{self.prefix}.", **map}
        (self.folder / "map.yaml").write_text(json.dumps(document, indent=1), "utf-8")
        (self.folder / "mappings").mkdir(exist_ok=True)
        with (self.folder / "mappings" / "sheet.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([HEAD, *rows])
        (self.folder / "schemas").mkdir(exist_ok=True)
        for name, fields in (schemas or {}).items():
            schema = {"type": "record", "name": name, "fields": fields}
            (self.folder / "schemas" / f"{name}.avsc").write_text(json.dumps(schema), "utf-8")

    def sorbus(self, *arguments: str, status: int | None = 0) -> str:
        """Runs a command to its end, in this process, and returns what it printed."""
        with chdir(self.folder):
            done = type_command(*arguments, env=self.env)
        told = f"sorbus {' '.join(arguments)} ended with {done.exit_code}:\n{done.output}\n{done.exception!r}"
        assert status is None or done.exit_code == status, told
        return done.stdout

    @contextmanager
    def up(self, *options: str) -> Iterator[None]:
        """`sorbus up` while the block lasts."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [_SORBUS, "up", "--no-watch", "--base-port", "0", *options],
                env=self.env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) in (0, -signal.SIGTERM), f"sorbus up ended badly\n{self.last_words()}"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    @contextmanager
    def killed(self) -> Iterator[None]:
        """`sorbus up` while the block lasts; then every process of it is killed."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [_SORBUS, "up", "--no-watch", "--base-port", "0"],
                env=self.env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield
        finally:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            for pid in (*map(int, children), process.pid):
                os.kill(pid, signal.SIGKILL)
            process.wait(30)

    def until(self, missing: Callable[[], object], seconds: float, every: float = 0.5) -> float:
        """Until `missing` says nothing any more; the seconds it took. Fails with what it says."""
        began = time.monotonic()
        while told := missing():
            if time.monotonic() - began > seconds:
                pytest.fail(f"after {seconds:.0f} s still:\n{str(told)[:3000]}\n{self.last_words()}", pytrace=False)
            time.sleep(every)  # between two looks at other processes' work, so that looking doesn't slow it down
        return time.monotonic() - began

    def last_words(self, lines: int = 30) -> str:
        """The end of what the processes printed."""
        found = self.log.read_text("utf-8", "replace").splitlines()[-lines:] if self.log.exists() else []
        return "\n".join(["The last words of the processes:", *(line[:400] for line in found)])

    def said(self, words: str) -> int:
        """How often the processes' log says this."""
        return len(self.found(words))

    def found(self, words: str) -> list[str]:
        """What the processes' log says that is like this."""
        return re.findall(words, self.log.read_text("utf-8", "replace"))


def execute(dsn: str, *statements: str) -> None:
    """Each statement in a transaction of its own."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def rows_of(dsn: str, query: str) -> list[dict[str, object]]:
    """What a query finds."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute(query.encode()).fetchall()


def unlike(
    found: Mapping[str, Mapping[str, object]], wanted: Mapping[str, Mapping[str, object]], count: int = 8
) -> str:
    """What differs between two systems' records; "" when nothing does."""
    lines = [f"{key} is missing: {wanted[key]}" for key in sorted(wanted.keys() - found.keys())]
    lines += [f"{key} shouldn't be there: {found[key]}" for key in sorted(found.keys() - wanted.keys())]
    lines += [
        f"{key}: {name} is {found[key].get(name)!r}, not {value!r}"
        for key in sorted(found.keys() & wanted.keys())
        for name, value in wanted[key].items()
        if found[key].get(name) != value
    ]
    return (
        "\n".join([f"{len(lines)} differences, the first:", *(line[:300] for line in lines[:count])]) if lines else ""
    )
