"""Ids in key columns of many types: the row is found for a change and for a delete, or the id is refused at first."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.abilities import Erased
from sorbus.connector import Delivery, RejectedDelivery
from sorbus.errors import TransientError
from tests.consumers.mysql.test_other_records import NAMED, ORDER, Books, books, text

__all__ = ["books"]
pytestmark = pytest.mark.slow
KEPT = {
    "int auto_increment": ["0", "7", "-1"],
    "int(5) zerofill": ["1"],
    "bigint unsigned": ["18446744073709551615"],
    "decimal(8,2)": ["1.50", "0.00"],
    "decimal(10,0)": ["7"],
    "double": ["1", "-3", "0", "1.5", "1e20", "1.5e-16", "0.00001", "123456789012345", "1.234567890123456e15"],
    "double(8,2)": ["1.50", "-1.00"],
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
    "inet4": ["10.0.0.1"],
    "inet6": [
        "::1",
        "2001:db8::ff",
        "::ffff:1.2.3.4",
        "::1.2.3.4",
        "::ffff:0.0.0.0",
        "1:2::4:5:6:7:8",
        "::2:3:4:5:6:7:8",
    ],
    "enum('a','b')": ["b"],
    "set('a','b')": ["a,b"],
}
REFUSED = {
    "int": ["007", "1.0", "-0", "+1", "a"],
    "decimal(8,2)": ["1.5", "1.500", "1", "-0.00"],
    "double": ["1.0", "-0", "1e0", "1e+20", "0.10"],
    "double(8,2)": ["1.5", "-0.00"],
    "date": ["20240101", "2024-1-1", "24-01-01"],
    "datetime(6)": ["2024-01-01", "2024-01-01T00:00:00", "2024-01-01 00:00:00.5"],
    "time(3)": ["10:00:00", "1:00:00.000", "010:00:00.000", "-00:00:00.000"],
    "char(5)": ["a "],
    "uuid": ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc999c0b4ef8bb6d6bb9bd380a11"],
    "inet6": ["::FFFF", "0::1", "::ffff:102:304", "1:2:0:4:5:6:7:8"],
    "set('a','b')": ["b,a", "a,a"],
    "varbinary(20)": ["ab"],
}


def opened(books: Callable[..., Books], native: str, deletes: str = "hard") -> Books:
    marked = ", sorbus_deleted_at datetime(6)" if deletes == "soft" else ""
    table = f"create table orders (id {native} primary key, name varchar(20){marked})"
    made = books(NAMED, table, deletes=deletes, table="orders", existing=True)
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


@pytest.mark.parametrize(
    ("native", "id"),
    [("int", "007"), ("int", "abc"), ("varchar(20) character set latin1", "日😀"), ("varchar(9)", "A")],
)
def test_ids_that_the_key_lacks_have_no_row(books: Callable[..., Books], native: str, id: str) -> None:
    made = opened(books, native, deletes="soft")
    own = "7" if native == "int" else "a"
    assert made.send(1, **{own: text("x")}) == []
    assert made.consumer.look(id) is None
    assert made.consumer.erase(id) == Erased(0)
    assert made.consumer.look(own) == {"id": own if native != "int" else "7", "name": "x", "sorbus_deleted_at": None}


LINES_OF = {
    ("decimal(8,2)", "int"): ("1.00", "1.25"),
    ("decimal(8,2)", "decimal(8,1)"): ("1.20", "1.22"),
    ("datetime(6)", "datetime"): ("2024-01-01 10:00:00", "2024-01-01 10:00:00.250000"),
    ("bigint", "float"): ("16777216", "16777217"),
    ("varchar(20)", "varbinary(20)"): ("a", "b"),
    ("bigint", "varchar(20)"): ("7", "8"),
    ("bit(8)", "bit(8)"): ("49", "50"),
    ("bigint", "bigint"): ("9007199254740992", "9007199254740993"),
}
"""Types of a key and of its lists' parent column -> ids."""


@pytest.mark.parametrize("types", LINES_OF, ids="/".join)
def test_a_records_lines_are_its_own(books: Callable[..., Books], types: tuple[str, str]) -> None:
    one, other = LINES_OF[types]
    made = books(
        ORDER,
        f"create table orders (id {types[0]} primary key)",
        f"create table order_lines (order_id {types[1]} not null, sku varchar(40) not null)",
        table="orders", existing=True,
        children={"lines": {"table": "order_lines", "parent": "order_id", "position": None}},
    )  # fmt: skip
    made.consumer.open()

    def skus() -> list[str]:
        return [sku for (sku,) in made.server.root("select sku from order_lines order by sku", database=made.database)]

    for version in (1, 2):
        refused = made.send(version, **{one: b"\2" + text("x") + b"\0", other: b"\2" + text("y") + b"\0"})
    assert [one.error.field for one in refused] in ([], ["lines[].order_id"])
    assert skus() == ["x", *(["y"] if not refused else [])]
    delete(made, 3, other)
    assert skus() == ["x"]
    assert delete(made, 3, one) == []
    assert skus() == []


def test_a_key_that_cannot_be_compared(books: Callable[..., Books]) -> None:
    with pytest.raises(TransientError, match=r"can't be compared exactly; name another column"):
        opened(books, "float")
