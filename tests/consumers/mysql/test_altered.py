"""A table that its owner alters while a flow runs: nothing is rounded by a column that the flow doesn't know."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.errors import TransientError
from sorbus.schema import parse_schema
from tests.consumers.mysql.test_other_records import Books, books

__all__ = ["books"]
pytestmark = pytest.mark.slow
PRICED = parse_schema(
    {
        "type": "record",
        "name": "order",
        "fields": [{"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2}}],
    }
)
PRICE = b"\2" + bytes([125])
"""1.25"""


def test_what_a_narrower_column_would_round_is_refused(books: Callable[..., Books]) -> None:
    made = books(
        PRICED, "create table orders (id varchar(40) character set ascii collate ascii_bin primary key,"
        " price decimal(8, 2), more int)", table="orders", existing=True,
    )  # fmt: skip
    made.consumer.open()
    assert made.send(1, a=PRICE) == []
    made.server.root("alter table orders drop column more", database=made.database)
    assert made.send(2, a=PRICE) == []
    made.server.root("alter table orders modify price decimal(8, 0)", database=made.database)
    with pytest.raises(TransientError, match="has changed"):
        made.send(2, b=PRICE)
    made.consumer.close()
    made.consumer.open()
    (refusal,) = made.send(2, b=PRICE)
    assert "1.25" in str(refusal.error) or "decimal" in str(refusal.error)
    assert made.server.root("select id from orders", database=made.database) == [("a",)]
