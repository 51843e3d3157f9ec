"""The year's stage with Redmine, Request Tracker and Tryton on it, and what the ledger expects of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from sorbus.ops.demo.year.ledger import Ledger, Rows
from sorbus.ops.demo.year.stage import Stage
from sorbus.ops.demo.year.systems import Systems
from sorbus.ops.demo.year.workplace import Volume, Workplace
from tests.acceptance.real_year.overlay import lay_over
from tests.acceptance.real_year.redmine import Redmine
from tests.acceptance.real_year.tracker import Tracker
from tests.acceptance.real_year.tryton import Tryton

_REDMINE_LACKS = ("invoices", "payments", "month_end")
_SECRETS = ("REDMINE_KEY", "TRACKER_PASSWORD", "TRYTON_PASSWORD")


class RealLedger(Ledger):
    """Redmine has no invoices and payments; Tryton gets customers and price list."""

    def expected(self) -> dict[str, Rows]:
        """See `Ledger`."""
        found = super().expected()
        for name in _REDMINE_LACKS:
            del found[f"projects.{name}"]
        customers, products = found["reporting.customers"], found["share.products"]
        return {**found, "tryton.customers": customers, "tryton.products": products}


class RealSystems(Systems):
    """The real applications, read in their own databases."""

    def __init__(self, below: Systems, redmine: Redmine, tracker: Tracker, tryton: Tryton) -> None:
        super().__init__(below.dsns, below.accounting, below.directory, below.applications, below.prices)
        self._readers |= {
            "projects.customers": redmine.customers,
            "projects.projects": redmine.projects,
            "projects.work": redmine.work,
            "projects.employees": redmine.employees,
            "support.customers": tracker.customers,
            "support.tickets": tracker.tickets,
            "tryton.customers": tryton.customers,
            "tryton.products": tryton.products,
        }

    def compared(self, relation: str, wanted: Rows) -> Rows:
        """See `Systems`. A customer's state has no place in the three; Tryton's products
        have no rate of tax. Its parties go by the customer's number.

        An employee's name there is the login; one who left keeps the account until HR removes the record.
        """
        if relation in ("projects.customers", "support.customers"):
            return {id: row[:3] for id, row in wanted.items()}
        if relation == "tryton.customers":
            return {number: (name, address) for number, name, address, _ in wanted.values()}
        if relation == "tryton.products":
            return {sku: row[:2] for sku, row in wanted.items()}
        if relation == "projects.employees":
            return {login: (name, address) for name, login, address, *_ in wanted.values()}
        return super().compared(relation, wanted)


class RealStage(Stage):
    """As `Stage`; leaving it leaves the applications running, which are another's."""

    def __init__(
        self, folder: Path, env: Mapping[str, str], create_database: Callable[[str], str], *, prefix: str,
        redmine: Redmine, tracker: Tracker, tryton: Tryton,
    ) -> None:  # fmt: skip
        super().__init__(folder, env, create_database, prefix=prefix)
        self.redmine, self.tracker, self.tryton = redmine, tracker, tryton

    @property
    def systems(self) -> Systems:
        """See `Stage`."""
        return RealSystems(super().systems, self.redmine, self.tracker, self.tryton)

    def workplace(self, volume: Volume) -> Workplace:
        """See `Stage`."""
        prices = self.map_folder / "share/prices.xlsx"
        return Workplace(
            self.dsns, self.accounting.execute, self.redmine, self.tracker, prices, volume, ledger=RealLedger()
        )

    def env(self) -> dict[str, str]:
        """See `Stage`."""
        return {
            **super().env(),
            **{f"{name}_FILE": str(self.folder / "secrets" / name) for name in _SECRETS},
            "REDMINE_URL": self.redmine.url, "TRACKER_URL": self.tracker.url, "TRYTON_URL": self.tryton.url,
        }  # fmt: skip

    def _copy_map(self) -> None:
        super()._copy_map()
        given = (self.redmine.prepare(), self.tracker.prepare(), self.tryton.prepare())
        for name, secret in zip(_SECRETS, given, strict=True):
            self.write_secret(name, secret)
        lay_over(self.map_folder, self.redmine.marker)
