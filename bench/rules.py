"""What rules cost: ten columns as they are beside the same ten through rules, side by side in one process.

The unmapped columns hold what the rules make of the others, so both write the same records. Three courses: records that
change again (the values of a field have mostly been seen), and records that are all new (a first copy: names, e-mail
addresses and amounts differ from row to row, countries and states don't), with and without new telephone numbers.
Pairs are measured by turns in CPU time, since others use the machine too; the ratio's median counts.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

from sorbus.consumers.postgres.shape import TableShape
from sorbus.map.model import FieldMapping
from sorbus.mapping.assign import Assignment, assign_source, assign_target
from sorbus.postgres.catalog import Column
from sorbus.producers.postgres.layout import RowLayout
from sorbus.schema import RecordSchema, parse_schema

ROWS, TURNS = 20_000, 9
SOURCE_RULES = {
    "name": "value | trim",
    "email": "value | trim | lower",
    "code": "value | upper",
    "status": 'value | lookup("status")',
    "currency": 'value | default("EUR")',
    "contact": 'record.first ~ " " ~ record.last',
    "phone": 'value | phone("GB")',
    "country": "value | country",
    "since": 'value | date("%d/%m/%Y")',
    "credit": 'value | decimal(point=",", group=".")',
}
TARGET_RULES = {
    "name": "value | truncate(40)",
    "email": "record.email | coalesce(record.phone)",
    "code": 'value | replace("-", "")',
    "status": 'value == "ACTIVE"',
    "currency": 'value | default("EUR")',
    "contact": "value | title",
    "phone": 'value | phone_text("international")',
    "country": "value | country_name",
    "since": 'value | text("%d.%m.%Y")',
    "credit": "value | round(1)",
}
LOOKUPS = {"status": {"lead": "PROSPECT", "open": "ACTIVE", "closed": "INACTIVE"}}
_CENTS = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
_TYPES: dict[str, object] = {"since": {"type": "int", "logicalType": "date"}, "credit": _CENTS}
SCHEMA: RecordSchema = parse_schema(
    json.dumps(
        {
            "type": "record",
            "name": "customer",
            "fields": [
                {"name": name, "type": ["null", _TYPES.get(name, "string")], "default": None} for name in SOURCE_RULES
            ],
        }
    )
)
RAW_COLUMNS = [*(name for name in SOURCE_RULES if name != "contact"), "first", "last"]
_OIDS = {"since": 1082, "credit": 1700, "first": 25, "last": 25}


class Pair(NamedTuple):
    """One stage's records a second, without rules and with them, over all turns."""

    stage: str
    plain: list[float]
    ruled: list[float]

    @property
    def ratio(self) -> float:
        """The median of each turn's own ratio."""
        return statistics.median(ruled / plain for plain, ruled in zip(self.plain, self.ruled, strict=True))


def people(count: int, seed: int, phones: int = 9_000_000) -> list[tuple[dict[str, str | None], dict[str, str | None]]]:
    """Rows as their owner keeps them, and as they are canonically, column -> text as PostgreSQL sends it."""
    dice = random.Random(seed)
    countries = [("Germany", "DE"), ("United Kingdom", "GB"), ("France", "FR"), ("Norway", "NO"), ("Poland", "PL")]
    found = []
    for number in range(count):
        key = seed * count + number
        first, last = f"First{dice.randrange(400)}", f"Last{dice.randrange(4000)}"
        country, code = dice.choice(countries)
        status = dice.choice(list(LOOKUPS["status"]))
        day = date(2020, 1, 1) + timedelta(days=dice.randrange(1500))
        cents = dice.randrange(100, 9_999_999)
        amount = f"{cents // 100:,}".replace(",", ".") + f",{cents % 100:02}"
        digits = f"{2070000000 + key % phones:010}"
        raw: dict[str, str | None] = {
            "name": f" Company {key} Ltd ", "email": f"Info{key}@Mail{key % 97}.example", "code": f"c-{key}",
            "status": status, "currency": dice.choice([None, "GBP"]), "first": first, "last": last,
            "phone": f"0{digits[:2]} {digits[2:6]} {digits[6:]}", "country": country, "since": day.strftime("%d/%m/%Y"),
            "credit": amount,
        }  # fmt: skip
        canonical: dict[str, str | None] = {
            "name": f"Company {key} Ltd", "email": f"info{key}@mail{key % 97}.example", "code": f"C-{key}",
            "status": LOOKUPS["status"][status], "currency": raw["currency"] or "EUR", "contact": f"{first} {last}",
            "phone": f"+44{digits}", "country": code, "since": day.isoformat(), "credit": f"{cents / 100:.2f}",
        }  # fmt: skip
        found.append((raw, canonical))
    return found


def layouts() -> tuple[RowLayout, RowLayout]:
    """The same fields taken as they are, and through ten rules."""
    plain = RowLayout(SCHEMA.fields, _source({}), {name: _OIDS.get(name, 25) for name in SOURCE_RULES})
    ruled = RowLayout(SCHEMA.fields, _source(SOURCE_RULES), dict.fromkeys(RAW_COLUMNS, 25))
    return plain, ruled


def shapes() -> tuple[TableShape, TableShape]:
    """The same columns filled as they are, and through ten rules."""
    columns = {name: _column(name) for name in TARGET_RULES}
    texts = {name: _column(name, text=True) for name in TARGET_RULES}
    plain, ruled = (
        TableShape(_target(rules), taken, SCHEMA.fields, defaults={}, children={})
        for rules, taken in (({}, columns), (TARGET_RULES, texts))
    )
    return plain, ruled


def measure(rows: int = ROWS, turns: int = TURNS) -> list[Pair]:
    """Every stage and course."""
    found = []
    for course in ("seen before", "new but for phones", "all new"):
        plain_layout, ruled_layout = layouts()
        plain_shape, ruled_shape = shapes()
        capture, delivery = Pair(f"capture, {course}", [], []), Pair(f"delivery, {course}", [], [])
        for turn in range(turns + 1):
            if course == "seen before":
                made = people(rows // 10, 0) * 10
            else:
                made = people(rows, turn, *([2_000] if course == "new but for phones" else []))
            raw = [[_bytes(row[name]) for name in RAW_COLUMNS] for row, _ in made]
            canonical = [[_bytes(row[name]) for name in SOURCE_RULES] for _, row in made]
            records = [b"".join(plain_layout.encode(row)) for row in canonical]
            assert records[:100] == [b"".join(ruled_layout.encode(row)) for row in raw[:100]]
            captured = _capture_rate(plain_layout, canonical), _capture_rate(ruled_layout, raw)
            delivered = _delivery_rate(plain_shape, records), _delivery_rate(ruled_shape, records)
            for pair, (without, with_rules) in ((capture, captured), (delivery, delivered)):
                if turn:  # the first warms up
                    pair.plain.append(without)
                    pair.ruled.append(with_rules)
        found += [capture, delivery]
    return found


def as_markdown(pairs: Sequence[Pair]) -> str:
    """A table."""
    lines = ["| stage | records/s without rules | with ten | ratio |", "| --- | ---: | ---: | ---: |"]
    lines += [
        f"| {pair.stage} | {statistics.median(pair.plain):,.0f} | {statistics.median(pair.ruled):,.0f} "
        f"| {pair.ratio:.2f} |"
        for pair in pairs
    ]
    return "\n".join(lines)


def as_json(pairs: Sequence[Pair]) -> str:
    """All figures."""
    return json.dumps([{**pair._asdict(), "ratio": round(pair.ratio, 3)} for pair in pairs], indent=2)


def _capture_rate(layout: RowLayout, rows: Sequence[list[bytes | None]]) -> float:
    began = time.process_time()
    for row in rows:
        b"".join(layout.encode(row))
    return len(rows) / (time.process_time() - began)


def _delivery_rate(shape: TableShape, records: Sequence[bytes]) -> float:
    began = time.process_time()
    for number, record in enumerate(records):
        if shape.packed(b"4711", number, record, 0) is None:
            raise RuntimeError("a rule fails on the bench's own records")
    return len(records) / (time.process_time() - began)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _source(rules: dict[str, str]) -> tuple[Assignment, ...]:
    rows = [
        FieldMapping(file=Path(), line=0, source_system="crm", target_system="canonical", rule=rules.get(name, ""),
                     source_field="" if rules and name == "contact" else f"customers.{name}",
                     target_field=f"customer.{name}", notes="")
        for name in SOURCE_RULES
    ]  # fmt: skip
    return assign_source(rows, "crm", "customer", SCHEMA, {"": "customers"}, LOOKUPS)[""]


def _target(rules: dict[str, str]) -> tuple[Assignment, ...]:
    rows = [
        FieldMapping(file=Path(), line=0, source_system="canonical", target_system="books", rule=rules.get(name, ""),
                     source_field=f"customer.{name}", target_field=f"debtors.{name}", notes="")
        for name in TARGET_RULES
    ]  # fmt: skip
    return assign_target(rows, "books", "customer", SCHEMA, {"": "debtors"}, LOOKUPS)[""]


def _column(name: str, *, text: bool = False) -> Column:
    oid = 16 if text and name == "status" else 25 if text and name == "since" else _OIDS.get(name, 25)
    native = {16: "boolean", 25: "text", 1082: "date", 1700: "numeric(12,2)"}[oid]
    return Column(name, oid, native, "b", "S", 0, 0, False, oid, native.partition("(")[0])
