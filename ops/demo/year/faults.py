"""What goes wrong in the year: each fault begins, is seen in plain words, and is fixed as its runbook says.

A fault lasts a week of business. `begin` is before the week, `strike` after it; then `look` must say `sign` before
anything is fixed, and `fix` is what people do, each step counted.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psycopg

from sorbus.errors import SorbusError
from sorbus.ops.demo.year.business import Business
from sorbus.ops.demo.year.facts import Customer
from sorbus.ops.demo.year.servers import wait
from sorbus.ops.demo.year.stage import Stage
from sorbus.ops.demo.year.workplace import WEEKS

_SEEN_WITHIN, _AGAIN_WITHIN = 180.0, 60.0
_OK = (0, 1, 3, 4)
"""Exit codes with which a command that looks may end while something is wrong."""


@dataclass
class Outcome:
    """What became of a fault: what was seen, in whose words, and what people did about it."""

    fault: str
    month: int
    week: int
    runbook: str = ""
    command: str = ""
    words: str = ""
    steps: list[str] = field(default_factory=list)


class Fault:
    """`look` is the command that shows it, `sign` what it says; a fault without `sign` needs nobody to see it."""

    title, runbook, sign = "", "", ""
    look: tuple[str, ...] = ("status",)

    def __init__(self, stage: Stage, business: Business) -> None:
        self.stage, self.business = stage, business

    def begin(self) -> None:
        """Before the week."""

    def strike(self) -> None:
        """After the week."""

    def fix(self) -> list[str]:
        """What people do, step by step, as they would write it down."""
        return []

    def seen(self, patience: float = _SEEN_WITHIN) -> str:
        """The sentence that says it, once it does; SorbusError if it never does."""
        said: list[str] = []
        for _ in range(max(1, round(patience / 2))):
            said = self._said()
            if found := next((one for one in said if re.search(self.sign, one, re.IGNORECASE)), ""):
                return found.strip()
            wait(2)
        told = "\n".join(said)[-3000:]
        raise SorbusError(f"{self.title}: `sorbus {' '.join(self.look)}` doesn't say so:\n{told}")

    def _said(self) -> list[str]:
        if self.look != ("status",):
            return self.stage.sorbus(*self.look, status=_OK).splitlines()
        shown = json.loads(self.stage.sorbus("status", "--json", status=_OK))  # where a person's screen wraps sentences
        return [*map(str, shown["complaints"]), *(f"{one['of']}: {one['words']}" for one in shown["notes"])]


class Killed(Fault):
    """Every process of Sorbus is killed in the middle of the week, and started again after it."""

    title = "kill -9 of every process of Sorbus"
    runbook = "process-down"

    def begin(self) -> None:
        self.stage.kill_work()

    def fix(self) -> list[str]:
        self.stage.start_work()
        return []


class KilledWithServers(Killed):
    """Accounting's server, too, as in a power cut."""

    title = "kill -9 of every process of Sorbus and of MariaDB"

    def begin(self) -> None:
        self.stage.accounting.kill()
        super().begin()
        self.stage.accounting.start()


class AccountingPassword(Fault):
    """Somebody changes Sorbus's password in accounting."""

    title = "accounting: password changed"
    runbook = "stopped"
    sign = "access denied|refuses us"

    def begin(self) -> None:
        self.password = secrets.token_hex(12)
        self.stage.accounting.set_password(self.password)

    def fix(self) -> list[str]:
        self.stage.write_secret("ACCOUNTING_PASSWORD", self.password)
        return ["the new password into ACCOUNTING_PASSWORD's file"]


class SupportKey(Fault):
    """The support desk's administrator revokes the API key."""

    title = "support desk: API key revoked"
    runbook = "stopped"
    sign = "API key was revoked"

    def begin(self) -> None:
        self.key = secrets.token_hex(12)
        self.stage.applications["support"].set_key(self.key)

    def fix(self) -> list[str]:
        self.stage.write_secret("SUPPORT_KEY", self.key)
        return ["the new key into SUPPORT_KEY's file"]


class DirectoryPassword(Fault):
    """IT changes the password of Sorbus's entry in the directory."""

    title = "directory: bind password changed"
    runbook = "stopped"
    sign = "invalid ?credentials|refuses us"

    def begin(self) -> None:
        self.password = secrets.token_hex(12)
        self.stage.directory.set_password(self.password)
        for one in [one for one in self.business.ledger.employees.values() if one.left_on is None][:2]:
            self.business.staff.move(one)

    def fix(self) -> list[str]:
        self.stage.write_secret("DIRECTORY_PASSWORD", self.password)
        return ["the new password into DIRECTORY_PASSWORD's file"]


class ColumnRenamed(Fault):
    """The CRM's vendor renames a column."""

    title = "CRM: column customers.email renamed"
    runbook = "schema-drift"
    look = ("drift", "list")
    sign = "seems renamed"

    def begin(self) -> None:
        with psycopg.connect(self.stage.dsns["crm"]) as connection:
            connection.execute("alter table customers rename column email to mail_address")
        self.business.sales.email_column = "mail_address"

    def fix(self) -> list[str]:
        self.stage.edit_sheet("customers.email,", "customers.mail_address,")
        self.stage.sorbus("map", "check")
        restart(self.stage, "produce crm")
        return ["customers.mail_address into the mapping sheet", "sorbus map check", "restart the CRM's producer"]


class HeaderChanged(Fault):
    """Product management gives a column of the price list another header."""

    title = "price list: header changed"
    runbook = "schema-drift"
    sign = "net price"

    def begin(self) -> None:
        self.business.price_list.rename_column("Price before VAT")

    def fix(self) -> list[str]:
        self.stage.edit_sheet("prices.Net price,", "prices.Price before VAT,")
        self.stage.sorbus("map", "check")
        restart(self.stage, "produce share")
        return ["prices.Price before VAT into the mapping sheet", "sorbus map check", "restart the share's producer"]


class AccountingDown(Fault):
    """Accounting's server dies, and is away for a week of business: its people can't work either."""

    title = "accounting down"
    runbook = "system-unreachable"
    sign = "accounting.*(?:unreachable|can't be reached|no answer)"

    def begin(self) -> None:
        self.stage.accounting.kill()
        self.business.finance.is_open = False

    def fix(self) -> list[str]:
        self.stage.accounting.start()
        self.business.finance.is_open = True
        return ["start MariaDB"]


class Restored(Fault):
    """Reporting's database is put back as it was a week ago."""

    title = "reporting restored from last week's backup"
    runbook = "target-restored"
    sign = "found in an earlier state.*have been delivered again"

    def begin(self) -> None:
        self.stage.back_up("reporting")

    def strike(self) -> None:
        self.stage.stop_work()
        self.stage.restore("reporting")
        self.stage.start_work()

    def fix(self) -> list[str]:
        self.stage.sorbus("reconcile", "invoice-to-reporting")
        return ["sorbus reconcile invoice-to-reporting"]


class LongName(Fault):
    """A customer's new name is longer than accounting takes."""

    title = "a customer's name is too long for accounting"
    runbook = "dead-letters"
    look = ("dlq", "groups")
    sign = "debtors|too long|longer"

    def begin(self) -> None:
        self.customer: Customer = next(iter(self.business.ledger.customers.values()))
        self.name = self.customer.name
        self.business.sales.rename_customer(self.customer, f"{self.name} {'and sons, ' * 9}")

    def fix(self) -> list[str]:
        self.business.sales.rename_customer(self.customer, self.name)
        return ["the customer's name corrected in the CRM"]


KINDS: Sequence[type[Fault]] = (
    Killed, AccountingPassword, ColumnRenamed, SupportKey, AccountingDown, HeaderChanged, Restored, DirectoryPassword,
    LongName, KilledWithServers,
)  # fmt: skip


def schedule(months: int, kinds: Sequence[type[Fault]] = KINDS) -> dict[tuple[int, int], list[type[Fault]]]:
    """(month, week) -> what goes wrong then: all kinds, spread over the months, none before the second week."""
    weeks, planned = months * WEEKS, dict[tuple[int, int], list[type[Fault]]]()
    for number, kind in enumerate(kinds):
        week = 1 + number * (weeks - 1) // len(kinds)
        planned.setdefault((week // WEEKS + 1, week % WEEKS + 1), []).append(kind)
    return planned


def restart(stage: Stage, process: str) -> None:
    """Ends one process of `sorbus up` in order, which starts it again."""
    pid = _pid(stage, process)
    os.kill(pid, signal.SIGTERM)
    for _ in range(round(_AGAIN_WITHIN / 0.2)):
        if _pid(stage, process) not in (pid, 0):
            return
        wait(0.2)
    raise SorbusError(f"{process} did not start again within {_AGAIN_WITHIN:.0f} s:\n{stage.last_words()}")


def _pid(stage: Stage, process: str) -> int:
    listed = json.loads((stage.folder / "run" / "processes.json").read_text("utf-8"))
    return next((int(one["pid"] or 0) for one in listed if one["name"] == process), 0)


Say = Callable[[str], None]
