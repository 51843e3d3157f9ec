"""Rows out of records: the plain way gives what the way through values gives, and garbage is told, never followed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC
from decimal import Context, Decimal

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from sorbus.avro.decode import Undecodable
from sorbus.avro.encode import encode_long
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.errors import PermanentError
from sorbus.mapping.blank import is_blank
from sorbus.ops.embedded import Addresses
from sorbus.schema import RecordSchema, parse_schema
from tests.consumers.gadgets import GADGET_WITH_LINES, Writer, flow_into, gadget, make_tables, opened

PATIENT = settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
CENTS = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
_WRITTEN = {
    "type": "record",
    "name": "gadget",
    "fields": [
        {"name": "words", "type": "string"},
        {"name": "whole", "type": ["null", "int"]},
        {"name": "large", "type": "long"},
        {"name": "near", "type": "double"},
        {"name": "is_it", "type": "boolean"},
        {"name": "raw", "type": "bytes"},
        {"name": "exact", "type": {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 6}},
        {
            "name": "cents",
            "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}],
        },
        {"name": "moment", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
        {"name": "which", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "state", "type": {"type": "enum", "name": "state", "symbols": ["NEW", "USED"]}},
    ],
}
EVERYTHING: RecordSchema = parse_schema(json.dumps(_WRITTEN))
TYPES = {
    "id": "text", "words": "text", "whole": "integer", "large": "bigint", "near": "double precision",
    "is_it": "boolean", "raw": "bytea", "exact": "numeric(30,6)", "cents": "numeric(9,2)",
    "moment": "timestamp with time zone", "day": "date", "which": "uuid", "state": "text", "sorbus_version": "bigint",
}  # fmt: skip
RECORDS = st.fixed_dictionaries(
    {
        "words": TEXT.filter(lambda text: not text or not is_blank(text)),  # blank: refused by a rule, not by a copy
        "whole": st.none() | st.integers(-(2**31), 2**31 - 1),
        "large": st.integers(-(2**63), 2**63 - 1),
        "near": st.floats(allow_nan=False),
        "is_it": st.booleans(),
        "raw": st.binary(max_size=20) | st.just(b"a'b\\c\0"),
        "exact": st.integers(-(10**30) + 1, 10**30 - 1).map(lambda n: Decimal(n).scaleb(-6, Context(prec=40))),
        "cents": st.none() | st.integers(-(10**9) + 1, 10**9 - 1).map(lambda n: Decimal(n).scaleb(-2)),
        # In UTC: moments of two zones near a change of the clocks are never equal (PEP 495), though they are the same.
        "moment": st.datetimes(timezones=st.timezones())
        .filter(lambda moment: 2 < moment.year < 9998)
        .map(lambda moment: moment.astimezone(UTC)),
        "day": st.none() | st.dates(),
        "which": st.uuids(),
        "state": st.sampled_from(["NEW", "USED"]),
    }
)


@pytest.fixture(scope="module")
def ways(stack: Addresses, new_database: object) -> Iterator[tuple[str, PostgresConsumer, PostgresConsumer]]:
    """A database with one flow that copies every field, and one where every field goes through a rule."""
    assert callable(new_database)
    dsn = str(new_database())
    plain = flow_into(dsn, schema=EVERYTHING, table="plain")
    rows = [(name, f"ruled.{name}", "value") for name in EVERYTHING.by_name]
    ruled = flow_into(dsn, schema=EVERYTHING, table="ruled", existing=True, rows=rows)
    make_tables(plain)
    with psycopg.connect(dsn) as connection:
        connection.execute("create table ruled (like plain including all)")
        connection.execute("alter table ruled drop column sorbus_version")
    make_tables(ruled)
    consumers = opened(plain), opened(ruled)
    yield dsn, *consumers
    for consumer in consumers:
        consumer.close()


def test_made_tables_hold_every_canonical_type_exactly(ways: tuple[str, PostgresConsumer, PostgresConsumer]) -> None:
    with psycopg.connect(ways[0]) as connection:
        found = connection.execute(
            "select attname, format_type(atttypid, atttypmod) from pg_attribute"
            " where attrelid = 'plain'::regclass and attnum > 0"
        ).fetchall()
    assert {str(name): str(native) for name, native in found} == TYPES


@given(records=st.lists(RECORDS, min_size=1, max_size=12))
@settings(PATIENT, max_examples=8, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_the_plain_way_lands_what_the_way_through_values_lands(
    ways: tuple[str, PostgresConsumer, PostgresConsumer], records: list[dict[str, object]]
) -> None:
    dsn, plain, ruled = ways
    writer = Writer(EVERYTHING)
    batch = [writer.delivery(str(n), 1, record) for n, record in enumerate(records)]
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("truncate plain, ruled, sorbus_applied")
        assert plain.apply(batch) == []
        assert ruled.apply(batch) == []
        names = ", ".join(EVERYTHING.by_name)
        differing = connection.execute(
            f"(select id, {names} from plain except select id, {names} from ruled) union all"
            f" (select id, {names} from ruled except select id, {names} from plain)".encode()
        ).fetchall()
        found = connection.execute(f"select {names} from plain order by id::int".encode()).fetchall()
    assert differing == []
    assert [dict(zip(EVERYTHING.by_name, row, strict=True)) for row in found] == records


@pytest.fixture(scope="module")
def lined(new_database: object) -> Iterator[PostgresConsumer]:
    """A consumer of gadgets with lines, for its shapes alone."""
    assert callable(new_database)
    flow = flow_into(str(new_database()), schema=GADGET_WITH_LINES, children={"lines": {"table": "gadget_lines"}})
    make_tables(flow)
    consumer = opened(flow)
    yield consumer
    consumer.close()


GOOD = Writer(GADGET_WITH_LINES).delivery("g1", 1, gadget("x", lines=[{"sku": "a", "quantity": 1}]))


@given(junk=st.binary(max_size=60), place=st.integers(0, 80), keep=st.booleans())
@example(junk=b"\2x\0\0\0\2" + encode_long(-40) * 8, place=0, keep=False)
@settings(PATIENT, max_examples=150)
def test_garbage_is_undecodable_or_refused_and_never_anything_else(
    lined: PostgresConsumer, junk: bytes, place: int, keep: bool
) -> None:
    record = GOOD.data[GOOD.at :]
    broken = (record[:place] if keep else b"") + junk + (record[place:] if keep else b"")
    stage = lined._opened().writing.stages.of(GADGET_WITH_LINES)
    try:
        row = stage.shape.row(GOOD.data[: GOOD.at] + broken, GOOD.at, b"g1")
    except (Undecodable, PermanentError):
        return
    assert GOOD.at < row.end


@given(cut=st.integers(0, 60))
@PATIENT
def test_a_record_cut_short_is_refused_before_it_reaches_the_target(lined: PostgresConsumer, cut: int) -> None:
    short = GOOD._replace(data=GOOD.data[: max(GOOD.at, len(GOOD.data) - 1 - cut)])
    (refusal,) = lined.apply([short])
    assert refusal.error.reason == "undecodable"


def test_apply_adds_what_is_missing_and_names_what_a_person_must_mend(new_database: object) -> None:
    assert callable(new_database)
    dsn = str(new_database())
    flow = flow_into(dsn)
    assert make_tables(flow) == ["table public.gadgets", "table sorbus_applied"]
    assert make_tables(flow) == []
    with psycopg.connect(dsn) as connection:
        connection.execute("alter table gadgets drop column note, alter column price type numeric(5,1)")
    (added, wrong) = PostgresConsumer.plan(flow)
    assert (added.what, wrong.what) == (
        "column public.gadgets.note",
        "column public.gadgets.price is numeric(5,1), not numeric(14,2)",
    )
    assert added.apply is not None
    assert wrong.apply is None
    added.apply()
    assert [step.what for step in PostgresConsumer.plan(flow)] == [wrong.what]
