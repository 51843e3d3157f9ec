"""What delivery does in the project tool, and support with its tickets."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

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
        id = self.at.projects.new_project(code, name, customer.id, day)
        self.at.ledger.projects[id] = code, name, customer.id
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
            id = self.at.projects.plan_work(project, customer, title, who)
            ledger.work[id] = WorkItem(id, project, customer, title, who)
            self.at.did("projects: work planned")
        for item in [one for one in ledger.work.values() if one.done_on is None and chance.random() < 0.5]:
            hours, day = Decimal(chance.randrange(25, 2000)) / 100, monday + timedelta(chance.randrange(5))
            self.at.projects.complete_work(item.id, hours, day)
            self.at.did("projects: work done")
            self._finance.expect(ledger.complete(item, hours, day), place)


class Support:
    """Tickets. `is_open`: False while the support desk can't be worked with."""

    def __init__(self, at: Workplace) -> None:
        self.at, self.is_open = at, True

    def week(self) -> None:
        """Questions come, and are answered."""
        if not self.is_open:
            return
        chance, ledger = self.at.chance, self.at.ledger
        for _ in range(self.at.volume.weekly(0.5)):
            customer = chance.choice(list(ledger.customers))
            subject = f"Question {self.at.next()}"
            id = self.at.support.open_ticket(subject, customer)
            ledger.tickets[id] = subject, customer, "open", 0
            self.at.did("support: ticket")
        for id, (subject, customer, status, _) in list(ledger.tickets.items()):
            if status == "open" and chance.random() < 0.5:
                minutes = 15 * chance.randrange(1, 9)
                self.at.support.close_ticket(id, minutes)
                ledger.tickets[id] = subject, customer, "done", minutes
                self.at.did("support: ticket done")
