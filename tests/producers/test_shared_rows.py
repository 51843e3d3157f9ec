"""Rows with equal keys: their record is there for as long as one of them is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sorbus.schema import AvroType
from tests.producers.shop import Shop

ITEM: list[AvroType] = [{"name": "b", "type": ["null", "string"], "default": None}]
ONE = "where ctid = (select min(ctid) from t where a = 1)"
TABLES = {
    "no index": "create table t (a int, b text)",
    "a partial index": "create table t (a int, b text); create unique index on t (a) where a > 1",
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_record_goes_with_the_last_of_its_equal_rows(make_shop: Callable[..., Shop], table: str) -> None:
    shop = make_shop(f"{table}; insert into t values (1, 'a'), (2, 'b')")
    shop.describe({"item": (ITEM, {"table": "t", "key": ["a", "b"]})})
    shop.apply(told="no unique index")
    tape = shop.tape("item")
    a, b = {"1|a": {"b": "a"}}, {"2|b": {"b": "b"}}
    with shop.producing() as running:
        tape.wait_for(a | b)
        shop.execute(*["insert into t values (1, 'a')"] * 2)
        shop.execute(f"delete from t {ONE}", "insert into t values (3, 'after')")
        tape.wait_for(a | b | {"3|after": {"b": "after"}})
        shop.execute(f"update t set a = 4 {ONE}")  # one of two equal rows takes another key
        tape.wait_for(a | b | {"3|after": {"b": "after"}, "4|a": {"b": "a"}})
        shop.execute("delete from t where a = 1")
        tape.wait_for(b | {"3|after": {"b": "after"}, "4|a": {"b": "a"}})
        assert running.error is None
