"""Orders with lines from MariaDB into MariaDB; and whose fault a failed write is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sorbus.connector import BoundFlow, BoundSource, BoundSystem, Change, Delivery, RejectedDelivery
from sorbus.consumers.mysql.consumer import MysqlConsumer
from sorbus.errors import MapError, MustWait, TransientError
from sorbus.mapfile.model import DataType, Flow, System
from sorbus.producers.mysql.producer import MysqlProducer
from sorbus.schema import parse_schema
from tests.consumers.progress import keeps_progress
from tests.mariadb import Mariadb

LINE = {
    "type": "record", "name": "line",
    "fields": [{"name": "sku", "type": "string"}, {"name": "count", "type": "long"}],
}  # fmt: skip
SCHEMA = parse_schema({
    "type": "record", "name": "order",
    "fields": [
        {"name": "customer", "type": "string"},
        {"name": "lines", "type": {"type": "array", "items": LINE}},
    ],
})  # fmt: skip
TABLES = (
    "create table orders (id int unsigned primary key, customer varchar(40) not null)",
    "create table order_lines (order_id int unsigned not null, place int not null, sku varchar(20) not null,"
    " count bigint not null, primary key (order_id, place))",
    "insert into orders values (1, 'a'), (2, 'b')",
    "insert into order_lines values (1, 2, 'y', 2), (1, 1, 'x', 1)",
)


class Orders:
    """A shop's orders on their way into another database."""

    def __init__(self, server: Mariadb, shop: str, books: str, **target: object) -> None:
        self.server, self.shop, self.books = server, shop, books
        lines = {"table": "order_lines", "parent": ["order_id"], "order": ["place"]}
        source = {"table": "orders", "children": {"lines": lines}}
        bound = BoundSource(
            "order", DataType(system_of_record="shop"), SCHEMA, (), MysqlProducer.Source.model_validate(source)
        )
        self.producer = MysqlProducer(self._system("shop", shop), [bound])
        self.producer.open(None)
        options = {"table": "orders", "children": {"lines": {"table": "lines"}}, **target}
        self.flow = BoundFlow(
            Flow.model_validate({"data_type": "order", "from": "shop", "to": "books"}),
            DataType(system_of_record="shop"), SCHEMA, (), MysqlConsumer.Target.model_validate(options),
            self._system("books", books),
        )  # fmt: skip
        for step in MysqlConsumer.plan(self.flow):
            assert step.apply is not None, step
            step.apply()
        self.consumer = MysqlConsumer(self.flow)
        self.consumer.open()

    def _system(self, name: str, database: str) -> BoundSystem:
        connection = MysqlProducer.Connection.model_validate(self.server.connection(database))
        return BoundSystem(name, System(kind="mysql", owner="Sales"), connection, f"{self.shop}.", Path())

    def run(self, *statements: str) -> None:
        self.server.root(*statements, database=self.shop)

    def pass_on(self, changes: int) -> list[RejectedDelivery]:
        """Delivers until so many changes have come."""
        refused: list[RejectedDelivery] = []
        for _ in range(60):
            batch = self.producer.read(0.5)
            if batch is None:
                continue
            refused += self.consumer.apply([delivery(one) for one in batch.changes])
            changes -= len(batch.changes)
            if changes <= 0 and batch.caught_up:
                return refused
            if changes <= 0 and batch.copied:
                return refused
        raise AssertionError(f"{changes} changes didn't come")

    def delivered(self) -> object:
        return (
            self.server.root("select id, customer from orders order by id", database=self.books),
            self.server.root("select parent_id, sku, count from `lines` order by 1, position", database=self.books),
        )

    def close(self) -> None:
        self.producer.close()
        self.consumer.close()


def delivery(change: Change) -> Delivery:
    return Delivery(change.id, change.version, change.data is None, SCHEMA, change.data or b"", 0)


@pytest.fixture
def orders(mariadb_server: Mariadb, mariadb: Callable[..., str]) -> Sequence[Orders]:
    made = [Orders(mariadb_server, mariadb(*TABLES), mariadb())]
    yield made  # type: ignore[misc]
    for one in made:
        one.close()


@pytest.mark.slow
def test_lists_follow_their_own_tables(orders: Sequence[Orders]) -> None:
    [shop] = orders
    assert shop.pass_on(2) == []
    assert shop.delivered() == ([("1", "a"), ("2", "b")], [("1", "x", 1), ("1", "y", 2)])
    shop.run(
        "insert into order_lines values (2, 1, 'z', 9)",
        "update order_lines set order_id = 2, place = 5 where sku = 'y'",
    )
    shop.pass_on(2)
    assert shop.delivered() == ([("1", "a"), ("2", "b")], [("1", "x", 1), ("2", "z", 9), ("2", "y", 2)])
    shop.run("begin", "delete from order_lines where order_id = 2", "delete from orders where id = 2", "commit")
    shop.pass_on(1)
    assert shop.delivered() == ([("1", "a")], [("1", "x", 1)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "differs"),
    [
        ("update `lines` set place = place", []),
        ("update `lines` set sku = 'X' where sku = 'x'", ["lines"]),
        ("delete from `lines` where sku = 'y'", ["lines"]),
        ("update `lines` set position = 3 - position + 10", ["lines"]),
        ("insert into `lines` (parent_id, position, sku, count) values ('1', 3, 'z', 1)", ["lines"]),
        ("update orders set customer = 'A' where id = '1'", ["customer"]),
        ("delete from `lines`; delete from orders", ["id", "customer", "lines"]),
    ],
)
def test_a_dry_run_compares_lists_too(orders: Sequence[Orders], statement: str, differs: list[str]) -> None:
    [shop] = orders
    delivered: list[Delivery] = []
    apply = shop.consumer.apply

    def noting(deliveries: Sequence[Delivery], **how: bool) -> list[RejectedDelivery]:
        delivered.extend(deliveries)
        return apply(deliveries, **how)

    shop.consumer.apply = noting  # type: ignore[method-assign]
    shop.pass_on(2)
    if differs:
        shop.server.root(*statement.split("; "), database=shop.books)
    first = next(one for one in delivered if one.id == b"1")
    [shown] = shop.consumer.preview_all([first])
    request = shown.request
    assert isinstance(request, dict) is bool(differs)
    changes = request["changes"] if isinstance(request, dict) else {}
    assert isinstance(changes, dict)
    assert [name for name in changes if not name.startswith("sorbus_")] == differs


LEGACY = "varchar(20) character set"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "id", "parent", "strange"),
    [
        (f"{LEGACY} latin1", "2", f"{LEGACY} utf8mb4", "Ā日本"),
        (f"{LEGACY} ascii", "2", f"{LEGACY} utf8mb4", "é"),
        (f"{LEGACY} utf8mb3", "2", f"{LEGACY} utf8mb4", "😀"),
        (f"{LEGACY} sjis", "2", f"{LEGACY} utf8mb4", "é😀"),
        (f"{LEGACY} utf8mb4 collate utf8mb4_general_ci", "2", f"{LEGACY} utf8mb4 collate utf8mb4_bin", "é"),
        ("decimal(5,2)", "2.00", "varchar(20)", "Infinity"),
        ("decimal(5,2)", "2.00", "varchar(20)", "1e300"),
        ("int", "2", "varchar(20)", "foo"),
        ("int", "2", "decimal(30,2)", "1.50"),
        ("date", "2024-01-01", "varchar(20)", "foo"),
        ("time", "10:00:00", "varchar(20)", "foo"),
        ("bit(4)", "2", "int", "-3"),
        ("varbinary(10)", "2", "varchar(20)", "zz"),
    ],
)
def test_a_line_whose_parent_can_be_no_record(
    mariadb_server: Mariadb, mariadb: Callable[..., str], key: str, id: str, parent: str, strange: str
) -> None:
    shop = mariadb(
        f"create table orders (id {key} primary key, customer varchar(40) not null)",
        f"create table order_lines (order_id {parent} not null, place int not null, sku varchar(20) not null,"
        " count bigint not null, primary key (order_id, place))",
        f"insert into orders values ({id if 'bit' in key else repr(id)}, 'a')",
    )
    orders = Orders(mariadb_server, shop, mariadb())
    try:
        orders.pass_on(1)
        mariadb_server.many(shop, "insert into order_lines values (%s, 1, 'x', 1)", [[strange]])
        orders.run("update orders set customer = 'b'")
        assert orders.pass_on(1) == []
        assert mariadb_server.root("select customer from orders", database=orders.books) == [("b",)]
    finally:
        orders.close()


@pytest.mark.slow
def test_lists_whose_parent_column_the_server_does_not_compare_with_the_key(
    mariadb_server: Mariadb, mariadb: Callable[..., str]
) -> None:
    shop = mariadb(
        "create table orders (id varchar(20) collate utf8mb4_general_ci primary key, customer varchar(40) not null)",
        "create table order_lines (order_id varchar(20) collate utf8mb4_unicode_ci not null, place int not null,"
        " sku varchar(20) not null, count bigint not null)",
    )
    with pytest.raises(MapError, match=r"order_id of .*order_lines can't be compared with the key"):
        Orders(mariadb_server, shop, mariadb())


@pytest.mark.slow
def test_whose_fault_it_is(mariadb_server: Mariadb, mariadb: Callable[..., str]) -> None:
    books = mariadb(
        "create table customers (name varchar(40) character set utf8mb4 collate utf8mb4_bin primary key)",
        "insert into customers values ('a'), ('b'), ('c')",
        "create table debtors (no int primary key auto_increment, id varchar(40) not null unique,"
        " customer varchar(40) character set utf8mb4 collate utf8mb4_bin not null unique,"
        " foreign key (customer) references customers (name), check (customer <> 'c'))",
    )
    shop = Orders(mariadb_server, mariadb(*TABLES), mariadb())
    shop.close()
    options = MysqlConsumer.Target.model_validate({"table": "debtors", "existing": True})
    system = shop._system("books", books)
    flow = BoundFlow(
        Flow.model_validate({"data_type": "order", "from": "shop", "to": "books"}), DataType(system_of_record="shop"),
        NAMES, (), options, system,
    )  # fmt: skip
    for step in MysqlConsumer.plan(flow):
        assert step.apply is not None, step
        step.apply()
    consumer = MysqlConsumer(flow)
    consumer.open()

    def send(version: int, **customers: str) -> dict[int, tuple[str, str]]:
        sent = [Delivery(id.encode(), version, False, NAMES, text(name), 0) for id, name in customers.items()]
        return {one.place: (one.error.reason, type(one.error).__name__) for one in consumer.apply(sent)}

    try:
        assert send(1, one="a", two="nobody", three="c", four="b") == {
            1: ("reference", MustWait.__name__), 2: ("CheckViolation", "PermanentError"),
        }  # fmt: skip
        assert send(2, five="a")[0] == ("reference", MustWait.__name__)  # its value is another record's
        assert send(2, one="b", four="a")  # exchanged: they wait
        assert send(3, One="c")[0][1] == "PermanentError"  # the key column takes it for `one`
        session = mariadb_server.connect(books, autocommit=False)
        with session.cursor() as cursor:
            cursor.execute("select * from debtors for update")
            with pytest.raises(TransientError, match=r"(?i)lock wait"):
                send(9, one="a")
        session.rollback()
        session.close()
        assert send(9, one="a") == {}
        assert sorted(mariadb_server.root("select id, customer from debtors", database=books)) == [
            ("four", "b"),
            ("one", "a"),
        ]
    finally:
        consumer.close()


NAMES = parse_schema({"type": "record", "name": "debtor", "fields": [{"name": "customer", "type": "string"}]})


def text(value: str) -> bytes:
    """A record of one short text in Avro."""
    return bytes([len(value.encode()) << 1]) + value.encode()


@pytest.mark.slow
def test_what_a_soft_delete_leaves_can_be_erased(mariadb_server: Mariadb, mariadb: Callable[..., str]) -> None:
    database = mariadb()
    fields = [{"name": "customer", "type": "string", "tags": ["personal"]}, {"name": "city", "type": "string"}]
    schema = parse_schema({"type": "record", "name": "debtor", "fields": fields})
    connection = MysqlConsumer.Connection.model_validate(mariadb_server.connection(database))
    flow = BoundFlow(
        Flow.model_validate({"data_type": "debtor", "from": "shop", "to": "books", "deletes": "soft"}),
        DataType(system_of_record="shop"), schema, (), MysqlConsumer.Target.model_validate({"table": "debtors"}),
        BoundSystem("books", System(kind="mysql", owner="Sales"), connection, "", Path()),
    )  # fmt: skip
    for step in MysqlConsumer.plan(flow):
        assert step.apply is not None, step
        step.apply()
    consumer = MysqlConsumer(flow)
    consumer.open()
    try:
        assert consumer.apply([Delivery(b"1", 1, False, schema, text("Ann") + text("Bern"), 0)]) == []
        assert consumer.apply([Delivery(b"1", 2, True, schema, b"", 0)]) == []
        [row] = mariadb_server.root("select customer, city, sorbus_deleted_at from debtors", database=database)
        assert row[:2] == ("Ann", "Bern")
        assert row[2] is not None
        assert consumer.erase("1", dry_run=True).rows == consumer.erase("1").rows == 1
        assert mariadb_server.root("select customer, city from debtors", database=database) == [("", "Bern")]
    finally:
        consumer.close()


@pytest.mark.slow
def test_a_record_that_comes_back_is_not_marked_once_deletes_are_hard(
    mariadb_server: Mariadb, mariadb: Callable[..., str]
) -> None:
    database = mariadb()
    connection = MysqlConsumer.Connection.model_validate(mariadb_server.connection(database))
    rows = "select customer, sorbus_deleted_at is null from debtors"
    for deletes, told, expected in (("soft", [b"Ann", None], ("Ann", 0)), ("hard", [b"Bea"], ("Bea", 1))):
        flow = BoundFlow(
            Flow.model_validate({"data_type": "debtor", "from": "shop", "to": "books", "deletes": deletes}),
            DataType(system_of_record="shop"), NAMES, (), MysqlConsumer.Target.model_validate({"table": "debtors"}),
            BoundSystem("books", System(kind="mysql", owner="Sales"), connection, "", Path()),
        )  # fmt: skip
        for step in MysqlConsumer.plan(flow):
            if step.apply is not None:
                step.apply()
        consumer = MysqlConsumer(flow)
        consumer.open()
        try:
            first = 1 if deletes == "soft" else 9
            for version, name in enumerate(told, first):
                data = b"" if name is None else text(name.decode())
                assert consumer.apply([Delivery(b"1", version, name is None, NAMES, data, 0)]) == []
            assert mariadb_server.root(rows, database=database) == [expected]
        finally:
            consumer.close()


@pytest.mark.slow
def test_it_keeps_how_far_its_flow_has_come(orders: Sequence[Orders]) -> None:
    keeps_progress(orders[0].consumer)
