"""A value that the target refuses comes back alone, with the field and the target's own words; its neighbours land."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

import psycopg
import pytest

from sorbus.connector import Delivery, RejectedDelivery
from sorbus.consumers.postgres.consumer import PostgresConsumer
from sorbus.errors import TransientError
from tests.consumers.gadgets import (
    GADGET,
    GADGET_WITH_LINES,
    TODAY,
    Record,
    Writer,
    flow_into,
    gadget,
    gadget_schema,
    make_tables,
    opened,
)
from tests.consumers.line import RESTRICTED, Line, named

STRICT = """
create table makers (code text primary key);
insert into makers values ('known');
create table gadgets (
  id text primary key, name varchar(10) not null, price numeric(6,2) check (price <> 13), made_on date,
  note text references makers, short varchar(3), small smallint, made_at timestamptz
);
"""
PLAIN = "create table gadgets (id text primary key, name text, price numeric, note text, made_on date);"
ROWS = [
    ("name", "gadgets.name", ""),
    ("price", "gadgets.price", ""),
    ("note", "gadgets.note", ""),
    ("made_on", "gadgets.made_on", ""),
]


class Bad(NamedTuple):
    """A record that can't land: the field to blame, a part of PostgreSQL's words, and the reason."""

    record: Record
    field: str
    words: str
    reason: str = ""


BAD = {
    "too long": Bad(gadget("much too long a name"), "name", "value too long", "StringDataRightTruncation"),
    "check": Bad(gadget("x", price=Decimal("13.00")), "gadgets_price_check", "violates check", "CheckViolation"),
    "overflow": Bad(gadget("x", price=Decimal("10000.00")), "price", "overflow", "NumericValueOutOfRange"),
    "nul": Bad(gadget("a\0b"), "name", "invalid byte sequence", "CharacterNotInRepertoire"),
    "reference": Bad(gadget("x", note="unknown"), "gadgets_note_fkey", "is not present", "reference"),
}


def strict(make_database: Callable[[str], str], *more: tuple[str, str, str]) -> tuple[PostgresConsumer, str]:
    dsn = make_database(STRICT)
    flow = flow_into(dsn, existing=True, rows=[*ROWS, *more])
    make_tables(flow)
    return opened(flow), dsn


def ids(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        return [row[0] for row in connection.execute("select id from gadgets order by id")]


@pytest.mark.parametrize("place", [0, 3, 6], ids=["first", "amid", "last"])
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_one_bad_value_is_refused_alone(make_database: Callable[[str], str], bad: Bad, place: int) -> None:
    consumer, dsn = strict(make_database)
    writer = Writer()
    batch = [writer.delivery(f"g{n}", 1, gadget("fine")) for n in range(6)]
    batch.insert(place, writer.delivery("bad", 1, bad.record))
    (refusal,) = consumer.apply(batch)
    consumer.close()
    assert refusal.place == place
    assert refusal.error.field == bad.field
    assert bad.words in (refusal.error.words or "")
    assert refusal.error.reason == bad.reason
    assert ids(dsn) == [f"g{n}" for n in range(6)]


def test_invalid_utf8_is_refused_alone(make_database: Callable[[str], str]) -> None:
    consumer, dsn = strict(make_database)
    writer = Writer()
    good, bad = writer.delivery("g1", 1, gadget("fine")), writer.delivery("g2", 1, gadget("XXXX"))
    broken = bad._replace(data=bad.data.replace(b"XXXX", b"\xc3\x28\xff\xfe"))
    (refusal,) = consumer.apply([good, broken])
    assert (refusal.place, refusal.error.field) == (1, "name")
    assert ids(dsn) == ["g1"]
    consumer.close()


@pytest.mark.parametrize(
    ("rule", "column", "words"),
    [
        ('value ~ " and more"', "short", "value too long"),
        ('"70000"', "small", "out of range"),
        ('"no time"', "made_at", "time"),
    ],
)
def test_what_a_rule_makes_is_refused_with_its_column_and_never_cut(
    make_database: Callable[[str], str], rule: str, column: str, words: str
) -> None:
    consumer, dsn = strict(make_database, ("name", f"gadgets.{column}", rule))
    (refusal,) = consumer.apply([Writer().delivery("g1", 1, gadget("x"))])
    assert refusal.error.field == column
    assert words in f"{refusal.error.words} {refusal.error}"
    assert ids(dsn) == []
    consumer.close()


def test_a_refused_line_is_its_records_and_no_others(make_database: Callable[[str], str]) -> None:
    dsn = make_database("")
    flow = flow_into(dsn, schema=GADGET_WITH_LINES, children={"lines": {"table": "gadget_lines"}})
    make_tables(flow)
    consumer, writer = opened(flow), Writer(GADGET_WITH_LINES)

    def delivery(id: str, *skus: str) -> Delivery:
        return writer.delivery(id, 1, gadget(id, lines=[{"sku": sku, "quantity": 1} for sku in skus]))

    batch = [delivery("a", "1", "2"), delivery("b", "3", "4\0", "5"), delivery("c", "6")]
    (refusal,) = consumer.apply(batch)
    assert (refusal.place, refusal.error.field) == (1, "sku")
    assert ids(dsn) == ["a", "c"]
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select sku from gadget_lines order by 1").fetchall() == [("1",), ("2",), ("6",)]
    consumer.close()


def test_a_delete_that_the_target_refuses_is_refused_alone(make_database: Callable[[str], str]) -> None:
    dsn = make_database(
        "create table gadgets (id text primary key, name text, price numeric, note text, made_on date);"
    )
    flow = flow_into(dsn, existing=True)
    make_tables(flow)
    consumer, writer = opened(flow), Writer()
    consumer.apply([writer.delivery(id, 1, gadget(id)) for id in "abc"])
    with psycopg.connect(dsn) as connection:
        connection.execute("create table uses (gadget text references gadgets)")
        connection.execute("insert into uses values ('b')")
    refusals = consumer.apply([writer.delivery(id, 2, None) for id in "abc"])
    assert [(refusal.place, refusal.error.field) for refusal in refusals] == [(1, "uses_gadget_fkey")]
    assert ids(dsn) == ["b"]
    consumer.close()


@pytest.mark.parametrize(
    ("record", "count"),
    [
        pytest.param(BAD["too long"].record, 1, id="1 in the copy"),
        pytest.param(BAD["too long"].record, 200, id="200 in the copy"),
        pytest.param(BAD["check"].record, 1, id="1 in the merge"),
        pytest.param(BAD["check"].record, 200, id="200 in the merge", marks=pytest.mark.slow),
    ],
)
def test_ten_thousand_land_but_for_the_bad(
    make_database: Callable[[str], str], count: int, record: Record, record_property: Callable[[str, object], None]
) -> None:
    consumer, dsn = strict(make_database)
    writer = Writer()
    every = 10_000 // count
    batch = [writer.delivery(f"{n}", 1, record if n % every == every // 2 else gadget("fine")) for n in range(10_000)]
    began = time.monotonic()
    refusals = consumer.apply(batch)
    record_property("seconds", time.monotonic() - began)
    assert sorted(refusal.place for refusal in refusals) == [n for n in range(10_000) if n % every == every // 2]
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select count(*) from gadgets").fetchone() == (10_000 - count,)
    consumer.close()


def test_every_record_of_a_batch_may_be_bad(make_database: Callable[[str], str]) -> None:
    consumer, dsn = strict(make_database)
    writer = Writer()
    refusals: list[RejectedDelivery] = consumer.apply(
        [writer.delivery(str(n), 1, gadget("much too long a name")) for n in range(600)]
    )
    assert [refusal.place for refusal in refusals] == list(range(600))
    assert ids(dsn) == []
    consumer.close()


def test_writers_with_an_older_and_a_newer_schema_share_a_batch(make_database: Callable[[str], str]) -> None:
    grade = {"name": "grade", "type": "string", "default": "B"}
    ours = gadget_schema(grade)
    newer = gadget_schema({"name": "colour", "type": ["null", "string"], "default": None}, grade)
    dsn = make_database("")
    flow = flow_into(dsn, schema=ours)
    make_tables(flow)
    consumer = opened(flow)
    batch = [
        Writer(GADGET).delivery("old", 1, gadget("old", made_on=TODAY)),
        Writer(ours).delivery("ours", 2, gadget("ours", grade="A")),
        Writer(newer).delivery("new", 3, gadget("new", grade="C", colour="red")),
        Writer(GADGET).delivery("older", 4, gadget("older")),
        Writer(newer).delivery("gone", 5, None),
    ]
    assert consumer.apply(batch) == []
    with psycopg.connect(dsn) as connection:
        found = connection.execute("select id, name, grade, made_on from gadgets order by sorbus_version").fetchall()
    expected = [("old", "old", "B", TODAY), ("ours", "ours", "A", None), ("new", "new", "C", None)]
    assert found == [*expected, ("older", "older", "B", None)]
    consumer.close()


def test_columns_and_rules_come_from_the_sheet(make_database: Callable[[str], str]) -> None:
    dsn = make_database("create table parts (no integer primary key, label text, cents bigint, origin text, tag text);")
    rows = [
        ("id", "parts.no", ""),
        ("name", "parts.label", "value | upper"),
        ("price", "parts.cents", "(value * 100) | integer"),
        ("", "parts.origin", '"GB"'),
        ("name", "parts.tag", ""),
    ]
    flow = flow_into(dsn, existing=True, table="parts", key="no", rows=rows)
    make_tables(flow)
    consumer = opened(flow)
    assert consumer.apply([Writer().delivery("7", 1, gadget("spring", price=Decimal("12.50")))]) == []
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select * from parts").fetchall() == [(7, "SPRING", 1250, "GB", "spring")]
    (refusal,) = consumer.apply([Writer().delivery("seven", 1, gadget("spring", price=Decimal(1)))])
    assert "invalid input syntax for type integer" in (refusal.error.words or "")
    consumer.close()


def test_ids_that_are_too_long_for_the_targets_key_never_meet_in_one_row(make_database: Callable[[str], str]) -> None:
    dsn = make_database(
        "create table gadgets (id varchar(3) primary key, name text, note text, price numeric, made_on date);"
    )
    flow = flow_into(dsn, existing=True)
    make_tables(flow)
    consumer, writer = opened(flow), Writer()
    batch = [writer.delivery(id, 1, gadget(id)) for id in ("abc", "abcd", "abce")]
    assert [refusal.place for refusal in consumer.apply(batch)] == [1, 2]
    assert consumer.apply([writer.delivery("abcd", 2, None)]) == []
    assert ids(dsn) == ["abc"]
    consumer.close()


def test_a_target_that_is_locked_is_tried_again_later(make_database: Callable[[str], str]) -> None:
    consumer, dsn = strict(make_database)
    with psycopg.connect(dsn) as migration:
        migration.execute("lock table gadgets")
        began = time.monotonic()
        with pytest.raises(TransientError, match="lock timeout"):
            consumer.apply([Writer().delivery("1", 1, gadget("x"))])
        assert time.monotonic() - began < 9
    assert consumer.apply([Writer().delivery("1", 1, gadget("x"))]) == []
    consumer.close()


def test_an_older_state_that_the_target_would_refuse_is_no_dead_letter(line: Line) -> None:
    line.execute(RESTRICTED)
    with line.consuming():
        line.publish([("g1", 5, named("newest"))])
        line.until({"g1": "newest"})
        line.publish([("g1", 4, named("a name that is too long for it"))])
        line.publish([("g2", 1, named("a name that is too long for it"))])
        (letter,) = line.until_letters(1)
        line.publish([("g1", 3, named("a name that is too long for it")), ("g2", 2, named("fits"))])
        line.until({"g1": "newest", "g2": "fits"})
    assert letter.record_id == b"g2"
    assert line.letters() == []
