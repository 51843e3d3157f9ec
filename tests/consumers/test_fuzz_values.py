"""Odd values, as rules may give them, for every type of a target's column and field: written, or refused in words."""

from __future__ import annotations

import os
import random
import time
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, get_args

from psycopg import adapters

from sorbus.calendar_limits import moment_of
from sorbus.consumers.postgres.text import cell_maker
from sorbus.errors import PermanentError
from sorbus.http_api.description import ApiField, FieldKind
from sorbus.http_api.values import to_json
from sorbus.identity.normalise import _written
from sorbus.postgres.catalog import Column
from tests.conftest import Report
from tests.producers.http.oddities import TEXTS

SECONDS = float(os.environ.get("SORBUS_FUZZ_SECONDS", "1"))
SEED = os.environ.get("SORBUS_FUZZ_SEED", "1")
EAST, WEST = timezone(timedelta(hours=14)), timezone(timedelta(hours=-14))
REFUSED = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, PermanentError)
"""What both targets make a dead letter of; anything else would end the flow."""


def nested(levels: int) -> object:
    made: object = 1
    for _ in range(levels):
        made = [made]
    return made


VALUES: list[Any] = [
    None, True, 0, -1, 2**31, 2**63, -(2**63) - 1, 10**5000, 1.5, float("nan"), float("inf"), -0.0, 5e-324, 1e308,
    Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("1E+400"), Decimal("1E-400"), Decimal("0E-20"),
    datetime(1, 1, 1, tzinfo=EAST), datetime(9999, 12, 31, 23, 59, 59, tzinfo=WEST), datetime(1, 1, 1), date(1, 1, 1),
    datetime(9999, 12, 31, tzinfo=UTC).time(), b"", b"\xff\0", uuid.UUID(int=0), [], {}, [None], [[1], 2], {"": None},
    {1: 2}, {"a": Decimal("NaN")}, nested(5000), ["a", b"\xff"], *TEXTS, "x" * 100_000, "9" * 5000,
]  # fmt: skip


def test_no_value_of_a_rule_raises_what_is_no_refusal(report: Report) -> None:
    chance, oids = random.Random(SEED), sorted({one.oid for one in adapters.types} | {1042, 790})
    makers = []
    for oid in oids:
        info = adapters.types.get(oid)
        element = info.oid if info is not None and info.array_oid == oid else 0
        column = Column("c", oid, info.name if info else "text", "b", "S", 0, 0, False, oid, "text")
        makers.append((oid, cell_maker(column._replace(element=element) if hasattr(column, "_replace") else column)))
    tried, refused, until = 0, 0, time.monotonic() + SECONDS
    while time.monotonic() < until:
        value = chance.choice(VALUES)
        oid, maker = chance.choice(makers)
        tried, began = tried + 1, time.monotonic()
        try:
            maker.make(value)
        except REFUSED:
            refused += 1
        assert time.monotonic() - began < 2, f"type {oid} took long over {type(value)!s}"
        _written(value) if not isinstance(value, int) or abs(value) < 10**4000 else None
    assert 0 < refused < tried
    report(f"{tried} odd values of seed {SEED}, {refused} refused")


def test_no_value_for_a_field_of_an_application_raises_what_is_no_refusal() -> None:
    for kind in get_args(FieldKind):
        field = ApiField(kind=kind)
        for value in VALUES:
            try:
                to_json(value, field)
            except REFUSED:
                continue


def test_a_time_off_the_calendar_is_its_nearest_end_in_any_zone() -> None:
    for micros in (-(2**63), 2**63, 10**400, float("inf"), float("-inf"), float("nan"), -1, 0):
        for zone in (UTC, EAST, WEST):
            assert 1 <= moment_of(micros).astimezone(zone).year <= 9999
    assert moment_of(1) == datetime(1970, 1, 1, microsecond=1, tzinfo=UTC)
