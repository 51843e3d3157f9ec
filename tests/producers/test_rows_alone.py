"""No single row stops a system: what can't be a record is a dead letter that names table, key and column."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from sorbus.ops.embedded import Addresses
from sorbus.schema import AvroType
from sorbus.settings import Settings
from tests.producers.shop import Shop

MakeShop = Callable[..., Shop]
TEXT: AvroType = ["null", "string"]
ITEM: list[AvroType] = [{"name": "id", "type": "long"}, {"name": "code", "type": TEXT}, {"name": "name", "type": TEXT}]


@pytest.fixture
def in_encoding(stack: Addresses, unique: str, tmp_path: Path) -> Iterator[Callable[[str, str], Shop]]:
    """A shop whose database is in the encoding of that name."""
    made: list[Shop] = []

    def make(encoding: str, script: str) -> Shop:
        with psycopg.connect(stack.database, autocommit=True) as connection:
            statement = "create database {} template template0 encoding {} locale_provider libc locale 'C'"
            connection.execute(sql.SQL(statement).format(sql.Identifier(unique), sql.Literal(encoding)))
        dsn = stack.database.rpartition("/")[0] + f"/{unique}?client_encoding=UTF8"
        shop = Shop(tmp_path, dsn, f"{unique}.", Settings(kafka=stack.kafka, registry=""))
        shop.execute(script)
        made.append(shop)
        return shop

    yield make
    for shop in made:
        shop.close()


def test_a_null_in_the_key_is_a_letter_in_copy_and_stream_and_closes_when_it_is_mended(make_shop: MakeShop) -> None:
    shop = make_shop(
        "create table items (id int primary key, code text unique, name text);"
        "insert into items values (1, 'C1', 'one'), (2, null, 'copied'), (3, '', 'empty')"
    )
    shop.describe({"item": (ITEM, {"table": "items", "key": ["code"]})})
    shop.apply()
    tape, letters = shop.tape("item"), shop.dead_letters("item")
    with shop.producing():
        tape.wait(lambda: set(tape.live()) == {"C1"}, lambda: f"C1: {tape.live()}")
        letters.wait(lambda: len(letters.letters) == 2, lambda: f"2 letters: {list(letters.letters)}")
        shop.execute("insert into items values (5, null, 'new')", "insert into items values (6, 'C6', 'after')")
        tape.wait(lambda: set(tape.live()) == {"C1", "C6"}, lambda: f"C6: {tape.live()}")
        letters.wait(lambda: len(letters.letters) == 3, lambda: f"3 letters: {list(letters.letters)}")
        letter = next(each for each in letters.letters.values() if b"id=5" in each.record_id)
        assert (letter.reason, letter.field) == ("no key", "code")
        assert "public.items" in letter.message
        assert "null" in letter.message
        shop.execute("update items set code = 'C5' where id = 5", "delete from items where id = 2")
        shop.execute("update items set code = null where id = 6")
        tape.wait(lambda: set(tape.live()) == {"C1", "C5"}, lambda: f"C5 without C6: {tape.live()}")
        letters.wait(
            lambda: sorted(each.record_id for each in letters.letters.values()) == [b"(no key) id=3", b"(no key) id=6"],
            lambda: f"the letters of 3 and 6 alone: {list(letters.letters)}",
        )
    shop.execute("insert into items values (7, 'C7', 'later')")
    with shop.producing():  # letters of rows without a key are no records to be read again
        tape.wait(lambda: set(tape.live()) == {"C1", "C5", "C7"}, lambda: f"C7: {tape.live()}")


def test_a_null_in_a_part_of_the_key_or_in_an_items_parent(make_shop: MakeShop) -> None:
    line: AvroType = {"type": "record", "name": "line", "fields": [{"name": "sku", "type": TEXT}]}
    fields: list[AvroType] = [
        {"name": "a", "type": TEXT},
        {"name": "b", "type": TEXT},
        {"name": "lines", "type": {"type": "array", "items": line}},
    ]
    shop = make_shop(
        "create table pairs (a text, b text, unique (a, b));"
        "create table lines (a text, b text, sku text);"
        "insert into pairs values ('x', 'y'), ('x', null), (null, null); insert into lines values ('x', null, 'lost')"
    )
    children = {"lines": {"table": "lines", "parent": ["a", "b"], "order": ["sku"]}}
    shop.describe({"pair": (fields, {"table": "pairs", "key": ["a", "b"], "children": children})})
    shop.apply()
    tape, letters = shop.tape("pair"), shop.dead_letters("pair")
    with shop.producing():
        tape.wait_for({"x|y": {"a": "x", "b": "y", "lines": []}})
        shop.execute(
            "insert into pairs values (null, 'z')",
            "insert into lines values ('x', 'y', 'sku'), (null, 'y', 'nobody''s'), ('no', 'one', 'orphan')",
            "update lines set a = null where sku = 'orphan'",
        )
        tape.wait_for({"x|y": {"a": "x", "b": "y", "lines": [{"sku": "sku"}]}})
        letters.wait(lambda: len(letters.letters) == 3, lambda: f"3 letters: {list(letters.letters)}")
        shop.execute("delete from pairs where b is null", "delete from pairs where a is null")
        letters.wait(lambda: not letters.letters, lambda: f"no letters: {list(letters.letters)}")
    assert set(tape.tombstones) == set(), "what never was a record isn't deleted either"


def test_bytes_that_are_no_text_are_one_rows_matter(in_encoding: Callable[[str, str], Shop]) -> None:
    shop = in_encoding(
        "SQL_ASCII",
        "create table items (id int primary key, code text, name text); insert into items values (1, 'a', 'caf\u00e9')",
    )
    shop.execute("set client_encoding = 'SQL_ASCII'; insert into items values (2, E'\\xff', 'copied')")
    shop.describe({"item": (ITEM, {"table": "items"})})
    shop.apply()
    tape, letters = shop.tape("item"), shop.dead_letters("item")
    with shop.producing():
        tape.wait_for({"1": {"id": 1, "code": "a", "name": "caf\u00e9"}})
        shop.execute(
            "set client_encoding = 'SQL_ASCII'; insert into items values (3, E'caf\\xe9', 'three')",
            "insert into items values (4, 'after', 'four')",
        )
        tape.wait(lambda: set(tape.live()) == {"1", "4"}, lambda: f"record 4: {tape.live()}")
        letters.wait(lambda: len(letters.letters) == 2, lambda: f"2 letters: {list(letters.letters)}")
        assert {each.field for each in letters.letters.values()} == {"code"}
        shop.execute("update items set code = 'mended' where id = 3")
        tape.wait(lambda: "3" in tape.live(), "record 3, mended")
        letters.wait(lambda: len(letters.letters) == 1, lambda: f"1 letter: {list(letters.letters)}")


def test_a_key_whose_bytes_are_no_text(in_encoding: Callable[[str, str], Shop]) -> None:
    shop = in_encoding("SQL_ASCII", "create table items (id int, code text primary key, name text)")
    shop.execute("set client_encoding = 'SQL_ASCII'; insert into items values (2, E'\\xff', 'copied')")
    shop.describe({"item": (ITEM, {"table": "items"})})
    shop.apply()
    tape, letters = shop.tape("item"), shop.dead_letters("item")
    with shop.producing():
        letters.wait(lambda: len(letters.letters) == 1, "the letter of the row that was copied")
        shop.execute(
            "set client_encoding = 'SQL_ASCII'; insert into items values (3, E'\\xfe', repeat('x', 5000))",
            "insert into items values (4, 'after', 'four')",
        )
        tape.wait(lambda: set(tape.live()) == {"after"}, lambda: f"record 4: {tape.live()}")
        letters.wait(lambda: len(letters.letters) == 2, lambda: f"2 letters: {list(letters.letters)}")
        shop.execute("set client_encoding = 'SQL_ASCII'; delete from items where id in (2, 3)")
        shop.execute("insert into items values (5, 'last', 'five')")
        tape.wait(lambda: set(tape.live()) == {"after", "last"}, lambda: f"record 5: {tape.live()}")


@pytest.mark.parametrize("encoding", ["LATIN1", "WIN1252", "EUC_JP"])
def test_another_encoding_is_converted_and_what_has_no_letter_is_one_rows_matter(
    in_encoding: Callable[[str, str], Shop], encoding: str
) -> None:
    word = "日本" if encoding == "EUC_JP" else "Straße"
    shop = in_encoding(
        encoding,
        f'create table "{word}" (id int, code text primary key, name text);'
        f'alter table "{word}" alter name set storage external;'
        f'create view plain as select * from "{word}";'
        f"insert into plain values (1, '{word}1', '{word}')",
    )
    shop.describe({"item": (ITEM, {"table": f"public.{word}"})})
    shop.apply()
    tape, letters = shop.tape("item"), shop.dead_letters("item")
    with shop.producing():
        first = {"id": 1, "code": f"{word}1", "name": word}
        tape.wait_for({f"{word}1": first})
        shop.execute(f"insert into plain values (2, '{word}2', repeat('{word}', 3000))")
        shop.execute("update plain set id = 3 where id = 2")  # read by key: the large value is as it was
        tape.wait_for({f"{word}1": first, f"{word}2": {"id": 3, "code": f"{word}2", "name": word * 3000}})
        if encoding == "WIN1252":
            shop.execute("set client_encoding = 'WIN1252'; insert into plain values (4, 'four', E'\\x81')")
            letters.wait(lambda: len(letters.letters) == 1, "the letter of a byte that WIN1252 has no letter for")
        shop.execute("insert into plain values (5, 'after', 'y')")
        tape.wait(lambda: "after" in tape.live(), lambda: f"record 5: {tape.live()}")


def test_a_row_that_the_server_fails_to_compute(make_shop: MakeShop) -> None:
    fields: list[AvroType] = [*ITEM, {"name": "share", "type": ["null", "long"]}]
    shop = make_shop(
        "create table items (id int primary key, code text, name text, n int,"
        " share int generated always as (100 / n) virtual);"
        "insert into items select i, 'c', 'n', case when i = 700 then 0 else 50 end from generate_series(1, 1500) i"
    )
    shop.describe({"item": (fields, {"table": "items"})})
    shop.apply()
    tape, letters = shop.tape("item"), shop.dead_letters("item")
    with shop.producing():
        tape.wait(lambda: len(tape.live()) == 1499, lambda: f"1499 records: {len(tape.live())}")
        letters.wait(lambda: len(letters.letters) == 1, lambda: f"1 letter: {list(letters.letters)}")
        (letter,) = letters.letters.values()
        assert letter.record_id == b"700"
        assert "division by zero" in letter.message
        shop.execute(
            "update items set n = 0 where id between 10 and 12", "insert into items values (2000, 'c', 'n', 5)"
        )
        tape.wait(lambda: "2000" in tape.live(), lambda: f"record 2000: {list(tape.live())[-3:]}")
        letters.wait(lambda: len(letters.letters) == 4, lambda: f"4 letters: {list(letters.letters)}")
        shop.execute("update items set n = 20 where id = 700")
        letters.wait(lambda: len(letters.letters) == 3, lambda: f"3 letters: {list(letters.letters)}")
