"""Everything the year runs on, in one folder: servers, databases, the map's copy, and `sorbus up` at work."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import psycopg
from psycopg import sql

from sorbus.errors import SorbusError, TransientError
from sorbus.ops.demo.company import examples
from sorbus.ops.demo.year.servers import DATABASE, HttpApplication, Mariadb, Slapd
from sorbus.ops.demo.year.systems import Systems
from sorbus.ops.demo.year.tools import ProjectTables, TicketTable
from sorbus.ops.demo.year.workplace import Volume, Workplace

DATABASES = {
    "crm": "CRM_DSN", "erp": "ERP_DSN", "projects": "PROJECTS_DSN", "hr": "HR_DSN", "reporting": "REPORTING_DSN",
}  # fmt: skip
SECRETS = ("ACCOUNTING_PASSWORD", "SUPPORT_KEY", "MAILING_KEY", "DIRECTORY_PASSWORD")
_COMMAND = (sys.executable, "-m", "sorbus.ops.demo.child")
_MAIN = "from sorbus.cli.start import main; main()"
_STOPPING, _COMMAND_WITHIN = 30.0, 300.0


class Stage:
    """`env`: how Kafka, registry and state are found; `create_database`: NAME -> its DSN. Leaving stops everything."""

    def __init__(
        self, folder: Path, env: Mapping[str, str], create_database: Callable[[str], str], *, prefix: str = ""
    ) -> None:
        self.folder, self.map_folder = folder.absolute(), folder.absolute() / "company"
        self.log = self.folder / "up.log"
        self._secrets = self.folder / "secrets"
        self.prefix = prefix
        self.dsns: dict[str, str] = {}
        self._create_database, self._given_env = create_database, dict(env)
        self.accounting, self.directory = Mariadb(self.folder / "mariadb"), Slapd(self.folder / "slapd")
        self.applications = {
            "support": HttpApplication("support", self.folder / "applications", 18080),
            "mailing": HttpApplication("mailing", self.folder / "applications", 18081),
        }
        self._up: subprocess.Popen[bytes] | None = None
        self._ending = ExitStack()

    def __enter__(self) -> Stage:
        with ExitStack() as starting:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._copy_map()
            for stop in (self.accounting.stop, self.directory.stop, *(one.stop for one in self.applications.values())):
                starting.callback(stop)
            self.accounting.start()
            self.directory.start()
            self._fill()
            for one in self.applications.values():
                one.start()
            self._ending = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop_work()
        finally:
            self._ending.close()

    @property
    def systems(self) -> Systems:
        """How each system is read."""
        return Systems(
            self.dsns, self.accounting, self.directory, self.applications, self.map_folder / "share/prices.xlsx"
        )

    def workplace(self, volume: Volume) -> Workplace:
        """Where people work in these systems."""
        return Workplace(
            self.dsns, self.accounting.execute, ProjectTables(self.dsns["projects"]),
            TicketTable(self.applications["support"].database), self.map_folder / "share/prices.xlsx", volume,
        )  # fmt: skip

    def env(self) -> dict[str, str]:
        """What Sorbus's commands need to find this company."""
        return {
            **self._given_env,
            **{variable: self.dsns[name] for name, variable in DATABASES.items()},
            **{f"{name}_FILE": str(self._secrets / name) for name in SECRETS},
            "SORBUS_MAP": str(self.map_folder / "map.yaml"),
            "COLUMNS": "2000",  # a sentence is a line
        }

    def write_secret(self, name: str, value: str) -> None:
        """What Sorbus logs in with from now on."""
        self._secrets.mkdir(parents=True, exist_ok=True)
        new = self._secrets / f"{name}.new"
        new.write_text(value, "utf-8")
        new.replace(self._secrets / name)

    def sorbus(self, *words: str, status: tuple[int, ...] = (0,)) -> str:
        """Runs a command to its end; what it printed. SorbusError with that for another exit status."""
        done = subprocess.run(
            [sys.executable, "-c", _MAIN, *words], env={**os.environ, **self.env()}, cwd=self.folder,
            stdin=subprocess.DEVNULL,
            start_new_session=True, capture_output=True, text=True, timeout=_COMMAND_WITHIN, check=False,
        )  # fmt: skip
        if done.returncode not in status:
            raise SorbusError(f"sorbus {' '.join(words)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr

    def start_work(self) -> None:
        """`sorbus up`."""
        with self.log.open("ab") as log:
            self._up = subprocess.Popen(
                [*_COMMAND, "up", "--no-watch", "--base-port", "0", "--folder", str(self.folder / "run")],
                env={**os.environ, **self.env()}, cwd=self.folder, stdin=subprocess.PIPE, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def stop_work(self) -> None:
        """Stops `sorbus up` in order, or kills it after a limit."""
        if self._up is not None and self._up.poll() is None:
            self._up.send_signal(signal.SIGTERM)
            try:
                self._up.wait(_STOPPING)
            except subprocess.TimeoutExpired:
                os.killpg(self._up.pid, signal.SIGKILL)
                self._up.wait()
        self._up = None

    def kill_work(self) -> int:
        """kill -9 for `sorbus up` and each of its processes at once; how many."""
        if self._up is None:
            return 0
        children = Path(f"/proc/{self._up.pid}/task/{self._up.pid}/children").read_text("ascii").split()
        pids = [self._up.pid, *map(int, children)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self._up.wait()
        self._up = None
        return len(pids)

    def check_work(self) -> None:
        """TransientError with the end of the log if `sorbus up` has ended by itself."""
        if self._up is not None and (code := self._up.poll()) is not None:
            raise TransientError(f"`sorbus up` ended with status {code}:\n{self.last_words()}")

    def last_words(self, lines: int = 15) -> str:
        """The end of what the processes printed."""
        found = self.log.read_text("utf-8", "replace").splitlines()[-lines:] if self.log.exists() else []
        return "\n".join(line[:500] for line in found)

    @property
    def work_pid(self) -> int:
        """Of `sorbus up`, 0 while it doesn't run."""
        return 0 if self._up is None else self._up.pid

    def lag(self) -> int | None:
        """How many events are on their way by `sorbus status`."""
        flows = json.loads(self.sorbus("status", "--json"))["flows"]
        return sum(int(flow["lag_records"]) for flow in flows)

    def edit_sheet(self, old: str, new: str) -> None:
        """A person writes another name into the owners' mapping sheet."""
        sheet = self.map_folder / "mappings/owners.csv"
        text = sheet.read_text("utf-8")
        if old not in text:
            raise SorbusError(f"{sheet} has no {old}")
        sheet.write_text(text.replace(old, new), "utf-8")

    def back_up(self, system: str) -> None:
        """A copy of a PostgreSQL system's database as it is now."""
        self._as_operator(
            system,
            sql.SQL("drop database if exists {backup}"),
            sql.SQL("alter database {database} allow_connections false"),
            sql.SQL("select pg_terminate_backend(pid) from pg_stat_activity where datname = {text}"),
            sql.SQL("create database {backup} template {database}"),
            sql.SQL("alter database {database} allow_connections true"),
            sql.SQL("alter database {backup} allow_connections true"),
        )

    def restore(self, system: str) -> None:
        """The database is as its copy was."""
        self._as_operator(
            system,
            sql.SQL("drop database {database} with (force)"),
            sql.SQL("alter database {backup} rename to {database}"),
        )

    def _as_operator(self, system: str, *statements: sql.SQL) -> None:
        server, _, name = self.dsns[system].rpartition("/")
        names = {
            "database": sql.Identifier(name), "backup": sql.Identifier(f"{name}_backup"), "text": sql.Literal(name),
        }  # fmt: skip
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.format(**names))

    def _copy_map(self) -> None:
        if self.map_folder.exists():
            raise SorbusError(f"{self.map_folder} is there already; name another --folder, or delete {self.folder}")
        shutil.copytree(examples() / "year", self.map_folder)
        (self.map_folder / "share").mkdir(exist_ok=True)
        file = self.map_folder / "map.yaml"
        ports = {
            "13306": self.accounting.port, "13389": self.directory.port, "18080": self.applications["support"].port,
            "18081": self.applications["mailing"].port,
        }  # fmt: skip
        text = re.sub("|".join(ports), lambda found: str(ports[found[0]]), file.read_text("utf-8"))
        file.write_text((f"topic_prefix: {self.prefix}\n" if self.prefix else "") + text, "utf-8")

    def _fill(self) -> None:
        folder = self.map_folder / "sql"
        for name in DATABASES:
            self.dsns[name] = self._create_database(name)
            if (script := folder / f"{name}.sql").exists():
                with psycopg.connect(self.dsns[name]) as connection:
                    connection.execute(script.read_bytes())
        self.accounting.execute(f"create database {DATABASE} character set utf8mb4", "")
        self.accounting.execute((folder / "accounting.sql").read_text("utf-8"))
        passwords = {name: secrets.token_hex(12) for name in SECRETS}
        for name, password in passwords.items():
            self.write_secret(name, password)
        self.accounting.set_password(passwords["ACCOUNTING_PASSWORD"])
        self.directory.organize(passwords["DIRECTORY_PASSWORD"])
        self.applications["support"].folder.mkdir(parents=True, exist_ok=True)
        self.applications["support"].set_key(passwords["SUPPORT_KEY"])
        self.applications["mailing"].set_key(passwords["MAILING_KEY"])
