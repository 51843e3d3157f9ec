"""What goes wrong with the real applications, beside what goes wrong in any year."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from datetime import date

from sorbus.errors import SorbusError
from sorbus.ops.demo.year.business import Business
from sorbus.ops.demo.year.faults import KINDS, Fault, Killed, SupportKey
from sorbus.ops.demo.year.servers import wait
from sorbus.ops.demo.year.stage import Stage
from sorbus.ops.demo.year.workplace import YEAR
from tests.acceptance.real import Running
from tests.acceptance.real_year.stage import RealStage

_NEW, _BEGUN_WITHIN = 12, 180.0


class _Real(Fault):
    def __init__(self, stage: Stage, business: Business) -> None:
        super().__init__(stage, business)
        assert isinstance(stage, RealStage)
        self.real = stage


class RedmineKey(_Real):
    """Somebody resets the API key of Sorbus's user in Redmine."""

    title, runbook, sign = "Redmine: API key reset", "stopped", "projects.*(401|refuses us|API key)"

    def begin(self) -> None:
        self.real.redmine.reset_key()

    def fix(self) -> list[str]:
        self.stage.write_secret("REDMINE_KEY", self.real.redmine.key())
        return ["the new key into REDMINE_KEY's file"]


class TrackerPassword(_Real):
    """Request Tracker's administrator gives Sorbus's user another password."""

    title, runbook, sign = "Request Tracker: password changed", "stopped", "support.*(Unauthorized|401|refuses us)"

    def begin(self) -> None:
        self.password = secrets.token_hex(12)
        self.real.tracker.set_password(self.password)

    def fix(self) -> list[str]:
        self.stage.write_secret("TRACKER_PASSWORD", self.password)
        return ["the new password into TRACKER_PASSWORD's file"]


class TrytonPassword(_Real):
    """Tryton's administrator gives Sorbus's user another password, which ends its sessions."""

    title, runbook, sign = "Tryton: password changed", "stopped", "tryton.*(no session|401|refuses us|password)"

    def begin(self) -> None:
        self.password = secrets.token_hex(12)
        self.real.tryton.set_password(self.password)
        _customers_come(self.business)

    def fix(self) -> list[str]:
        self.stage.write_secret("TRYTON_PASSWORD", self.password)
        return ["the new password into TRYTON_PASSWORD's file"]


class _Away(_Real):
    runbook = "system-unreachable"

    def running(self) -> Running:
        """What is killed."""
        raise NotImplementedError

    def begin(self) -> None:
        server = self.running().server
        assert server is not None
        self.server = server
        server.kill()
        _customers_come(self.business)

    def fix(self) -> list[str]:
        self.server.start()
        return ["start it"]


class TrytonAway(_Away):
    """kill -9 of Tryton, which is away for a week of business."""

    title, sign = "Tryton killed, and away", "tryton.*(?:unreachable|can't be reached|no answer)"

    def running(self) -> Running:
        return self.real.tryton.running


class TrackerAway(_Away):
    """kill -9 of Request Tracker, away for a week of business: its people can't work either."""

    title, sign = "Request Tracker killed, and away", "support.*(?:unreachable|can't be reached|no answer)"

    def running(self) -> Running:
        return self.real.tracker.running

    def begin(self) -> None:
        super().begin()
        self.business.support.is_open = False

    def fix(self) -> list[str]:
        self.business.support.is_open = True
        return super().fix()


class PowerCut(_Real, Killed):
    """kill -9 of Sorbus and of all three applications while customers are being made in them."""

    title = "kill -9 of every process of Sorbus and of Redmine, Request Tracker and Tryton"

    def begin(self) -> None:
        made = _customers_come(self.business)
        redmine, tracker, tryton = self.real.redmine, self.real.tracker, self.real.tryton
        end = time.monotonic() + _BEGUN_WITHIN
        while not any(made & there.customers().keys() for there in (redmine, tracker, tryton)):
            if time.monotonic() > end:
                raise SorbusError(f"none of the customers {sorted(made)} is anywhere after {_BEGUN_WITHIN:.0f} s")
            wait(0.05)
        super().begin()
        servers = [one.running.server for one in (redmine, tracker, tryton)]
        for server in servers:
            assert server is not None
            server.kill()
        for server in servers:
            assert server is not None
            server.start()


REAL_KINDS: Sequence[type[Fault]] = (
    *(kind for kind in KINDS if kind is not SupportKey),
    TrytonPassword, TrackerPassword, RedmineKey, PowerCut, TrytonAway, TrackerAway,
)  # fmt: skip


def _customers_come(business: Business) -> set[str]:
    """Customers enough that some are on their way at any moment soon after; their ids."""
    return {str(business.sales.new_customer(date(YEAR, 1, 2)).id) for _ in range(_NEW)}
