"""What human resources do."""

from __future__ import annotations

from datetime import date

from sorbus.ops.demo.year.facts import Employee
from sorbus.ops.demo.year.workplace import Workplace

_FAMILIES = ("Müller", "Nowak", "O'Hara", "Weiß", "Ibrahim", "Sørensen", "Rossi", "Novák", "Dvořák", "Lindqvist")
_GIVEN = ("Anna", "Jörg", "Léa", "Tomasz", "Zoë", "Kim", "Aylin", "Søren", "Nils", "Maria")
_JOBS = (("Fitter", "Service"), ("Buyer", "Purchasing"), ("Consultant", "Delivery"), ("Clerk", "Finance"))


class Staff:
    """Who works for the company."""

    def __init__(self, at: Workplace) -> None:
        self.at = at

    def week(self, monday: date) -> None:
        """Someone joins, moves or leaves, in most weeks."""
        chance, kind = self.at.chance, self.at.chance.random()
        here = [one for one in self.at.ledger.employees.values() if one.left_on is None]
        if kind < 0.45:
            self.join(monday)
        elif kind < 0.75:
            self.move(chance.choice(here))
        elif len(here) > 12:
            self._leave(chance.choice(here[3:]), monday)
        gone = [one for one in self.at.ledger.employees.values() if one.left_on and not one.removed]
        if len(gone) > 3:
            self._remove(gone[0])

    def join(self, day: date) -> None:
        """Somebody new."""
        chance, number = self.at.chance, self.at.next()
        title, department = chance.choice(_JOBS)
        here = [one.number for one in self.at.ledger.employees.values() if one.left_on is None][:3]
        one = Employee(
            f"E-{number:05d}", chance.choice(_GIVEN), chance.choice(_FAMILIES), f"user{number}", title, department,
            chance.choice(here) if here else None,
        )  # fmt: skip
        self.at.run(
            "hr",
            "insert into employees values (%s, %s, %s, %s, %s, %s, %s, %s, %s, null, 38.5)",
            one.number, one.given, one.family, one.user, one.email, title, department, one.manager, day,
        )  # fmt: skip
        self.at.ledger.employees[one.number] = one
        self.at.did("hr: joined")

    def move(self, one: Employee) -> None:
        """Another department; now and then another name, and with it another login."""
        one.title, one.department = self.at.chance.choice(_JOBS)
        leads = {other.manager for other in self.at.ledger.employees.values()}
        if self.at.chance.random() < 0.3 and one.number not in leads:
            one.family, one.user = self.at.chance.choice(_FAMILIES), f"user{self.at.next()}"
        self.at.run(
            "hr",
            "update employees set job_title = %s, department = %s, family_name = %s, user_name = %s, email = %s"
            " where staff_no = %s",
            one.title, one.department, one.family, one.user, one.email, one.number,
        )  # fmt: skip
        self.at.did("hr: moved")

    def _leave(self, one: Employee, day: date) -> None:
        one.left_on = day
        self.at.run("hr", "update employees set left_on = %s where staff_no = %s", day, one.number)
        self.at.did("hr: left")

    def _remove(self, one: Employee) -> None:
        """What HR no longer needs to know."""
        one.removed = True
        self.at.run("hr", "delete from employees where staff_no = %s", one.number)
        self.at.did("hr: record removed")
