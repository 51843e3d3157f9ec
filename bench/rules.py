"""What rules cost: ten columns as they are beside the same ten through rules, side by side in one process.

The unmapped columns hold what the rules make of the others, so both write the same records. Measured are the mapping's
own stage (a row's bytes to the record's, and back), and the whole way of a change but for the clients of Kafka and
PostgreSQL (`bench.path`), each over the courses of `bench.people`. Pairs are measured by turns in CPU time, and the
best turn of each counts, since others use the machine too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from bench.path import BATCH, CapturePath, DeliveryPath, inserted, mapping
from bench.people import COURSES, FIELDS, LOOKUPS, RAW_COLUMNS, Person, Rows, cells
from sorbus.consumers.postgres.shape import TableShape
from sorbus.mapping.assign import Assignment, assign_source, assign_target
from sorbus.postgres.catalog import Column
from sorbus.producers.postgres.layout import RowLayout
from sorbus.schema import RecordSchema, parse_schema
from sorbus.telemetry.process import collect_seldom

ROWS, TURNS = 20_000, 9
SOURCE_RULES = {
    "name": "value | trim",
    "email": "value | trim | lower | email",
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
_AS_IT_IS = dict.fromkeys(FIELDS, "")
_CENTS = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
_TYPES: dict[str, object] = {"since": {"type": "int", "logicalType": "date"}, "credit": _CENTS}
SCHEMA: RecordSchema = parse_schema(
    json.dumps(
        {
            "type": "record",
            "name": "customer",
            "fields": [
                {"name": name, "type": ["null", _TYPES.get(name, "string")], "default": None} for name in FIELDS
            ],
        }
    )
)
_OIDS = {name: {"since": 1082, "credit": 1700}.get(name, 25) for name in FIELDS}
_RAW_OIDS = dict.fromkeys(RAW_COLUMNS, 25)


Run = Callable[[Sequence[Person]], float]
"""CPU seconds that a stage takes for customers."""


class Pair(NamedTuple):
    """One stage's records a second, without rules and with them, over all turns.

    The best turn of each counts: others on the machine only ever make one slower.
    """

    stage: str
    plain: list[float]
    ruled: list[float]

    @property
    def ratio(self) -> float:
        """How much of the speed is left with rules."""
        return max(self.ruled) / max(self.plain)


def layouts() -> tuple[RowLayout, RowLayout]:
    """The same fields taken as they are, and through ten rules."""
    plain = RowLayout(SCHEMA.fields, _source(_AS_IT_IS), _OIDS)
    ruled = RowLayout(SCHEMA.fields, _source(SOURCE_RULES), _RAW_OIDS)
    return plain, ruled


def shapes() -> tuple[TableShape, TableShape]:
    """The same columns filled as they are, and through ten rules."""
    columns = {name: _column(name) for name in FIELDS}
    texts = {name: _column(name, text=True) for name in FIELDS}
    plain, ruled = (
        TableShape(_target(rules), taken, SCHEMA.fields, defaults={}, children={})
        for rules, taken in ((_AS_IT_IS, columns), (TARGET_RULES, texts))
    )
    return plain, ruled


def measure(rows: int = ROWS, turns: int = TURNS) -> list[Pair]:
    """Every stage and course, each with tables of its own, and the garbage collector set as in Sorbus's processes."""
    collect_seldom()
    return [_measured(stage, course, rows, turns) for course in COURSES for stage in STAGES]


def _measured(stage: str, course: str, rows: int, turns: int) -> Pair:
    made, pair = Rows(course), Pair(f"{stage}, {course}", [], [])
    plain, ruled = STAGES[stage]()
    before = made.before()
    for at in range(0, len(before), rows):
        plain(before[at : at + rows])
        ruled(before[at : at + rows])
    for turn in range(turns + 1):
        people = made.take(rows)
        for found, run in ((pair.plain, plain), (pair.ruled, ruled)):
            seconds = run(people)
            if turn:  # the first warms up
                found.append(len(people) / seconds)
    return pair


def _capturing() -> tuple[Run, Run]:
    """Of a row's cells to the record."""
    plain, ruled = layouts()

    def run(layout: RowLayout, rows: list[list[bytes | None]]) -> float:
        began = time.process_time()
        for row in rows:
            b"".join(layout.fields(row))
        return time.process_time() - began

    return (
        lambda people: run(plain, [cells(each.canonical, FIELDS) for each in people]),
        lambda people: run(ruled, [cells(each.raw, RAW_COLUMNS) for each in people]),
    )


def _delivering() -> tuple[Run, Run]:
    """Of a record to the COPY's row."""
    layout, _ = layouts()

    def runner(shape: TableShape) -> Run:
        def run(people: Sequence[Person]) -> float:
            records = [b"".join(layout.fields(cells(each.canonical, FIELDS))) for each in people]
            began = time.process_time()
            rows = [shape.packed(b"4711", number, record, 0) for number, record in enumerate(records)]
            took = time.process_time() - began
            assert None not in rows, "a rule fails on the bench's own records"
            return took

        return run

    plain, ruled = shapes()
    return runner(plain), runner(ruled)


def _capturing_wholly() -> tuple[Run, Run]:
    """Of a replication message to what Kafka's client gets."""

    def runner(path: CapturePath, row_of: Callable[[Person], list[bytes | None]]) -> Run:
        def run(people: Sequence[Person]) -> float:
            messages = [inserted([str(each.number).encode(), *row_of(each)]) for each in people]
            return sum(path.run(messages[at : at + BATCH])[0] for at in range(0, len(messages), BATCH))

        return run

    plain = CapturePath(SCHEMA, mapping(_AS_IT_IS, into_canonical=True), _OIDS, LOOKUPS)
    ruled = CapturePath(SCHEMA, mapping(SOURCE_RULES, into_canonical=True), _RAW_OIDS, LOOKUPS)
    return (
        runner(plain, lambda each: cells(each.canonical, FIELDS)),
        runner(ruled, lambda each: cells(each.raw, RAW_COLUMNS)),
    )


def _delivering_wholly() -> tuple[Run, Run]:
    """Of Kafka's messages to what PostgreSQL's client gets."""
    source = CapturePath(SCHEMA, mapping(_AS_IT_IS, into_canonical=True), _OIDS, LOOKUPS)

    def runner(path: DeliveryPath) -> Run:
        def run(people: Sequence[Person]) -> float:
            messages = [inserted([str(each.number).encode(), *cells(each.canonical, FIELDS)]) for each in people]
            batches = [source.run(messages[at : at + BATCH])[1] for at in range(0, len(messages), BATCH)]
            return sum(path.run(values)[0] for values in batches)

        return run

    plain, ruled = shapes()
    return runner(DeliveryPath(SCHEMA, plain)), runner(DeliveryPath(SCHEMA, ruled))


STAGES: Mapping[str, Callable[[], tuple[Run, Run]]] = {
    "capture, the rules' stage": _capturing,
    "capture, the whole way": _capturing_wholly,
    "delivery, the rules' stage": _delivering,
    "delivery, the whole way": _delivering_wholly,
}


def as_markdown(pairs: Sequence[Pair]) -> str:
    """A table."""
    lines = [
        "| in one process, CPU time | records/s without rules | with ten | ratio |",
        "| --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {pair.stage} | {max(pair.plain):,.0f} | {max(pair.ruled):,.0f} | {pair.ratio:.2f} |" for pair in pairs
    ]
    return "\n".join(lines)


def as_json(pairs: Sequence[Pair]) -> str:
    """All figures."""
    return json.dumps([{**pair._asdict(), "ratio": round(pair.ratio, 3)} for pair in pairs], indent=2)


def _source(rules: dict[str, str]) -> tuple[Assignment, ...]:
    rows = mapping(rules, into_canonical=True)
    return assign_source(rows, "crm", "customer", SCHEMA, {"": "customers"}, LOOKUPS)[""]


def _target(rules: dict[str, str]) -> tuple[Assignment, ...]:
    rows = mapping(rules, into_canonical=False)
    return assign_target(rows, "books", "customer", SCHEMA, {"": "debtors"}, LOOKUPS)[""]


def _column(name: str, *, text: bool = False) -> Column:
    oid = 16 if text and name == "status" else 25 if text and name == "since" else _OIDS[name]
    native = {16: "boolean", 25: "text", 1082: "date", 1700: "numeric(12,2)"}[oid]
    return Column(name, oid, native, "b", "S", 0, 0, False, oid, native.partition("(")[0])


if __name__ == "__main__":
    print(as_markdown(measure()))
