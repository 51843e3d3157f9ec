"""Where the people of the year work: their systems, the ledger that they tell, and the chance that decides."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Protocol

import psycopg

from sorbus.ops.demo.year.ledger import Ledger

YEAR = 2026
WEEKS = 4
"""Of each month; the days after the 28th are the closing's."""
_DEADLOCKS = 5


@dataclass(frozen=True)
class Volume:
    """How much happens in a month."""

    orders: int = 200

    def weekly(self, share: float) -> int:
        """So many a week, for each order of the month."""
        return max(1, round(self.orders * share / WEEKS))


class ProjectTool(Protocol):
    """What delivery works with. Ids are the tool's own."""

    def new_project(self, code: str, name: str, customer: int, day: date) -> int:
        """Makes a project that starts on a day; its id."""

    def plan_work(self, project: int, customer: int, title: str, staff: str) -> int:
        """Makes an open work item, given to the employee with this number; its id."""

    def complete_work(self, item: int, hours: Decimal, day: date) -> None:
        """The item was done on that day, in so many hours."""


class SupportDesk(Protocol):
    """What support works with. Ids are its own."""

    def open_ticket(self, subject: str, customer: int) -> int:
        """Makes a ticket of a customer; its id."""

    def close_ticket(self, ticket: int, minutes: int) -> None:
        """It was answered, in so many minutes."""


@dataclass
class Workplace:
    """`dsns`: PostgreSQL by system; `books`: runs SQL in accounting; `prices`: the workbook.

    `counts` says how often each thing was done, by system and kind.
    """

    dsns: Mapping[str, str]
    books: Callable[[str], object]
    projects: ProjectTool
    support: SupportDesk
    prices: Path
    volume: Volume = field(default_factory=Volume)
    seed: int = 2026
    ledger: Ledger = field(default_factory=Ledger)
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self._number = 0

    def run(self, system: str, statement: str, *values: object) -> list[tuple[object, ...]]:
        """One transaction in a PostgreSQL system; its rows."""
        return transaction(self.dsns[system], statement, *values)

    def did(self, what: str) -> None:
        """Counts what was done, as `crm: order`."""
        self.counts[what] += 1
        self.ledger.events += 1

    def next(self) -> int:
        """A number that nothing else has."""
        self._number += 1
        return self._number


def transaction(dsn: str, statement: str, *values: object) -> list[tuple[object, ...]]:
    """One transaction in PostgreSQL, tried again after a deadlock, as its client does; its rows."""
    for left in reversed(range(_DEADLOCKS)):
        try:
            with psycopg.connect(dsn) as connection:
                done = connection.execute(statement.encode(), values)
                rows = done.fetchall() if done.description else []
        except psycopg.errors.DeadlockDetected:
            if not left:
                raise
        else:
            return rows
    raise AssertionError
