"""Ids in key columns of many types: the row is found for a change and for a delete, or the id is refused at first."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.connector import Delivery, RejectedDelivery
from sorbus.errors import TransientError
from tests.consumers.mysql.test_other_records import NAMED, Books, books, text

__all__ = ["books"]
pytestmark = pytest.mark.slow
KEPT = {
    "int auto_increment": ["0", "7", "-1"],
    "int(5) zerofill": ["1"],
    "bigint unsigned": ["18446744073709551615"],
    "decimal(8,2)": ["1.50", "0.00"],
    "decimal(10,0)": ["7"],
    "bit(8)": ["7", "65"],
    "year": ["2024"],
    "date": ["2024-01-01"],
    "datetime": ["2024-01-01 10:00:00"],
    "datetime(6)": ["2024-01-01 00:00:00", "2024-01-01 00:00:00.500000"],
    "timestamp": ["2024-01-01 10:00:00"],
    "time(3)": ["10:00:00.000", "-100:00:00.500"],
    "char(5)": ["a"],
    "varchar(20) character set latin1": ["é", "a b "],
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    "inet6": ["::1", "2001:db8::ff"],
    "enum('a','b')": ["b"],
    "set('a','b')": ["a,b"],
}
REFUSED = {
    "int": ["007", "1.0", "-0", "+1", "a"],
    "decimal(8,2)": ["1.5", "1.500", "1"],
    "date": ["20240101", "2024-1-1", "24-01-01"],
    "datetime(6)": ["2024-01-01", "2024-01-01T00:00:00", "2024-01-01 00:00:00.5"],
    "time(3)": ["10:00:00", "1:00:00.000"],
    "char(5)": ["a "],
    "uuid": ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc999c0b4ef8bb6d6bb9bd380a11"],
    "inet6": ["::FFFF", "0::1"],
    "set('a','b')": ["b,a", "a,a"],
    "varbinary(20)": ["ab"],
}


def opened(books: Callable[..., Books], native: str) -> Books:
    made = books(
        NAMED, f"create table orders (id {native} primary key, name varchar(20))", table="orders", existing=True
    )
    made.consumer.open()
    return made


def delete(made: Books, version: int, id: str) -> list[RejectedDelivery]:
    return made.consumer.apply([Delivery(id.encode(), version, True, made.schema, b"", 0)])


@pytest.mark.parametrize("native", KEPT)
def test_a_row_is_found_again_by_its_key(books: Callable[..., Books], native: str) -> None:
    made = opened(books, native)
    for id in KEPT[native]:
        assert made.send(1, **{id: text("a")}) == []
        assert made.send(2, **{id: text("b")}) == []
        assert made.server.root("select name from orders", database=made.database) == [("b",)], id
        assert delete(made, 3, id) == []
        assert list(made.server.root("select name from orders", database=made.database)) == [], id


@pytest.mark.parametrize("native", REFUSED)
def test_an_id_that_a_key_shows_otherwise_is_refused_at_first(books: Callable[..., Books], native: str) -> None:
    made = opened(books, native)
    for id in REFUSED[native]:
        [refused] = made.send(1, **{id: text("a")})
        assert refused.error.field == "id", id
        assert list(made.server.root("select * from orders", database=made.database)) == [], id


@pytest.mark.parametrize("charset", ["latin1", "ascii", "sjis", "utf8mb3"])
def test_an_id_in_letters_that_the_key_lacks_ends_no_flow(books: Callable[..., Books], charset: str) -> None:
    made = opened(books, f"varchar(20) character set {charset}")
    strange = "日😀"
    [refused] = made.send(1, **{strange: text("a")})
    assert refused.error.reason == "CharacterNotInRepertoire"
    assert len(delete(made, 2, strange)) == 1
    assert [one.place for one in made.send(3, a=text("a"), **{strange: text("b")}, c=text("c"))] == [1]
    asked = [Delivery(id.encode(), 9, False, made.schema, text("x"), 0) for id in ("a", strange)]
    assert [one.action for one in made.consumer.preview_all(asked)] == ["update", "refuse"]


def test_a_key_that_cannot_be_compared(books: Callable[..., Books]) -> None:
    with pytest.raises(TransientError, match=r"can't be compared exactly; name another column"):
        opened(books, "float")
