"""What is written for one record changes no other one, and one record ends no flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pymysql
import pytest

from sorbus.connector import BoundFlow, BoundSystem, Delivery, RejectedDelivery
from sorbus.consumers.mysql.consumer import MysqlConsumer
from sorbus.errors import TransientError
from sorbus.mapfile.model import DataType, Flow, System
from sorbus.mysql.faults import about_error
from sorbus.schema import RecordSchema, parse_schema
from sorbus.write_fault import About
from tests.mariadb import Mariadb

pytestmark = pytest.mark.slow
LINES = {"type": "array", "items": {"type": "record", "name": "line", "fields": [{"name": "sku", "type": "string"}]}}
ORDER = parse_schema({"type": "record", "name": "order", "fields": [{"name": "lines", "type": LINES}]})
NAMED = parse_schema({"type": "record", "name": "order", "fields": [{"name": "name", "type": "string"}]})
DOCUMENT = parse_schema(
    {"type": "record", "name": "page", "fields": [{"name": "doc", "type": {"type": "array", "items": "string"}}]}
)


class Books:
    """One flow into a database."""

    def __init__(
        self, server: Mariadb, database: str, schema: RecordSchema, deletes: str = "hard", **target: object
    ) -> None:
        self.server, self.database, self.schema = server, database, schema
        connection = MysqlConsumer.Connection.model_validate(server.connection(database))
        flow = BoundFlow(
            Flow.model_validate({"data_type": "order", "from": "shop", "to": "books", "deletes": deletes}),
            DataType(system_of_record="shop"), schema, (), MysqlConsumer.Target.model_validate(target),
            BoundSystem("books", System(kind="mysql", owner="Sales"), connection, "", Path()),
        )  # fmt: skip
        for step in MysqlConsumer.plan(flow):
            assert step.apply is not None, step
            step.apply()
        self.consumer = MysqlConsumer(flow)

    def send(self, version: int, **records: bytes) -> list[RejectedDelivery]:
        return self.consumer.apply(
            [Delivery(id.encode(), version, False, self.schema, data, 0) for id, data in records.items()]
        )


@pytest.fixture
def books(mariadb_server: Mariadb, mariadb: Callable[..., str]) -> Iterator[Callable[..., Books]]:
    made: list[Books] = []

    def make(schema: RecordSchema, *statements: str, **target: object) -> Books:
        made.append(Books(mariadb_server, mariadb(*statements), schema, **target))
        return made[-1]

    yield make
    for one in made:
        one.consumer.close()


def text(value: str) -> bytes:
    size, head = len(value.encode()) << 1, b""
    while size > 127:
        head, size = head + bytes([size & 127 | 128]), size >> 7
    return head + bytes([size]) + value.encode()


@pytest.mark.parametrize(
    ("key", "parent", "words"),
    [
        ("utf8mb4_nopad_bin", "varchar(40)", "order_lines.order_id compares by .* the same collation"),  # `a`, `A`
        ("utf8mb4_bin", "int", "order_lines.order_id is int.* the same type"),  # `7`, `007`
    ],
)
def test_lists_whose_parent_column_would_take_an_id_for_another_one(
    books: Callable[..., Books], key: str, parent: str, words: str
) -> None:
    """A change of the one would delete the lines of the other."""
    made = books(
        ORDER,
        f"create table orders (id varchar(40) character set utf8mb4 collate {key} primary key)",
        f"create table order_lines (order_id {parent} not null, position int not null, sku varchar(40) not null)",
        table="orders", existing=True, children={"lines": {"table": "order_lines", "parent": "order_id"}},
    )  # fmt: skip
    with pytest.raises(TransientError, match=words):
        made.consumer.open()


def test_what_is_wrong_beside_the_records_is_no_records_fault(books: Callable[..., Books]) -> None:
    made = orders(books)
    assert made.send(1, a=b"\0") == []
    made.server.root("alter table sorbus_applied rename column version to v", database=made.database)
    asked = [Delivery(b"a", 1, False, made.schema, b"\0", 0)]
    with pytest.raises(TransientError, match="version"):
        made.consumer.versions(asked)
    with pytest.raises(TransientError, match="version"):
        made.send(2, a=b"\0")


@pytest.mark.parametrize(
    ("number", "about"),
    [
        (3, About.SYSTEM),  # a full disk
        (1047, About.SYSTEM), (1180, About.SYSTEM), (3101, About.LOAD), (1213, About.LOAD),
        (1062, About.COLLISION), (1406, About.RECORD), (1054, About.EITHER),
    ],
)  # fmt: skip
def test_what_an_error_is_about(number: int, about: About) -> None:
    assert about_error(pymysql.err.OperationalError(number, "words")) is about


def orders(books: Callable[..., Books]) -> Books:
    """Opened, on tables of their own."""
    made = books(
        ORDER,
        "create table orders (id varchar(40) primary key)",
        "create table order_lines (order_id varchar(40) not null, sku varchar(40) not null)",
        table="orders", existing=True,
        children={"lines": {"table": "order_lines", "parent": "order_id", "position": None}},
    )  # fmt: skip
    made.consumer.open()
    return made


def test_rows_that_a_deleted_record_left_in_a_list_are_replaced(books: Callable[..., Books]) -> None:
    made = orders(books)
    one = b"\2" + text("x") + b"\0"
    assert made.send(1, a=one) == []
    made.server.root("delete from orders", database=made.database)
    assert made.send(2, a=one) == []
    assert made.server.root("select order_id, sku from order_lines", database=made.database) == [("a", "x")]


def test_a_delete_takes_the_lines_of_a_record_whose_row_a_person_removed(books: Callable[..., Books]) -> None:
    made = orders(books)
    one = b"\2" + text("x") + b"\0"
    assert made.send(1, a=one, b=one) == []
    made.server.root("delete from orders where id = 'a'", database=made.database)
    assert made.consumer.apply([Delivery(b"a", 2, True, made.schema, b"", 0)]) == []
    assert made.server.root("select order_id, sku from order_lines", database=made.database) == [("b", "x")]


def test_a_delete_takes_no_lines_of_a_record_for_which_the_key_takes_its_id(books: Callable[..., Books]) -> None:
    made = orders(books)
    one = b"\2" + text("x") + b"\0"
    assert made.send(1, a=one, b=one) == []
    assert len(made.send(1, A=one)) == 1
    assert made.consumer.apply([Delivery(id, 2, True, made.schema, b"", 0) for id in (b"A", b"b")]) == []
    assert made.server.root("select order_id, sku from order_lines", database=made.database) == [("a", "x")]


def test_a_record_larger_than_a_statement_once_it_is_written(
    books: Callable[..., Books], mariadb_server: Mariadb
) -> None:
    mariadb_server.root("set global max_allowed_packet = 1048576")
    try:
        made = books(DOCUMENT, table="pages")
        made.consumer.open()
        long = b"\2" + text("\1" * 400_000) + b"\0"  # six characters each as JSON
        short = b"\2" + text("x") + b"\0"
        [refused] = made.send(1, a=short, b=long, c=short)
        assert refused.place == 1
        assert "max_allowed_packet" in str(refused.error)
        [(count,)] = made.server.root("select count(*) from pages", database=made.database)
        assert int(count) == 2
    finally:
        mariadb_server.root("set global max_allowed_packet = 67108864")


def test_an_update_sets_off_no_triggers_of_new_rows(books: Callable[..., Books]) -> None:
    made = books(
        NAMED,
        "create table orders (id varchar(40) collate utf8mb4_bin primary key, name varchar(20) unique)",
        "create table made (name varchar(20))",
        "create trigger first before insert on orders for each row begin"
        " insert into made values (new.name); set new.name = concat(new.name, '!'); end",
        table="orders", existing=True,
    )  # fmt: skip
    made.consumer.open()
    assert made.send(1, a=text("a"), b=text("b")) == []
    assert made.send(2, a=text("sent; it's 100%"), b=text("\\ `b`")) == []
    assert made.send(3, a=text("x"), b=text("x"), c=text("c"))[0].place in (0, 1)
    found = made.server.root("select id, name from orders order by id", database=made.database)
    assert [name for _, name in found].count("x") == 1
    assert found[2] == ("c", "c!")
    assert made.server.root("select name from made order by name", database=made.database)[:2] == [("a",), ("b",)]
