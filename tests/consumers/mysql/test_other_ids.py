"""The owner's ids are never taken for numbers that the target gave its own rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sorbus.connector import BoundFlow, BoundSystem
from sorbus.consumers.mysql.consumer import MysqlConsumer
from sorbus.errors import TransientError
from sorbus.mapfile.model import DataType, FieldMapping, Flow, System
from sorbus.schema import parse_schema
from tests.mariadb import Mariadb

pytestmark = pytest.mark.slow
LINES = {"type": "array", "items": {"type": "record", "name": "line", "fields": [{"name": "sku", "type": "string"}]}}
ORDER = parse_schema(
    {
        "type": "record",
        "name": "order",
        "fields": [{"name": "name", "type": "string"}, {"name": "lines", "type": LINES}],
    }
)
NUMBERED = (
    "create table orders (id int auto_increment primary key, shop_no varchar(40) not null default '' unique,"
    " name text{})"
)
ROW = "insert into orders (name) values ('another''s')"
ITEMS = "create table order_lines (order_id {}, position int not null, sku varchar(40) not null)"
MAPPED = FieldMapping(
    source_system="canonical", source_field="order.name", target_system="books", target_field="orders.name"
)
CHILDREN = {"lines": {"table": "order_lines", "parent": "order_id"}}


@pytest.mark.parametrize(
    ("statements", "target", "says"),
    [
        ([NUMBERED.format(", `lines` json"), ROW], {}, r"numbers its rows itself \(id\)"),
        ([NUMBERED.format(", `lines` json")], {}, None),
        ([NUMBERED.format(", `lines` json"), ROW], {"same_ids": True}, None),
        ([NUMBERED.format(", `lines` json"), ROW], {"key": "shop_no"}, r"its record's id as its number, too: shop_no"),
        ([NUMBERED.format(", `lines` json"), ROW], {"key": "shop_no", "mapped": True}, None),
        (
            [NUMBERED.format(""), ITEMS.format("int not null, foreign key (order_id) references orders (id)")],
            {"key": "shop_no", "children": CHILDREN},
            "order_lines.order_id refers to .*orders.id, and gets the id in shop_no",
        ),
    ],
)
def test_another_records_row_is_named_before_anything_is_written(
    mariadb_server: Mariadb,
    mariadb: Callable[..., str],
    statements: list[str],
    target: Mapping[str, object],
    says: str | None,
) -> None:
    connection = MysqlConsumer.Connection.model_validate(mariadb_server.connection(mariadb(*statements)))
    given = {"table": "orders", "existing": True, **target}
    mapping = (MAPPED,) if given.pop("mapped", False) else ()
    options = MysqlConsumer.Target.model_validate(given)
    flow = BoundFlow(
        Flow.model_validate({"data_type": "order", "from": "shop", "to": "books"}),
        DataType(system_of_record="shop"), ORDER, mapping, options,
        BoundSystem("books", System(kind="mysql", owner="Sales"), connection, "", Path()),
    )  # fmt: skip
    first = MysqlConsumer.plan(flow)
    for step in first:
        if step.apply:
            step.apply()
    steps = MysqlConsumer.plan(flow)
    assert steps == [step for step in first if step.apply is None]
    consumer = MysqlConsumer(flow)
    if says is None:
        assert steps == []
        consumer.open()
    else:
        assert len(steps) == 1
        with pytest.raises(TransientError, match=says):
            consumer.open()
    consumer.close()
