"""Customers for the rules' bench: each as its owner writes it, and as it is canonically; made up, the same every time.

Three courses of rows. *seen before*: two thousand customers, again and again. *change stream*: what an owner's log is
like after the initial snapshot: of twenty thousand customers one at a time, a few more often than most, with one or two
columns changed and the rest as they were, and three in a hundred rows a new customer. *all new*: an initial snapshot in
which no name, e-mail address, number or amount comes twice.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

COURSES = ("seen before", "change stream", "all new")
POPULATION = 20_000
LOOKUPS = {"status": {"lead": "PROSPECT", "open": "ACTIVE", "closed": "INACTIVE"}}
FIELDS = ("name", "email", "code", "status", "currency", "contact", "phone", "country", "since", "credit")
RAW_COLUMNS = [*(name for name in FIELDS if name != "contact"), "first", "last"]
_COUNTRIES = [("Germany", "DE"), ("United Kingdom", "GB"), ("France", "FR"), ("Norway", "NO"), ("Poland", "PL")]
_CHANGES = {"credit": 30, "status": 25, "currency": 8, "phone": 8, "email": 8, "contact": 7, "name": 5, "since": 4,
            "country": 3, "code": 2}  # fmt: skip
"""How often each field is what a change is about, in a hundred."""
Texts = dict[str, str | None]


class Person(NamedTuple):
    """A row as its owner keeps it, and the same canonically; column -> text as PostgreSQL sends it."""

    number: int
    raw: Texts
    canonical: Texts


def person(number: int) -> Person:
    """The customer of this number."""
    dice = random.Random(number)
    first, last = f"First{dice.randrange(400)}", f"Last{dice.randrange(4000)}"
    country, code = dice.choice(_COUNTRIES)
    status = dice.choice(list(LOOKUPS["status"]))
    day = date(2020, 1, 1) + timedelta(days=dice.randrange(1500))
    cents = dice.randrange(100, 9_999_999)
    amount = f"{cents // 100:,}".replace(",", ".") + f",{cents % 100:02}"
    digits = f"{2070000000 + number % 9_000_000:010}"
    raw: Texts = {
        "name": f" Company {number} Ltd ", "email": f"Info{number}@Mail{number % 9973}.example", "code": f"c-{number}",
        "status": status, "currency": dice.choice([None, "GBP"]), "first": first, "last": last,
        "phone": f"0{digits[:2]} {digits[2:6]} {digits[6:]}", "country": country, "since": day.strftime("%d/%m/%Y"),
        "credit": amount,
    }  # fmt: skip
    canonical: Texts = {
        "name": f"Company {number} Ltd", "email": f"info{number}@mail{number % 9973}.example", "code": f"C-{number}",
        "status": LOOKUPS["status"][status], "currency": raw["currency"] or "EUR", "contact": f"{first} {last}",
        "phone": f"+44{digits}", "country": code, "since": day.isoformat(), "credit": f"{cents / 100:.2f}",
    }  # fmt: skip
    return Person(number, raw, canonical)


class Rows:
    """The rows of a course, as many at a time as are asked for."""

    def __init__(self, course: str) -> None:
        assert course in COURSES
        self.course = course
        self._dice = random.Random(course)
        self._next = 0
        self._there: list[Person] = []

    def before(self) -> list[Person]:
        """What was captured before the measured rows come: the initial snapshot."""
        if self.course == "change stream" and not self._there:
            self._there = self._new(POPULATION)
        return self._there

    def take(self, count: int) -> list[Person]:
        """The next rows."""
        if self.course == "all new":
            return self._new(count)
        if self.course == "seen before":
            self._there = self._there or self._new(count // 10)
            return self._there * 10
        return [self._changed() for _ in range(count)]

    def _new(self, count: int) -> list[Person]:
        self._next += count
        return [person(number) for number in range(self._next - count, self._next)]

    def _changed(self) -> Person:
        dice = self._dice
        if dice.random() < 0.03:
            self._there += self._new(1)
            return self._there[-1]
        place = int(len(self._there) * dice.random() ** 2)
        number, raw, canonical = self._there[place]
        [other] = self._new(1)
        for field in dice.choices(list(_CHANGES), list(_CHANGES.values()), k=dice.choice([1, 1, 2])):
            columns = ("first", "last") if field == "contact" else (field,)
            raw = {**raw, **{column: other.raw[column] for column in columns}}
            canonical = {**canonical, field: other.canonical[field]}
        self._there[place] = Person(number, raw, canonical)
        return self._there[place]


def cells(texts: Texts, columns: Sequence[str]) -> list[bytes | None]:
    """The columns' values as bytes."""
    return [None if (text := texts[column]) is None else text.encode() for column in columns]
