"""The project tool and the support desk of the year, as their people use them: in their own databases."""

from __future__ import annotations

from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path

from sorbus.ops.demo.year.http_application import now, open_database
from sorbus.ops.demo.year.workplace import transaction


class ProjectTables:
    """The project tool on PostgreSQL: implements `ProjectTool`."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def new_project(self, code: str, name: str, customer: int, day: date) -> int:
        """See `ProjectTool`."""
        [[id]] = transaction(
            self._dsn,
            "insert into projects (code, name, customer_id, status, starts_on) values (%s, %s, %s, 'open', %s)"
            " returning project_id",
            code, name, customer, day,
        )  # fmt: skip
        return int(str(id))

    def plan_work(self, project: int, customer: int, title: str, staff: str) -> int:
        """See `ProjectTool`."""
        [[id]] = transaction(
            self._dsn,
            "insert into work_items (project_id, customer_id, title, staff_no, status)"
            " values (%s, %s, %s, %s, 'open') returning work_item_id",
            project, customer, title, staff,
        )  # fmt: skip
        return int(str(id))

    def complete_work(self, item: int, hours: Decimal, day: date) -> None:
        """See `ProjectTool`."""
        transaction(
            self._dsn,
            "update work_items set status = 'done', hours = %s, done_on = %s where work_item_id = %s",
            hours, day, item,
        )  # fmt: skip


class TicketTable:
    """The support desk's database, of http_application.py: implements `SupportDesk`."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def open_ticket(self, subject: str, customer: int) -> int:
        """See `SupportDesk`."""
        with closing(open_database(self._file)) as connection:
            done = connection.execute(
                "insert into tickets (subject, customer, status, minutes, changed_at) values (?, ?, 'open', 0, ?)",
                (subject, str(customer), now()),
            )
            return int(done.lastrowid or 0)

    def close_ticket(self, ticket: int, minutes: int) -> None:
        """See `SupportDesk`."""
        with closing(open_database(self._file)) as connection:
            connection.execute(
                "update tickets set status = 'done', minutes = ?, changed_at = ? where id = ?", (minutes, now(), ticket)
            )
