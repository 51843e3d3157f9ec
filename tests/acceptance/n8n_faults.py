"""Each fault of the year, that n8n has it too: at the same moment, for as long, and mended by the same people."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

from sorbus.ops.demo.year import faults
from sorbus.ops.demo.year.faults import KINDS, Fault
from tests.acceptance.n8n_losses import SHOWN
from tests.acceptance.n8n_tables import set_password
from tests.acceptance.n8n_year import Observed, Rival


class Same:
    """A fault of n8n: what begins with Sorbus's, what happens when it strikes, and what a person mends."""

    is_down = False

    def __init__(self, rival: Rival) -> None:
        self.rival = rival

    def begin(self) -> None:
        """Before the week."""

    def struck(self, strike: Callable[[], None]) -> None:
        """After the week, around what strikes Sorbus."""
        strike()

    def fix(self) -> None:
        """After Sorbus's is fixed."""


class Killed(Same):
    """kill -9 of n8n; started again with Sorbus."""

    is_down = True

    def begin(self) -> None:
        self.rival.n8n.kill()

    def fix(self) -> None:
        self.rival.n8n.start()


class AccountingPassword(Same):
    """The new password is typed into its credential."""

    def begin(self) -> None:
        self.password = secrets.token_hex(12)
        set_password(self.rival.stage.accounting, self.password)

    def fix(self) -> None:
        self.rival.n8n.change_credential(self.rival.credentials["accounting"], password=self.password)


class SupportKey(Same):
    """The new key is typed into its credential."""

    def begin(self) -> None:
        self.key = secrets.token_hex(12)
        self.rival.support.set_key(self.key)

    def fix(self) -> None:
        self.rival.n8n.change_credential(self.rival.credentials["support"], name="X-Api-Key", value=self.key)


class ColumnRenamed(Same):
    """The new name is written into the queries."""

    def fix(self) -> None:
        self.rival.edit("lower(email) as email", "lower(mail_address) as email")


class HeaderChanged(Same):
    """The new header is written into the mapping."""

    def fix(self) -> None:
        self.rival.edit("$json['Net price']", "$json['Price before VAT']")


class Restored(Same):
    """Stopped before the backup is put back and started after; the fix is to run from the beginning, as a replay is."""

    def struck(self, strike: Callable[[], None]) -> None:
        self.rival.polled()  # in a real week it would have, many times: its cursor is past what is lost
        self.rival.n8n.stop()
        strike()
        self.rival.n8n.start()

    def fix(self) -> None:
        self.rival.run_again(*sorted({flow for flow in SHOWN.values() if flow.endswith("to reporting")}))


_SAME: Mapping[type[Fault], type[Same]] = {
    faults.Killed: Killed, faults.KilledWithServers: Killed, faults.AccountingPassword: AccountingPassword,
    faults.SupportKey: SupportKey, faults.ColumnRenamed: ColumnRenamed, faults.HeaderChanged: HeaderChanged,
    faults.Restored: Restored,
}  # fmt: skip


def kinds(rival: Rival) -> tuple[type[Fault], ...]:
    """All kinds of the year, each of both."""
    return tuple(_both(kind, rival) for kind in KINDS)


def _both(kind: type[Fault], rival: Rival) -> type[Fault]:
    class Both(kind):  # type: ignore[valid-type, misc]
        def begin(self) -> None:
            self.same = _SAME.get(kind, Same)(rival)
            if self.same.is_down:
                self.same.begin()
                super().begin()
            else:
                super().begin()
                self.same.begin()

        def strike(self) -> None:
            self.same.struck(super().strike)

        def fix(self) -> list[str]:
            seen = Observed(kind.title) if self.same.is_down else rival.during(kind.title)
            steps = super().fix()
            self.same.fix()
            rival.after(seen)
            return list(steps)

    return Both
