"""The year's n8n: its own copies of the targets, the same faults, and what it lost by the year's ledger."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psycopg

from sorbus.errors import SorbusError
from sorbus.ops.demo.year.business import Business
from sorbus.ops.demo.year.ledger import trimmed
from sorbus.ops.demo.year.servers import HttpApplication
from sorbus.ops.demo.year.stage import Stage
from sorbus.ops.demo.year.systems import queries
from tests.acceptance import n8n_tables
from tests.acceptance.n8n_flows import Access, error_workflow, flows, path
from tests.acceptance.n8n_losses import SHOWN, Loss, compared, counted
from tests.acceptance.n8n_server import Execution, N8n

_POLLED_WITHIN = 90.0


@dataclass
class Observed:
    """A fault, or a month's end. `told`: messages of the error workflow since the one before.

    While it lasted, by relation and kind: `behind` is what differed in workflows that failed and said so, `during` in
    those whose last run says success, so that nobody is told. `after`: the latter once it is fixed, unless known.
    """

    what: str
    told: dict[str, int] = field(default_factory=dict)
    failing: list[str] = field(default_factory=list)
    behind: dict[str, int] = field(default_factory=dict)
    during: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)


class Rival:
    """n8n beside Sorbus. `observed` keeps what was seen at each fault and month's end."""

    def __init__(self, stage: Stage, business: Business, n8n: N8n, say: Callable[[str], None]) -> None:
        self.stage, self.business, self.n8n, self._say = stage, business, n8n, say
        self.support = HttpApplication("support", n8n.folder.parent / "n8n-support", 18082)
        self.observed: list[Observed] = []
        self._known: set[Loss] = set()
        self._told = Counter[str]()
        self.credentials: dict[str, str] = {}
        self.workflows: dict[str, str] = {}

    def open(self) -> None:
        """Copies of the empty tables that Sorbus made, n8n with its workflows; returns once it has polled twice."""
        n8n_tables.create(self.stage.dsns, self.stage.accounting)
        n8n_tables.set_password(self.stage.accounting, password := secrets.token_hex(12))
        self.support.folder.mkdir(parents=True)
        self.support.set_key(key := secrets.token_hex(12))
        self.support.start()
        self.n8n.start()
        self.n8n.own()
        for system in ("crm", "erp", "projects", "reporting"):
            self.credentials[system] = self.n8n.create_credential(
                system, "postgres", n8n_tables.credential(self.stage.dsns[system])
            )
        books = {"host": "127.0.0.1", "port": self.stage.accounting.port, "database": n8n_tables.BOOKS, "user": "n8n"}
        self.credentials["accounting"] = self.n8n.create_credential(
            "accounting", "mySql", {**books, "password": password}
        )
        self.credentials["support"] = self.n8n.create_credential(
            "support", "httpHeaderAuth", {"name": "X-Api-Key", "value": key}
        )
        access = Access(
            **self.credentials, support_url=self.support.url, prices=self.stage.map_folder / "share/prices.xlsx"
        )
        told = self.n8n.create_workflow(error_workflow(access))
        for name, workflow in flows(access).items():
            settings = {"executionOrder": "v1", "errorWorkflow": told}
            self.workflows[name] = self.n8n.create_workflow({**workflow, "settings": settings})
        self.polled()

    def stop(self) -> None:
        """Stops n8n and its support desk."""
        self.n8n.kill()
        self.support.stop()

    def edit(self, old: str, new: str) -> None:
        """A person changes every workflow's mapping that names `old`."""
        for name, id in self.workflows.items():
            if old in str(self.n8n.ask("GET", f"/rest/workflows/{id}")["nodes"]):
                self.n8n.edit_workflow(id, old, new)
                self._say(f"    n8n: {name}: {new}")

    def run_again(self, *names: str) -> None:
        """From the beginning, by hand."""
        for name in names or self.workflows:
            self.n8n.post(path(name))

    def polled(self) -> list[str]:
        """Waits until each workflow has run twice from now on; the names of those whose last run didn't succeed."""
        began, end = _utc(), time.monotonic() + _POLLED_WITHIN
        while True:
            runs = [one for one in self.n8n.executions() if one.workflow in self.workflows and one.started >= began]
            ended = [one for one in runs if one.status not in ("new", "running", "waiting")]
            count = Counter(one.workflow for one in ended)
            if all(count[name] >= 2 for name in self.workflows) and len(runs) == len(ended):
                return _failing(ended)
            if time.monotonic() > end:
                late = sorted(name for name in self.workflows if count[name] < 2)
                self._say(f"    n8n: not run twice within {_POLLED_WITHIN:.0f} s: {', '.join(late)}")
                return sorted({*_failing(ended), *(name for name in late if not count[name])})
            time.sleep(0.5)

    def losses(self) -> set[Loss]:
        """By the ledger; of invoices, by the ERP, which raises them from what Sorbus brings."""
        expected = self.business.ledger.expected()
        found = set()
        for relation in SHOWN:
            name = relation.partition(".")[2]
            wanted = self.stage.systems.read(f"erp.{name}") if name.startswith("invoice") else expected[relation]
            try:
                there = self._read(relation)
            except (SorbusError, psycopg.OperationalError):
                continue  # its server is away
            found |= compared(relation, self.stage.systems.compared(relation, wanted), there)
        return found

    def steady(self) -> set[Loss]:
        """Losses that two more polls don't mend: what is on its way isn't lost."""
        found = self.losses()
        if found - self._known:
            self.polled()
            found &= self.losses()
        return found

    def told(self) -> Counter[str]:
        """Messages of the error workflow so far, by the workflow that failed."""
        with psycopg.connect(self.stage.dsns["projects"]) as connection:
            rows = connection.execute("select workflow, count(*) from n8n.errors group by 1").fetchall()
        return Counter(dict(rows))

    def during(self, what: str) -> Observed:
        """While a fault lasts: which workflows fail, and what is wrong where n8n says success."""
        seen = Observed(what, failing=self.polled())
        found = self.steady() - self._known
        seen.behind = counted(one for one in found if SHOWN[one.relation] in seen.failing)
        seen.during = counted(one for one in found if SHOWN[one.relation] not in seen.failing)
        return seen

    def after(self, seen: Observed) -> None:
        """Once it is fixed: what is wrong where n8n says success, and wasn't before."""
        failing = self.polled()
        found = {one for one in self.steady() if SHOWN[one.relation] not in failing}
        seen.after = counted(found - self._known)
        self._known |= found
        self.observed.append(seen)
        now = self.told()
        seen.told, self._told = dict(now - self._told), now
        self._say(
            f"    n8n: {seen.what}: messages {seen.told or 'none'}, failing {seen.failing},"
            f" behind {seen.behind or 'nothing'}, silent {seen.during or 'nothing'},"
            f" after the fix {seen.after or 'nothing'}, still failing {failing}"
        )

    def _read(self, relation: str) -> list[tuple[str, tuple[str, ...]]]:
        system, _, name = relation.partition(".")
        if system == "support":
            with closing(sqlite3.connect(self.support.database, timeout=30)) as connection:
                rows = connection.execute("select ours, number, name, email, status from people").fetchall()
        elif system == "accounting":
            rows = self.stage.accounting.execute(queries(system)[name], n8n_tables.BOOKS)
        else:
            with psycopg.connect(self.stage.dsns[system], options="-c search_path=n8n") as connection:
                rows = connection.execute(queries(system)[name].encode()).fetchall()
        return [(str(key), tuple(trimmed(str(one)) for one in values if one is not None)) for key, *values in rows]


def _failing(runs: Iterable[Execution]) -> list[str]:
    last = {one.workflow: one.status for one in runs}
    return sorted(name for name, status in last.items() if status != "success")


def _utc() -> str:
    """Now, as n8n writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
