"""What delivery does in the project tool, and support at its desk."""

from __future__ import annotations

import sqlite3
from datetime import date, timedelta
from decimal import Decimal

from sorbus.ops.demo.year.desk import now, open_database
from sorbus.ops.demo.year.facts import WorkItem
from sorbus.ops.demo.year.finance import Finance
from sorbus.ops.demo.year.sales import Sales
from sorbus.ops.demo.year.workplace import Workplace


class Delivery:
    """Projects and the work in them."""

    def __init__(self, at: Workplace, sales: Sales, finance: Finance) -> None:
        self.at, self._sales, self._finance = at, sales, finance

    def new_project(self, day: date) -> None:
        """For a customer."""
        customer = self.at.chance.choice(list(self.at.ledger.customers.values()))
        if customer.id in self._sales.mistaken:
            return
        code = f"P-{self.at.next():05d}"
        name = f"Installation {code[2:]} for {customer.number}"
        [[id]] = self.at.run(
            "projects",
            "insert into projects (code, name, customer_id, status, starts_on) values (%s, %s, %s, 'open', %s)"
            " returning project_id",
            code, name, customer.id, day,
        )  # fmt: skip
        self.at.ledger.projects[int(str(id))] = code, name, customer.id
        self.at.did("projects: new project")

    def week(self, monday: date, place: int) -> None:
        """Projects begin, work is planned, and some of it is done."""
        chance, ledger = self.at.chance, self.at.ledger
        for _ in range(self.at.volume.weekly(0.05)):
            self.new_project(monday)
        staff = [one.number for one in ledger.employees.values() if one.left_on is None]
        for _ in range(self.at.volume.weekly(0.5)):
            project = chance.choice(list(ledger.projects))
            customer, title, who = ledger.projects[project][2], f"Work {self.at.next()}", chance.choice(staff)
            [[id]] = self.at.run(
                "projects",
                "insert into work_items (project_id, customer_id, title, staff_no, status)"
                " values (%s, %s, %s, %s, 'open') returning work_item_id",
                project, customer, title, who,
            )  # fmt: skip
            ledger.work[int(str(id))] = WorkItem(int(str(id)), project, customer, title, who)
            self.at.did("projects: work planned")
        for item in [one for one in ledger.work.values() if one.done_on is None and chance.random() < 0.5]:
            hours, day = Decimal(chance.randrange(25, 2000)) / 100, monday + timedelta(chance.randrange(5))
            self.at.run(
                "projects",
                "update work_items set status = 'done', hours = %s, done_on = %s where work_item_id = %s",
                hours, day, item.id,
            )  # fmt: skip
            self.at.did("projects: work done")
            self._finance.expect(ledger.complete(item, hours, day), place)


class Support:
    """Tickets."""

    def __init__(self, at: Workplace) -> None:
        self.at = at

    def week(self) -> None:
        """Questions come, and are answered."""
        chance, ledger = self.at.chance, self.at.ledger
        connection: sqlite3.Connection = open_database(self.at.desk)
        try:
            for _ in range(self.at.volume.weekly(0.5)):
                customer = chance.choice(list(ledger.customers))
                subject = f"Question {self.at.next()}"
                done = connection.execute(
                    "insert into tickets (subject, customer, status, minutes, changed_at) values (?, ?, 'open', 0, ?)",
                    (subject, str(customer), now()),
                )
                ledger.tickets[int(done.lastrowid or 0)] = subject, customer, "open", 0
                self.at.did("support: ticket")
            for id, (subject, customer, status, _) in list(ledger.tickets.items()):
                if status == "open" and chance.random() < 0.5:
                    minutes = 15 * chance.randrange(1, 9)
                    connection.execute(
                        "update tickets set status = 'done', minutes = ?, changed_at = ? where id = ?",
                        (minutes, now(), id),
                    )
                    ledger.tickets[id] = subject, customer, "done", minutes
                    self.at.did("support: ticket done")
        finally:
            connection.close()
