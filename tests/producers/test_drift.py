"""A table that changes while it is captured: what the map reads and is gone holds records back, and all go on."""

from __future__ import annotations

from collections.abc import Callable

from sorbus.dlq.requeue import Sender
from sorbus.errors import MapError
from sorbus.schema import AvroType
from sorbus.telemetry.metrics import DRIFT_OPEN
from tests.producers.shop import Shop

MakeShop = Callable[..., Shop]
FIELDS: list[AvroType] = [
    {"name": "name", "type": "string"},
    {"name": "phone", "type": ["null", "string"], "default": None},
    {"name": "points", "type": ["null", "int"], "default": None},
]
TABLE = """
create table people (id int primary key, name text not null, phone text, points int);
insert into people select n, 'Person ' || n, '030 ' || n, n from generate_series(1, 5) n
"""
SHEET = [(f"people.{name}", f"person.{name}", "") for name in ("name", "phone", "points")]


def person(name: str, phone: str | None, points: int | None) -> dict[str, object]:
    return {"name": name, "phone": phone, "points": points}


def test_held_records_go_on_when_the_map_is_mended_whatever_became_of_them(make_shop: MakeShop) -> None:
    shop = make_shop(TABLE)
    shop.describe({"person": (FIELDS, {"table": "people"})}, sheet=SHEET)
    shop.apply()
    tape, letters = shop.tape("person"), shop.dead_letters("person")
    expected = {str(n): person(f"Person {n}", f"030 {n}", n) for n in range(1, 6)}
    with shop.producing():
        tape.wait_for(expected)
        shop.execute(
            "alter table people rename column phone to telephone",
            "alter table people add column tier text",
            "update people set name = 'Changed', telephone = '040' where id = 1",
            "update people set name = 'Gone' where id = 2",
            "update people set tier = 'gold' where id = 3",
        )
        letters.wait(lambda: len(letters.letters) == 3, lambda: letters.letters)
        assert {letter.reason for letter in letters.letters.values()} == {"drift"}
        assert DRIFT_OPEN.labels("shop", "person", "held")._value.get() == 1, "without a state there is the metric"
        tape.read()
        assert tape.live() == expected, "what is gone isn't taken for empty"
    shop.execute("delete from people where id = 2", "update people set telephone = '050' where id = 4")
    mended = [row if row[1] != "person.phone" else ("people.telephone", "person.phone", "") for row in SHEET]
    shop.describe({"person": (FIELDS, {"table": "people"})}, sheet=mended)
    with shop.producing():
        expected |= {"1": person("Changed", "040", 1), "4": person("Person 4", "050", 4)}
        del expected["2"]
        tape.wait_for(expected)
        letters.wait(lambda: not letters.letters, lambda: letters.letters)


def test_a_row_sent_back_is_read_again_by_the_running_producer(make_shop: MakeShop) -> None:
    shop = make_shop(TABLE)
    shop.describe({"person": (FIELDS, {"table": "people"})}, sheet=SHEET)
    shop.apply()
    tape, letters = shop.tape("person"), shop.dead_letters("person")
    expected = {str(n): person(f"Person {n}", f"030 {n}", n) for n in range(1, 6)}
    with shop.producing():
        tape.wait_for(expected)
        shop.execute(
            "alter table people alter column points type text",
            "update people set points = 'many' where id = 1",
            "update people set points = '22' where id = 2",
        )
        letters.wait(lambda: len(letters.letters) == 1, lambda: letters.letters)
        [letter] = letters.letters.values()
        assert (letter.reason, letter.field) == ("drift", "points")
        tape.wait_for(expected | {"2": person("Person 2", "030 2", 22)})

        Sender(shop.settings, shop.names).requeue([letter])
        # The changed column has the table copied again: that is an attempt too.
        again = lambda: [one for one in letters.letters.values() if one.attempts > letter.attempts]  # noqa: E731
        letters.wait(lambda: bool(again()), lambda: letters.letters)
        assert [one.first_at for one in again()] == [letter.first_at]
        # As a change that the stream doesn't carry.
        publication = shop.slot
        shop.execute(
            f"alter publication {publication} drop table people",
            "update people set points = '11' where id = 1",
            f"alter publication {publication} add table people",
        )
        Sender(shop.settings, shop.names).requeue([letter])
        tape.wait_for(expected | {"1": person("Person 1", "030 1", 11), "2": person("Person 2", "030 2", 22)})
        letters.wait(lambda: not letters.letters, lambda: letters.letters)


def test_a_column_that_no_row_names_is_missed_all_the_same(make_shop: MakeShop) -> None:
    shop = make_shop(TABLE)
    shop.describe({"person": ([*FIELDS, {"name": "nick", "type": ["null", "string"]}], {"table": "people"})})
    shop.apply()
    tape, letters = shop.tape("person"), shop.dead_letters("person")
    expected = {str(n): person(f"Person {n}", f"030 {n}", n) | {"nick": None} for n in range(1, 6)}
    with shop.producing():
        tape.wait_for(expected)  # there never was a column nick
        shop.execute("alter table people drop column phone")
    with shop.producing():
        shop.execute("update people set name = 'Changed' where id = 1")
        letters.wait(lambda: len(letters.letters) == 1, lambda: letters.letters)
        shop.execute("alter table people add column phone text")
    with shop.producing():
        # The new column is empty in every row, and so it is everywhere.
        now = {str(n): person(f"Person {n}", None, n) | {"nick": None} for n in range(1, 6)}
        tape.wait_for(now | {"1": person("Changed", None, 1) | {"nick": None}})
        letters.wait(lambda: not letters.letters, lambda: letters.letters)


def test_rows_from_before_a_rename_are_read_as_they_are_now(make_shop: MakeShop) -> None:
    shop = make_shop(TABLE)
    shop.describe({"person": (FIELDS, {"table": "people"})}, sheet=SHEET)
    shop.apply()
    tape, letters = shop.tape("person"), shop.dead_letters("person")
    expected = {str(n): person(f"Person {n}", f"030 {n}", n) for n in range(1, 6)}
    with shop.producing():
        tape.wait_for(expected)
    shop.execute(
        "update people set name = 'Before' where id = 1",
        "alter table people rename column phone to telephone",
        "update people set name = 'After' where id = 2",
    )
    mended = [row if row[1] != "person.phone" else ("people.telephone", "person.phone", "") for row in SHEET]
    shop.describe({"person": (FIELDS, {"table": "people"})}, sheet=mended)
    with shop.producing():
        tape.wait_for(expected | {"1": person("Before", "030 1", 1), "2": person("After", "030 2", 2)})
    letters.read()
    assert not letters.letters


def test_a_table_that_is_gone_stops_the_producer_and_is_a_finding(make_shop: MakeShop) -> None:
    shop = make_shop(TABLE)
    shop.describe({"person": (FIELDS, {"table": "people"})}, sheet=SHEET)
    shop.apply()
    tape = shop.tape("person")
    with shop.producing():
        tape.wait(lambda: len(tape.live()) == 5, "five people")
    DRIFT_OPEN.labels("shop", "person", "held").set(0)
    shop.execute("drop table people")
    error = shop.start().ended()
    assert isinstance(error, MapError)
    assert "there is no table public.people" in str(error)
    assert DRIFT_OPEN.labels("shop", "person", "held")._value.get() == 1
