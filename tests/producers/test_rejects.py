"""Types to the last digit, and rows that can't be canonical: dead letters that close themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

from sorbus.schema import AvroType
from tests.producers.shop import Shop

MakeShop = Callable[..., Shop]


def optional(type: AvroType) -> AvroType:
    return ["null", type]


MOMENT: AvroType = {"type": "long", "logicalType": "timestamp-micros"}
MONEY: AvroType = {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 10}
COLUMNS: dict[str, tuple[str, AvroType]] = {
    "amount": ("numeric", MONEY),
    "at": ("timestamptz", MOMENT),
    "local": ("timestamp", MOMENT),
    "day": ("date", {"type": "int", "logicalType": "date"}),
    "token": ("uuid", {"type": "string", "logicalType": "uuid"}),
    "doc": ("json", "string"),
    "docb": ("jsonb", "string"),
    "words": ("text[]", {"type": "array", "items": ["null", "string"]}),
    "numbers": ("int[]", {"type": "array", "items": "int"}),
    "mood": ("mood", {"type": "enum", "name": "mood", "symbols": ["sad", "happy"]}),
    "raw": ("bytea", "bytes"),
    "yes": ("bool", "boolean"),
    "ratio": ("float8", "double"),
    "small": ("float4", "double"),
    "big": ("int8", "long"),
    "code": ("char(3)", "string"),
}
TABLE = (
    "create type mood as enum ('sad', 'happy');"
    "create table things (id int primary key, "
    + ", ".join(f"{name} {type}" for name, (type, _) in COLUMNS.items())
    + ");"
)
FIRST = (
    "insert into things values (1, 12345678901234567890.0123456789, '2026-03-01 12:00:00.123456+02', "
    "'2026-03-01 12:00:00.000001', '0001-01-01', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', "
    "'{\"b\":  1.50}', '{\"b\": 1.50}', "
    """'{"a,b",NULL,"c\\"d"}', '{1,-2}', 'happy', '\\x00ff5c', true, 1e-300, 1.5, -9223372036854775808, 'GB ');"""
)
EXPECTED = {
    "amount": Decimal("12345678901234567890.0123456789"),
    "at": datetime(2026, 3, 1, 10, 0, 0, 123456, UTC),
    "local": datetime(2026, 3, 1, 12, 0, 0, 1, UTC),
    "day": date(1, 1, 1),
    "token": UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "doc": '{"b":  1.50}',
    "docb": '{"b": 1.50}',
    "words": ["a,b", None, 'c"d'],
    "numbers": [1, -2],
    "mood": "happy",
    "raw": b"\0\xff\\",
    "yes": True,
    "ratio": 1e-300,
    "small": 1.5,
    "big": -(1 << 63),
    "code": "GB ",
}


def things(make_shop: MakeShop, script: str = "") -> Shop:
    shop = make_shop(TABLE + script)
    fields: list[AvroType] = [{"name": name, "type": optional(type)} for name, (_, type) in COLUMNS.items()]
    sheet = [(f"things.{name}", f"thing.{name}", "") for name in COLUMNS if name != "local"]
    sheet.append(("things.local", "thing.local", 'value | datetime(tz="UTC")'))
    shop.describe({"thing": (fields, {"table": "things"})}, sheet=sheet)
    shop.apply()
    return shop


def test_every_common_type_is_exact_in_the_copy_and_in_the_stream(make_shop: MakeShop) -> None:
    shop = things(make_shop, FIRST)
    tape = shop.tape("thing")
    with shop.producing():
        tape.wait_for({"1": EXPECTED})
        shop.execute(FIRST.replace("(1,", "(2,"), "insert into things (id) values (3)")
        tape.wait_for({"1": EXPECTED, "2": EXPECTED, "3": dict.fromkeys(COLUMNS)})


BAD = {
    "amount": "'NaN'",
    "at": "'infinity'",
    "day": "'-infinity'",
    "local": "'10000-01-01'",
}


def test_what_can_not_be_canonical_is_a_letter_with_the_raw_row_and_the_stream_goes_on(make_shop: MakeShop) -> None:
    shop = things(make_shop, "insert into things (id, amount) values (1, 'NaN'), (2, 2)")
    tape, letters = shop.tape("thing"), shop.dead_letters("thing")
    with shop.producing():
        tape.wait(lambda: set(tape.live()) == {"2"}, "record 2")
        for place, (column, value) in enumerate(BAD.items()):
            shop.execute(f"insert into things (id, {column}) values ({10 + place}, {value})")
        shop.execute("insert into things (id) values (3)")
        tape.wait(lambda: set(tape.live()) == {"2", "3"}, "record 3")
        letters.wait(lambda: len(letters.letters) == 5, lambda: f"5 letters: {list(letters.letters)}")
        by_record = {letter.record_id.decode(): letter for letter in letters.letters.values()}
        assert [by_record[str(10 + place)].field for place in range(len(BAD))] == list(BAD)
        first = by_record["1"]
        assert (first.reason, first.field, first.system, first.flow) == ("not canonical", "amount", "shop", "")
        assert json.loads(first.value or b"")["amount"] == "NaN"
        assert "NaN" in first.message
    with shop.producing():
        shop.execute("update things set amount = 1 where id = 1", "delete from things where id = 10")
        tape.wait(lambda: set(tape.live()) == {"1", "2", "3"}, "record 1, mended")
        letters.wait(lambda: len(letters.letters) == 3, lambda: f"3 letters left: {list(letters.letters)}")
        shop.execute("truncate things; insert into things (id, amount) values (4, 'NaN')")
        letters.wait(
            lambda: [letter.record_id for letter in letters.letters.values()] == [b"4"],
            lambda: f"only the new row's letter: {list(letters.letters)}",
        )


def test_an_event_larger_than_kafka_takes_is_a_letter_and_the_stream_goes_on(make_shop: MakeShop) -> None:
    shop = things(make_shop)
    tape, letters = shop.tape("thing"), shop.dead_letters("thing")
    with shop.producing():
        shop.execute(
            "insert into things (id, doc) values (1, to_json(repeat('x', 9000000)))",
            "insert into things (id, amount, doc) values (2, 'NaN', to_json(repeat('x', 9000000)))",
            "insert into things (id) values (3)",
        )
        tape.wait(lambda: set(tape.live()) == {"3"}, lambda: f"record 3 alone: {list(tape.live())}")
        letters.wait(lambda: len(letters.letters) == 2, lambda: f"2 letters: {list(letters.letters)}")
    reasons = {letter.record_id: letter.reason for letter in letters.letters.values()}
    assert reasons == {b"1": "too large", b"2": "not canonical"}
